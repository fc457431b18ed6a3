//! What the workers hold, asked of each: for the log, when it says what there is, or what a drain waits for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// What workers hold: how many connections, by state.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// How many connections are in each state.
    pub states: BTreeMap<&'static str, usize>,
    /// A text about each worker: see [`summary`](crate::observe::summary).
    pub summaries: Vec<String>,
    /// Workers that run and have not answered in time: what they hold is not known.
    pub silent: usize,
}

impl Survey {
    /// Waits for the answers of workers that were asked, in order, at most until `left` says that no time is left; `has_ended` tells of
    /// one that has not answered whether it has ended, and so holds nothing.
    pub(super) fn collect(
        asked: &[Receiver<Survey>],
        left: impl Fn() -> Duration,
        has_ended: impl Fn(usize) -> bool,
    ) -> Survey {
        let mut all = Survey::default();
        for (number, from) in asked.iter().enumerate() {
            match from.recv_timeout(left()) {
                Ok(one) => {
                    one.states.into_iter().for_each(|(state, n)| *all.states.entry(state).or_default() += n);
                    all.summaries.extend(one.summaries);
                }
                // It ended after it was asked, and the question went with it.
                Err(RecvTimeoutError::Disconnected) => {}
                Err(RecvTimeoutError::Timeout) if has_ended(number) => {}
                Err(RecvTimeoutError::Timeout) => all.silent += 1,
            }
        }
        all.summaries.sort_unstable();
        all
    }
}

impl fmt::Display for Survey {
    /// `3 http_idle, 1 http_sending, 1 worker that does not answer`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (state, n)) in self.states.iter().enumerate() {
            write!(f, "{}{n} {state}", if i > 0 { ", " } else { "" })?;
        }
        let comma = if self.states.is_empty() { "" } else { ", " };
        match self.silent {
            0 if self.states.is_empty() => f.write_str("nothing"),
            0 => Ok(()),
            1 => write!(f, "{comma}1 worker that does not answer"),
            n => write!(f, "{comma}{n} workers that do not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_worker_that_does_not_answer_in_time_is_named_and_one_that_has_ended_is_not() {
        let ((to, busy), (_slow_to, slow), (_ended_to, ended)) = (channel(), channel(), channel());
        let said = |asked: &[Receiver<Survey>], ended| {
            Survey::collect(asked, || Duration::ZERO, |n| n >= ended).to_string()
        };
        let asked = [slow, ended];
        assert_eq!(said(&asked, 0), "nothing");
        assert_eq!(said(&asked, 1), "1 worker that does not answer");
        assert_eq!(said(&asked, 2), "2 workers that do not answer");
        let states = BTreeMap::from([("http_body", 1), ("http_idle", 3)]);
        to.send(Survey { states, ..Survey::default() }).unwrap();
        let [slow, ended] = asked;
        assert_eq!(said(&[slow, busy, ended], 2), "1 http_body, 3 http_idle, 1 worker that does not answer");
    }
}
