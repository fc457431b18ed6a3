//! A session without a connection that makes its worker look after itself once a second, also while it drains: until the last
//! connection has ended, when the worker lets it go.

use super::app::Worker;
use crate::observe::Reason;
use crate::reactor::{Cx, Event, Millis, Step, Timer};
use std::time::Duration;

const EVERY: Duration = Duration::from_secs(1);

/// See the module page.
#[derive(Debug)]
pub struct Tick {
    due: Millis,
}

impl Tick {
    pub(super) fn new() -> Tick {
        Tick { due: Millis(0) }
    }

    pub(super) fn on_event<N>(
        &mut self,
        event: &Event<N>,
        app: &mut Worker,
        cx: &mut Cx<'_, Worker>,
    ) -> Step<Reason> {
        match event {
            Event::Drain => return Step::Continue,
            Event::Timeout(_) => app.on_tick(self.due, cx.now()),
            // It has no stream: nothing else comes.
            Event::Open | Event::Eof | Event::Drained | Event::Failed(_) | Event::Note(..) => {}
        }
        self.due = cx.now().after(EVERY);
        cx.set_deadline(Timer::Phase, EVERY);
        Step::Continue
    }
}
