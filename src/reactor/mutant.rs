//! Ways to break the reactor on purpose, so that `tests/mutants.rs` can show that its tests would notice.
//!
//! Only a build with debug assertions asks; in release each question is the constant `false` and costs nothing.

/// One way to break it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the names say what is done wrong
pub enum Mutant {
    ForgetReadinessOnResume,
    LoseRequeueAfterReads,
    LoseRequeueAfterWrites,
    LeakTimer,
    IgnoreEarlierDeadline,
    NeverWatchWrites,
    ShortReadDrainsDespiteHangup,
    DropRestOfCork,
    SendCorkTwice,
    DeliverStaleNote,
    DeliverStaleEvent,
    KeepBuffer,
    AcceptPastMaximum,
    NoRetryWhenExhausted,
    NoLinger,
    CountCloseTwice,
    ForgetDrained,
    ForgetToResumeListeners,
    ForgetToLookAgain,
}

impl Mutant {
    /// Every one.
    pub const ALL: [Mutant; 19] = [
        Mutant::ForgetReadinessOnResume,
        Mutant::LoseRequeueAfterReads,
        Mutant::LoseRequeueAfterWrites,
        Mutant::LeakTimer,
        Mutant::IgnoreEarlierDeadline,
        Mutant::NeverWatchWrites,
        Mutant::ShortReadDrainsDespiteHangup,
        Mutant::DropRestOfCork,
        Mutant::SendCorkTwice,
        Mutant::DeliverStaleNote,
        Mutant::DeliverStaleEvent,
        Mutant::KeepBuffer,
        Mutant::AcceptPastMaximum,
        Mutant::NoRetryWhenExhausted,
        Mutant::NoLinger,
        Mutant::CountCloseTwice,
        Mutant::ForgetDrained,
        Mutant::ForgetToResumeListeners,
        Mutant::ForgetToLookAgain,
    ];
}

#[cfg(debug_assertions)]
thread_local! {
    static CHOSEN: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Breaks every reactor of this thread in this way, or in none. Does nothing in release.
pub fn choose(mutant: Option<Mutant>) {
    #[cfg(debug_assertions)]
    CHOSEN.set(mutant);
    #[cfg(not(debug_assertions))]
    let _ = mutant;
}

/// It is broken in this way.
#[inline(always)]
pub(super) fn is(mutant: Mutant) -> bool {
    #[cfg(debug_assertions)]
    return CHOSEN.get() == Some(mutant);
    #[cfg(not(debug_assertions))]
    {
        let _ = mutant;
        false
    }
}
