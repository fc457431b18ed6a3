//! What a program's handler may cost that panics: its own connection.

use crate::reactor::outbox::{Cork, Mark};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls a handler of the program's. `None`: it panicked; that was logged, and what the call had put into the cork was taken back, so
/// that nothing leaves by halves. What it had told others by then stands. For its connection it is to be told of the end, and nothing
/// else; `then` says in the log what becomes of that.
#[inline]
pub fn contain<T>(cork: &mut Cork, then: &str, call: impl FnOnce(&mut Cork) -> T) -> Option<T> {
    let mark = cork.mark();
    // Sound: nobody sees what the call may have left half done. The cork is rewound. What a worker's connections share (rooms, crowds,
    // codecs) a handler changes by calls of ours, and those are over when it goes on. Its own state is not looked at by us: for this
    // connection it only hears of the end, and one that serves others too is as it left itself, as any value behind a `&mut`.
    match catch_unwind(AssertUnwindSafe(|| call(cork))) {
        Ok(told) => Some(told),
        Err(panic) => {
            panicked(cork, mark, then, panic);
            None
        }
    }
}

#[cold]
fn panicked(cork: &mut Cork, mark: Mark, then: &str, panic: Box<dyn Any + Send>) {
    log::error!("a handler panicked; {then}");
    cork.rewind(mark);
    // What it panicked with is the program's too. Sound: it is gone afterwards.
    if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::outbox::Part;

    #[test]
    fn what_a_call_put_in_is_taken_back_if_it_panics_and_only_then() {
        let mut cork = Cork::default();
        cork.bytes_mut().extend_from_slice(b"before");
        let told = contain(&mut cork, "", |cork| {
            cork.bytes_mut().extend_from_slice(b", said");
            5
        });
        assert_eq!((told, cork.memory()), (Some(5), 12));
        let told: Option<()> = contain(&mut cork, "", |cork| {
            cork.bytes_mut().extend_from_slice(b"half");
            cork.push(Part::Static(b"a part"));
            panic!("a mistake");
        });
        assert_eq!((told, cork.memory(), &cork.bytes_mut()[..]), (None, 12, &b"before, said"[..]));
    }

    struct Worse;

    impl Drop for Worse {
        fn drop(&mut self) {
            std::panic::panic_any(Worse);
        }
    }

    #[test]
    fn what_panics_when_it_is_thrown_away_is_contained_too() {
        assert_eq!(contain(&mut Cork::default(), "", |_| std::panic::panic_any(Worse)), None::<()>);
    }
}
