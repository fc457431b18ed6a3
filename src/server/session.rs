//! One connection of the server: which protocol it speaks, and the edges on which that changes.

use super::app::{Note, Worker};
use super::tick::Tick;
use crate::http::{self, Outcome};
use crate::observe::Reason;
use crate::reactor::{self, Close, Cx, Event, Failure, Fault, Input, Op, Phase, Step, TlsFault};
use crate::{tcp, ws};

/// The protocols. Stored inline: see the assertion below.
pub enum Session {
    /// HTTP/1.1 or 1.0.
    Http(http::Connection),
    /// What HTTP was upgraded to.
    Ws(ws::Connection),
    /// Raw TCP.
    Tcp(tcp::Connection),
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
    "ws_open",
    "ws_message",
    "ws_closing_by_us",
    "ws_closing_by_peer",
    "tcp_open",
    "tcp_held",
    "tcp_finishing",
    "connecting",
    "handshaking",
    "flushing",
    "lingering",
];

const FIRST_WS: usize = http::fault::State::ALL.len();
const FIRST_TCP: usize = FIRST_WS + ws::fault::State::ALL.len();

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
            (Session::Ws(connection), Phase::Detached | Phase::Open | Phase::ReadOnly) => {
                Some(FIRST_WS + connection.state() as usize)
            }
            (Session::Tcp(connection), Phase::Detached | Phase::Open | Phase::ReadOnly) => {
                Some(FIRST_TCP + connection.state() as usize)
            }
        }
    }

    /// Does what an HTTP connection wants; on an upgrade another protocol takes its place.
    fn after_http(&mut self, outcome: Outcome, app: &mut Worker, cx: &mut Cx<'_, Worker>) -> Step<Reason> {
        let setup = match outcome {
            Outcome::Step(step) => return step,
            Outcome::Upgrade(state) => state.downcast::<ws::Setup>(),
        };
        // Nobody but `Upgrade` hands anything over.
        let Ok(setup) = setup else { return Step::Close(Close::Abort, Reason::Internal) };
        let (mut connection, step) = ws::Connection::begin(&setup, app, cx);
        let step = match step {
            // Everybody else was told before this one was a WebSocket.
            Step::Continue if cx.draining() => connection.on_event(Event::Drain, app, cx),
            step => step,
        };
        *self = Session::Ws(connection);
        step
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
        let before = app.before(self, cx);
        let step = self.take_data(input, app, cx);
        if let Some(before) = before {
            app.lived(before, self, cx.me(), &cx.peer());
        }
        step
    }

    fn on_event(&mut self, event: Event<Note>, app: &mut Worker, cx: &mut Cx<'_, Worker>) -> Step<Reason> {
        if matches!(event, Event::Open | Event::Failed(_)) && !matches!(self, Session::Tick(_)) {
            app.heard(&event, cx.tls().is_some(), cx.me(), &cx.peer());
        }
        let before = app.before(self, cx);
        let held = self.held();
        let step = self.take_event(event, app, cx);
        cx.hold(held, self.held());
        if let Some(before) = before {
            app.lived(before, self, cx.me(), &cx.peer());
        }
        step
    }
}

impl Session {
    /// Takes bytes, and says what is held for them: each protocol for itself, since this is asked with every read.
    fn take_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut Worker,
        cx: &mut Cx<'_, Worker>,
    ) -> Step<Reason> {
        match self {
            Session::Http(connection) => {
                let held = connection.held();
                let outcome = connection.on_data(input, app, cx);
                let step = match (self.after_http(outcome, app, cx), &mut *self) {
                    // What came behind the handshake.
                    (Step::Continue, Session::Ws(connection)) if !input.is_empty() => {
                        connection.on_data(input, app, cx)
                    }
                    (step, _) => step,
                };
                cx.hold(held, self.held());
                step
            }
            Session::Ws(connection) => {
                let held = connection.held();
                let step = connection.on_data(input, app, cx);
                cx.hold(held, connection.held());
                step
            }
            // Together, since of four ways the compiler makes a table.
            Session::Tcp(_) | Session::Tick(_) => self.take_raw_data(input, app, cx),
        }
    }

    fn take_raw_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut Worker,
        cx: &mut Cx<'_, Worker>,
    ) -> Step<Reason> {
        let Session::Tcp(connection) = self else { return Step::Continue };
        let held = connection.held();
        let step = connection.on_data(input, app, cx);
        cx.hold(held, connection.held());
        step
    }

    fn take_event(&mut self, event: Event<Note>, app: &mut Worker, cx: &mut Cx<'_, Worker>) -> Step<Reason> {
        match self {
            Session::Tick(tick) => tick.on_event(&event, app, cx),
            Session::Http(_) if matches!(event, Event::Failed(NOT_TLS)) => {
                cx.write(SPEAK_TLS);
                Step::Close(Close::Graceful, Reason::TlsNotTls)
            }
            Session::Http(connection) => {
                let Some(event) = event.map_note(late) else { return Step::Continue };
                let outcome = connection.on_event(event, app, cx);
                let step = self.after_http(outcome, app, cx);
                if matches!(self, Session::Ws(_)) {
                    // What came behind the handshake is kept by the port.
                    cx.show_again();
                }
                step
            }
            Session::Ws(connection) => match event.map_note(for_ws) {
                Some(event) => connection.on_event(event, app, cx),
                None => Step::Continue,
            },
            Session::Tcp(connection) => match event.map_note(for_tcp) {
                Some(event) => connection.on_event(event, app, cx),
                None => Step::Continue,
            },
        }
    }
}

fn late(note: Note) -> Option<http::Late> {
    match note {
        Note::Late(late) => Some(late),
        Note::Ws(_) | Note::Tcp(_) => None,
    }
}

fn for_ws(note: Note) -> Option<ws::Note> {
    match note {
        Note::Ws(note) => Some(note),
        Note::Late(_) | Note::Tcp(_) => None,
    }
}

fn for_tcp(note: Note) -> Option<tcp::Note> {
    match note {
        Note::Tcp(note) => Some(note),
        Note::Late(_) | Note::Ws(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_states_stand_where_the_states_do() {
        for state in http::fault::State::ALL {
            assert_eq!(STATES[state as usize], format!("http_{}", state.name()));
        }
        for state in ws::fault::State::ALL {
            assert_eq!(STATES[FIRST_WS + state as usize], format!("ws_{}", state.name()));
        }
        for state in tcp::fault::State::ALL {
            assert_eq!(STATES[FIRST_TCP + state as usize], format!("tcp_{}", state.name()));
        }
    }
}
