//! How much may be on its way from those who speak to those who listen.
//!
//! What was said in a turn is gathered, and sealed at its end; until every batch of it has been handed to its members, on
//! whichever worker, it is in flight. Both are bounded here:
//!
//! 1. Over the bound a speaker waits for a later turn: nothing more is read from it ([`Gate::make_wait`]). One message may go over.
//! 2. Over the bound a program is refused ([`Gate::ask`]): nothing of what it said is kept.
//! 3. Who came first of those that found it full speaks first in the next turn, and until then nobody else does: one who always
//!    has something to say cannot keep the others from it. If it does not come (it has left), one turn is lost, not more.
//! 4. It may say one thing however much has been gathered by then: what another worker sent, ahead of all who are here, cannot keep
//!    them from it either. What is in flight does.

use crate::reactor::{App, Cx, Token};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much may be in flight, in multiples of what may be gathered in one turn.
const IN_FLIGHT: usize = 4;

/// Too much is on its way: nothing was taken. Try again in a later turn ([`App::on_turn`] is called after each), or do without.
#[must_use = "what was refused is lost unless it is published again"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too much is on its way already")
    }
}

impl std::error::Error for Refused {}

/// See the module page.
#[derive(Debug)]
pub struct Gate {
    most: usize,
    gathered: usize,
    flights: Flights,
    /// Who speaks first in this turn.
    next: Option<Token>,
    /// Who will in the next.
    waiting: Option<Token>,
    /// Who spoke last in this turn.
    spoke: Option<Token>,
    /// Who speaks now speaks first, and has said nothing yet.
    granted: bool,
    waits: u64,
    refused: u64,
}

impl Gate {
    /// What is gathered in one turn before it is shut, in bytes, when nobody says otherwise: 4 MiB.
    pub const MOST: usize = 4 << 20;

    /// Shut once this many bytes (at least one) were gathered in a turn, or four times as many are in flight.
    pub fn new(most: usize) -> Gate {
        Gate {
            most: most.max(1),
            gathered: 0,
            flights: Flights::default(),
            next: None,
            waiting: None,
            spoke: None,
            granted: false,
            waits: 0,
            refused: 0,
        }
    }

    /// Another bound, in bytes.
    pub fn set_most(&mut self, bytes: usize) {
        self.most = bytes.max(1);
    }

    /// The bound on what is gathered in one turn, in bytes.
    pub fn most(&self) -> usize {
        self.most
    }

    /// So much was gathered in this turn, or is in flight, that nothing more should be said.
    pub fn is_full(&self) -> bool {
        self.gathered >= self.most && !self.granted || self.is_crowded()
    }

    /// As much is in flight as may be.
    fn is_crowded(&self) -> bool {
        self.flights.bytes() >= self.most.saturating_mul(IN_FLIGHT)
    }

    /// Bytes that were gathered in this turn or are in flight.
    pub fn held(&self) -> usize {
        self.gathered + self.flights.bytes()
    }

    /// So many bytes were gathered.
    pub fn take(&mut self, bytes: usize) {
        self.gathered = self.gathered.saturating_add(bytes);
        self.granted = false;
    }

    /// May this speaker say something now? If not, it has to [wait](Self::make_wait).
    pub fn lets(&mut self, me: Token) -> bool {
        if self.next.is_some_and(|next| next != me) {
            return false;
        }
        self.granted = self.next.is_some();
        if self.is_full() {
            if self.waiting.is_none() && self.spoke != Some(me) {
                self.waiting = Some(me);
            }
            return false;
        }
        (self.next, self.spoke) = (None, Some(me));
        true
    }

    /// Asks the speaker that is being run to wait: what it has not read will be shown again in a later turn. `already`: it has
    /// waited since it said something last, and is not counted again.
    pub fn make_wait<A: App>(&mut self, already: bool, cx: &mut Cx<'_, A>) {
        self.waits += u64::from(!already);
        // The end of this turn makes room for what is gathered. What is in flight may have to be landed by other workers, and their
        // word of it is a counter: it is looked at again in a while.
        if self.is_crowded() { cx.show_later() } else { cx.show_again() }
    }

    /// May a program say something now?
    ///
    /// # Errors
    /// [`Refused`]: no. It is counted.
    pub fn ask(&mut self) -> Result<(), Refused> {
        if self.is_full() {
            self.refused += 1;
            return Err(Refused);
        }
        Ok(())
    }

    /// What was gathered has been sealed: the turn is over.
    pub fn end_turn(&mut self) {
        (self.gathered, self.granted) = (0, false);
        self.next = self.waiting.take();
        self.spoke = None;
    }

    /// What is in flight.
    pub fn flights(&self) -> &Flights {
        &self.flights
    }

    /// Times that a speaker began to wait.
    pub fn waits(&self) -> u64 {
        self.waits
    }

    /// Messages of programs that were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

/// Bytes of batches that have not been delivered yet: in mailboxes of other workers, and in notes to members.
#[derive(Clone, Debug, Default)]
pub struct Flights(Arc<AtomicUsize>);

impl Flights {
    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self, bytes: usize) -> Arc<Flight> {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Flight { all: self.clone(), bytes })
    }
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    all: Flights,
    bytes: usize,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shut_by_what_was_gathered_until_the_turn_ends_and_by_what_is_in_flight_until_that_has_landed() {
        let mut gate = Gate::new(100);
        gate.take(99);
        assert_eq!((gate.ask(), gate.is_full()), (Ok(()), false));
        gate.take(1);
        assert_eq!((gate.ask(), gate.refused(), gate.held()), (Err(Refused), 1, 100));
        gate.end_turn();
        assert_eq!((gate.ask(), gate.held()), (Ok(()), 0));
        let (one, two) = (gate.flights().begin(399), gate.flights().begin(1));
        assert_eq!((gate.ask(), gate.refused(), gate.held()), (Err(Refused), 2, 400));
        drop(two);
        assert_eq!((gate.ask(), gate.held()), (Ok(()), 399));
        drop(one);
        assert_eq!(gate.held(), 0);
    }

    #[test]
    fn those_who_found_it_full_take_their_turns_and_one_that_has_left_costs_one_turn() {
        let mut gate = Gate::new(1);
        let all = [1, 2, 3].map(Token::from_bits);
        // Each turn all that are there ask twice, always in the same order; who is let in fills it.
        let mut turn = |there: &[Token]| {
            let mut spoke = None;
            for me in there.iter().chain(there) {
                if gate.lets(*me) {
                    gate.take(1);
                    spoke = Some(me.to_bits());
                }
            }
            gate.end_turn();
            spoke
        };
        assert_eq!([(); 6].map(|()| turn(&all)), [1, 2, 3, 1, 2, 3].map(Some));
        assert_eq!([turn(&all), turn(&all[..1]), turn(&all[..1])], [Some(1), None, Some(1)]);
    }

    #[test]
    fn what_others_have_sent_ahead_of_all_keeps_no_speaker_waiting_for_more_than_one_turn() {
        let mut gate = Gate::new(100);
        let all = [1, 2].map(Token::from_bits);
        let mut turn = || {
            gate.take(500);
            let mut spoke = Vec::new();
            for me in all.iter().chain(&all) {
                while gate.lets(*me) && !gate.is_full() {
                    gate.take(1);
                    spoke.push(me.to_bits());
                }
            }
            gate.end_turn();
            spoke
        };
        assert_eq!([(); 5].map(|()| turn()), [vec![], vec![1], vec![2], vec![1], vec![2]]);
        // But what is in flight does.
        let flight = gate.flights().begin(400);
        assert!(!gate.lets(all[0]) && !gate.lets(all[1]) && gate.is_full());
        drop(flight);
    }

    #[test]
    fn one_who_speaks_alone_speaks_in_every_other_turn_that_others_have_filled() {
        let mut gate = Gate::new(100);
        let me = Token::from_bits(1);
        let mut turn = || {
            gate.take(500);
            let lets = gate.lets(me);
            gate.take(usize::from(lets));
            gate.end_turn();
            lets
        };
        assert_eq!([(); 6].map(|()| turn()), [false, true, false, true, false, true]);
    }

    #[test]
    fn whom_it_lets_speak_first_and_who_says_nothing_leaves_that_to_nobody() {
        let mut gate = Gate::new(100);
        let [first, other] = [1, 2].map(Token::from_bits);
        gate.take(500);
        assert!(!gate.lets(first));
        gate.end_turn();
        gate.take(500);
        assert!(!gate.lets(other), "it is not the first");
        assert!(gate.lets(first) && !gate.is_full());
        assert!(!gate.lets(other) && gate.is_full());
    }

    #[test]
    fn a_bound_of_nothing_lets_one_message_a_turn_through() {
        let mut gate = Gate::new(0);
        assert!(!gate.is_full());
        gate.take(10);
        assert!(gate.is_full());
        gate.end_turn();
        assert!(!gate.is_full());
    }
}
