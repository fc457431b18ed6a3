//! One connection of the server: which protocol it speaks, and the edges on which that changes.

use super::app::{Note, Worker};
use super::tick::Tick;
use crate::http::{self, Outcome};
use crate::observe::Reason;
use crate::reactor::{self, Close, Cx, Event, Failure, Fault, Input, Op, Phase, Step, TlsFault};

/// The protocols. Stored inline: see the assertion below.
pub enum Session {
    /// HTTP/1.1 or 1.0.
    Http(http::Connection),
    /// No connection: the worker looks after itself.
    Tick(Tick),
}

/// Every state of a connection, for metrics: those of its protocol while that runs, else those of its port.
pub(super) const STATES: &[&str] = &[
    "http_fresh",
    "http_idle",
    "http_head",
    "http_body",
    "http_upload",
    "http_late",
    "http_stream",
    "http_sending",
    "connecting",
    "handshaking",
    "flushing",
    "lingering",
];

const _: () = assert!(size_of::<Session>() <= 64, "a session is stored inline; larger states live in boxes");

impl Session {
    /// Where it stands: an index of [`STATES`]; none for what is no connection.
    pub(super) fn state(&self, phase: Phase) -> Option<usize> {
        let port = |name: &str| STATES.iter().position(|state| *state == name);
        match (self, phase) {
            (Session::Tick(_), _) => None,
            (_, Phase::Connecting | Phase::Handshaking | Phase::Flushing | Phase::Lingering) => {
                port(phase.name())
            }
            (Session::Http(connection), Phase::Detached | Phase::Open | Phase::ReadOnly) => {
                Some(connection.state() as usize)
            }
        }
    }

    /// Does what an HTTP connection wants; on an upgrade another protocol takes its place.
    fn after_http(outcome: Outcome) -> Step<Reason> {
        match outcome {
            Outcome::Step(step) => step,
            Outcome::Upgrade(_) => Step::Close(Close::Abort, Reason::Internal),
        }
    }
}

/// What a plain request on a TLS port is told, in plaintext.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 65\r\n\
    connection: close\r\n\r\nThis port speaks TLS: ask again with https:// instead of http://\n";

/// Something other than TLS came to a TLS port.
const NOT_TLS: Failure = Failure { op: Op::Handshake, fault: Fault::Tls(TlsFault::NotTls) };

impl reactor::Session for Session {
    type App = Worker;

    fn on_data(&mut self, input: &mut Input<'_>, app: &mut Worker, cx: &mut Cx<'_, Worker>) -> Step<Reason> {
        match self {
            Session::Http(connection) => {
                let outcome = connection.on_data(input, app, cx);
                Session::after_http(outcome)
            }
            Session::Tick(_) => Step::Continue,
        }
    }

    fn on_event(&mut self, event: Event<Note>, app: &mut Worker, cx: &mut Cx<'_, Worker>) -> Step<Reason> {
        match self {
            Session::Tick(tick) => tick.on_event(&event, app, cx),
            Session::Http(_) if matches!(event, Event::Failed(NOT_TLS)) => {
                cx.write(SPEAK_TLS);
                Step::Close(Close::Graceful, Reason::TlsNotTls)
            }
            Session::Http(connection) => {
                let event = match event {
                    Event::Note(from, Note::Late(late)) => Event::Note(from, late),
                    Event::Open => Event::Open,
                    Event::Eof => Event::Eof,
                    Event::Drained => Event::Drained,
                    Event::Timeout(deadline) => Event::Timeout(deadline),
                    Event::Failed(failure) => Event::Failed(failure),
                    Event::Drain => Event::Drain,
                };
                Session::after_http(connection.on_event(event, app, cx))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::fault::State;

    #[test]
    fn the_names_of_states_stand_where_the_states_do() {
        for state in State::ALL {
            assert_eq!(STATES[state as usize], format!("http_{}", state.name()));
        }
    }
}
