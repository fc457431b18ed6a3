//! Where workers publish what they count, and where others read it.
//!
//! A worker owns a [`Publisher`] and counts into its tally. At the end of a turn, at most every [`EVERY_MS`], it copies the tally
//! into the [`Hub`]; a scrape sums the copies. Metrics, health and summaries are made from such a sum, so none of them ever
//! reaches into a worker. A worker that publishes nothing for long hangs: [`Silence`] notices, if each worker has a timer that
//! makes it publish at least once a second.

use super::counters::Tally;
use crate::reactor::Millis;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A busy worker publishes this often, in milliseconds.
pub const EVERY_MS: u64 = 250;

/// What all workers have published. One a process, behind an `Arc`.
#[derive(Debug)]
pub struct Hub {
    states: &'static [&'static str],
    workers: Box<[Mutex<Place>]>,
}

#[derive(Debug)]
struct Place {
    tally: Tally,
    /// How often it was published.
    times: u64,
}

impl Hub {
    /// For so many workers, whose connections can be in these states.
    pub fn new(workers: usize, states: &'static [&'static str]) -> Hub {
        Hub {
            states,
            workers: (0..workers)
                .map(|_| Mutex::new(Place { tally: Tally::new(states), times: 0 }))
                .collect(),
        }
    }

    /// The sum of what was published.
    pub fn total(&self) -> Tally {
        let mut total = Tally::new(self.states);
        self.workers.iter().for_each(|worker| total.add(&lock(worker).tally));
        total
    }
}

fn lock(place: &Mutex<Place>) -> MutexGuard<'_, Place> {
    // A tally is plain numbers: a panic elsewhere does no harm to it.
    place.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One worker's tally and its place in the hub.
#[derive(Debug)]
pub struct Publisher {
    /// Count here.
    pub tally: Tally,
    hub: Arc<Hub>,
    worker: usize,
    next: Millis,
}

impl Publisher {
    /// For the worker of this number, from 0. A number that the hub has no place for publishes nothing.
    pub fn new(hub: Arc<Hub>, worker: usize) -> Publisher {
        Publisher { tally: Tally::new(hub.states), hub, worker, next: Millis(0) }
    }

    /// It is time to publish again: bring the gauges up to date, then [`publish`](Self::publish). One comparison.
    pub fn is_due(&self, now: Millis) -> bool {
        now >= self.next
    }

    /// Copies the tally to where it can be read.
    pub fn publish(&mut self, now: Millis) {
        self.next = Millis(now.0.saturating_add(EVERY_MS));
        if let Some(place) = self.hub.workers.get(self.worker) {
            let mut place = lock(place);
            place.tally.clone_from(&self.tally);
            place.times += 1;
        }
    }

    /// What all workers have published.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

/// For how long a worker has been silent, as one observer sees it: its own clock, and whether counts of publications moved.
#[derive(Clone, Default, Debug)]
pub struct Silence {
    seen: Vec<(u64, Millis)>,
}

impl Silence {
    /// The longest silence of any worker, in milliseconds, up to now. Observe often: a silence is seen only as it lasts.
    pub fn observe(&mut self, now: Millis, hub: &Hub) -> u64 {
        self.seen.resize(hub.workers.len(), (u64::MAX, now));
        let mut longest = 0;
        for (seen, worker) in self.seen.iter_mut().zip(&hub.workers) {
            let times = lock(worker).times;
            if times != seen.0 {
                *seen = (times, now);
            }
            longest = longest.max(now.0.saturating_sub(seen.1.0));
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::counters::{DropPolicy, Handshake, Refusal};
    use crate::wire::http::Method;

    const STATES: &[&str] = &["head", "idle"];

    #[test]
    fn the_hub_sums_what_workers_published_and_gauges_follow() {
        let hub = Arc::new(Hub::new(2, STATES));
        let mut workers = [Publisher::new(hub.clone(), 0), Publisher::new(hub.clone(), 1)];
        for worker in &mut workers {
            worker.tally.exchange(Some(Method::Get), 200, 1, 1, 2);
            worker.tally.handshake(Handshake::Done);
            worker.tally.dropped(DropPolicy::Oldest);
            worker.tally.refused(Refusal::Memory);
            worker.tally.reactor.accepted = 5;
            worker.tally.set_connections([0, 1, 1, 9].into_iter());
            worker.tally.rooms = 3;
        }
        workers[0].tally.lag_ms = 7;
        assert_eq!(hub.total().connection_count(), 0, "nothing is seen before it is published");
        workers.iter_mut().for_each(|worker| worker.publish(Millis(0)));
        let total = hub.total();
        assert_eq!(total.connections().collect::<Vec<_>>(), [("head", 2), ("idle", 4)]);
        assert_eq!((total.reactor.accepted, total.rooms, total.lag_ms), (10, 6, 7));
        assert_eq!((total.durations.count(), total.request_body_bytes, total.response_body_bytes), (2, 2, 4));
        assert_eq!((total.handshakes[0], total.drops[1], total.refusals[1]), (2, 2, 2));
        workers[0].tally.set_connections([].into_iter());
        workers[0].publish(Millis(1));
        assert_eq!(hub.total().connection_count(), 3);
    }

    #[test]
    fn a_worker_publishes_four_times_a_second() {
        let mut worker = Publisher::new(Arc::new(Hub::new(1, STATES)), 0);
        let due = (0..10_000).filter(|now| {
            let due = worker.is_due(Millis(*now));
            if due {
                worker.publish(Millis(*now));
            }
            due
        });
        assert_eq!(due.count(), 40);
        Publisher::new(Arc::new(Hub::new(0, STATES)), 0).publish(Millis(0));
    }

    #[test]
    fn a_worker_that_hangs_is_noticed() {
        let hub = Arc::new(Hub::new(2, STATES));
        let mut workers = [Publisher::new(hub.clone(), 0), Publisher::new(hub.clone(), 1)];
        let mut silence = Silence::default();
        assert_eq!(silence.observe(Millis(500), &hub), 0);
        for now in [1000, 2000, 3000] {
            workers[0].publish(Millis(now));
            assert_eq!(silence.observe(Millis(now), &hub), now - 500, "the second says nothing");
        }
        workers[1].publish(Millis(3500));
        assert_eq!(silence.observe(Millis(3500), &hub), 500);
    }
}
