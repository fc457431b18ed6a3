//! A small protocol of lines, with a state for everything that the reactor offers.
//!
//! | line | what comes of it |
//! |---|---|
//! | `pause MS` | reads nothing for so long |
//! | `produce N` | sends N bytes of the alphabet, as fast as they are taken |
//! | `hold MS` | at the peer's FIN: waits so long, sends `late`, and closes |
//! | `note` | a note to itself; `noted` when it comes |
//! | `dial WORD` | asks the upstream to echo WORD; sends what it answered |
//! | `file NAME` | sends `file:` and the file |
//! | `detach MS` | lets the stream go, and ends after so long |
//! | `quit` | sends `bye` and closes |
//! | `hush` | closes without a word |
//! | `abort` | resets |
//! | anything else | is sent back |

use evenkeel::reactor::Part;
use evenkeel::reactor::net::{Links, RelPath};
use evenkeel::reactor::{
    Admit, App, AppCx, Close, CloseHow, Cx, Deadline, End, Event, Failure, Fault, Input, ListenerId, Op,
    Peer, PortReason, Pressure, Session, Step, Target, Timer, TlsFault, TlsSide, Token,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const IDLE: Duration = Duration::from_secs(60);
pub const CONNECT: Duration = Duration::from_secs(5);
pub const LAST_WORDS: Duration = Duration::from_secs(1);
const ALPHABET: &[u8; 26] = b"abcdefghijklmnopqrstuvwxyz";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    Port(PortReason),
    Quit,
    Hushed,
    Aborted,
    Eof,
    Idle,
    Held,
    Detached,
    Slow(Deadline),
    Failed(Failure),
    Drained,
}

impl From<PortReason> for Reason {
    fn from(reason: PortReason) -> Reason {
        Reason::Port(reason)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    ToMyself,
    Answer(Vec<u8>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Open,
    Paused,
    Producing(usize),
    Noting,
    Dialing,
    Held,
    Detached,
    LastWords(Failure),
    // Of a session that dials:
    Fresh,
    Connecting,
    Asking,
}

/// What a dialing session is for.
#[derive(Debug)]
pub struct Errand {
    back: Option<Token>,
    to: Target,
    ask: Vec<u8>,
    got: Vec<u8>,
}

#[derive(Debug)]
pub struct Echo {
    pub state: State,
    hold: Option<Duration>,
    eof: bool,
    produced: usize,
    errand: Option<Box<Errand>>,
}

#[derive(Debug, Default)]
pub struct EchoApp {
    pub upstream: Option<Target>,
    /// Let idle connections be evicted.
    pub evictable: bool,
    /// Speak TLS with whoever connects.
    pub tls: Option<TlsSide>,
    /// Speak TLS with whomever a session dials.
    pub dial_tls: Option<TlsSide>,
    /// Answer what is not TLS with this, in plaintext.
    pub plain_answer: Option<&'static str>,
    /// What was agreed with those who were served.
    pub agreed: Vec<String>,
    pub ends: Vec<(Token, Reason)>,
    pub messages: Vec<u32>,
    pub admitted: usize,
    pub most: usize,
    pub here: usize,
}

impl Echo {
    fn new(state: State) -> Echo {
        Echo { state, hold: None, eof: false, produced: 0, errand: None }
    }

    pub fn errand(back: Option<Token>, to: Target, ask: &[u8]) -> Echo {
        let errand = Errand { back, to, ask: ask.to_vec(), got: Vec::new() };
        Echo { errand: Some(Box::new(errand)), ..Echo::new(State::Fresh) }
    }
}

type EchoCx<'a, 'b> = &'a mut Cx<'b, EchoApp>;

impl App for EchoApp {
    type Session = Echo;
    type Note = Note;
    type Message = u32;
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Self>) -> Admit<Echo> {
        self.admitted += 1;
        self.here += 1;
        self.most = self.most.max(self.here);
        match &self.tls {
            Some(side) => Admit::ServeTls(Echo::new(State::Open), side.clone()),
            None => Admit::Serve(Echo::new(State::Open)),
        }
    }

    fn on_message(&mut self, message: u32, _: &mut AppCx<'_, Self>) {
        self.messages.push(message);
    }

    fn on_close(&mut self, session: Echo, end: End<Reason>, cx: &mut AppCx<'_, Self>) {
        self.ends.push((end.token, end.reason));
        match session.errand {
            None => self.here -= 1,
            Some(errand) => {
                if let Some(back) = errand.back {
                    cx.notify(back, Note::Answer(errand.got));
                }
            }
        }
    }
}

impl Session for Echo {
    type App = EchoApp;

    fn on_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut EchoApp,
        cx: &mut Cx<'_, EchoApp>,
    ) -> Step<Reason> {
        if let Some(errand) = &mut self.errand {
            errand.got.extend_from_slice(input.bytes());
            input.take(input.bytes().len());
            return Step::Continue;
        }
        if matches!(self.state, State::LastWords(_)) {
            input.take(input.bytes().len());
            return Step::Continue;
        }
        while self.state == State::Open {
            let Some(end) = input.bytes().iter().position(|b| *b == b'\n') else { break };
            let line = input.bytes()[..=end].to_vec();
            input.take(end + 1);
            let step = self.line(&line, app, cx);
            if step != Step::Continue {
                return step;
            }
            if cx.pressure() == Pressure::High {
                cx.show_again();
                break;
            }
        }
        self.rest(app, cx)
    }

    fn on_event(&mut self, event: Event<Note>, app: &mut EchoApp, cx: &mut Cx<'_, EchoApp>) -> Step<Reason> {
        match event {
            Event::Open => self.opened(app, cx),
            Event::Eof => self.ended(cx),
            Event::Drained => self.produce(cx),
            Event::Timeout(deadline) => self.timeout(deadline, cx),
            Event::Failed(failure) => {
                let not_tls = failure.fault == Fault::Tls(TlsFault::NotTls) && failure.op == Op::Handshake;
                if let Some(answer) = app.plain_answer.filter(|_| not_tls) {
                    cx.write(answer.as_bytes());
                    return Step::Close(Close::Graceful, Reason::Failed(failure));
                }
                self.failed(failure, cx)
            }
            Event::Drain => match self.state {
                State::Open => Step::Close(Close::Graceful, Reason::Drained),
                State::Paused
                | State::Producing(_)
                | State::Noting
                | State::Dialing
                | State::Held
                | State::Detached
                | State::LastWords(_)
                | State::Fresh
                | State::Connecting
                | State::Asking => Step::Continue,
            },
            Event::Note(_, note) => self.note(note, cx),
        }
    }
}

impl Echo {
    fn rest(&mut self, app: &EchoApp, cx: EchoCx<'_, '_>) -> Step<Reason> {
        if self.state == State::Open {
            cx.set_deadline(Timer::Phase, IDLE);
            cx.set_evictable(app.evictable);
        } else {
            cx.set_evictable(false);
        }
        Step::Continue
    }

    fn line(&mut self, line: &[u8], app: &mut EchoApp, cx: EchoCx<'_, '_>) -> Step<Reason> {
        let text = std::str::from_utf8(line).unwrap_or("").trim_end();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let number = rest.parse::<u64>().unwrap_or(0).min(100_000_000);
        match word {
            "pause" => {
                self.state = State::Paused;
                cx.set_reading(false);
                cx.set_deadline(Timer::Phase, Duration::from_millis(number));
            }
            "produce" => {
                self.state = State::Producing(number as usize);
                self.produced = 0;
                cx.clear_deadline(Timer::Phase);
                cx.set_reading(false);
                return self.produce(cx);
            }
            "hold" => self.hold = Some(Duration::from_millis(number)),
            "note" => {
                self.state = State::Noting;
                cx.set_reading(false);
                cx.notify(cx.me(), Note::ToMyself);
            }
            "dial" => {
                let Some(to) = app.upstream.clone() else { return Step::Continue };
                self.state = State::Dialing;
                cx.set_reading(false);
                cx.clear_deadline(Timer::Phase);
                let ask = format!("{rest}\nquit\n");
                let _ = cx.spawn(Echo::errand(Some(cx.me()), to, ask.as_bytes()));
            }
            "detach" => {
                self.state = State::Detached;
                cx.set_deadline(Timer::Phase, Duration::from_millis(number));
                return Step::Detach(CloseHow::Normal);
            }
            "file" => {
                let root = cx.host().open_root(Path::new("/")).unwrap();
                let path = RelPath::new(rest.as_bytes()).unwrap();
                let (file, stat) = cx.host().open(&root, path, Links::Refuse).unwrap();
                cx.write(b"file:\n");
                cx.write_part(Part::File(Arc::new(file), 0..stat.len));
            }
            "quit" => {
                cx.write(b"bye\n");
                return Step::Close(Close::Graceful, Reason::Quit);
            }
            "hush" => return Step::Close(Close::Graceful, Reason::Hushed),
            "abort" => return Step::Close(Close::Abort, Reason::Aborted),
            _ => cx.write(line),
        }
        Step::Continue
    }

    fn opened(&mut self, app: &mut EchoApp, cx: EchoCx<'_, '_>) -> Step<Reason> {
        match (self.state, &self.errand) {
            (State::Fresh, Some(errand)) => {
                self.state = State::Connecting;
                cx.set_deadline(Timer::Phase, CONNECT);
                cx.attach(&errand.to.clone());
                Step::Continue
            }
            (_, Some(errand)) => {
                if let (Some(side), None) = (&app.dial_tls, cx.tls()) {
                    cx.start_tls(side.clone());
                    return Step::Continue;
                }
                self.state = State::Asking;
                cx.set_deadline(Timer::Phase, IDLE);
                cx.write(&errand.ask);
                Step::Continue
            }
            (_, None) => {
                if let Some(info) = cx.tls() {
                    app.agreed.push(format!("{} {}", info.version, info.cipher));
                }
                self.rest(app, cx)
            }
        }
    }

    fn ended(&mut self, cx: EchoCx<'_, '_>) -> Step<Reason> {
        self.eof = true;
        match (self.state, self.hold) {
            (State::LastWords(failure), _) => Step::Close(Close::Graceful, Reason::Failed(failure)),
            (State::Open, Some(hold)) => {
                self.state = State::Held;
                cx.set_deadline(Timer::Phase, hold);
                Step::Continue
            }
            (State::Open | State::Asking, _) => Step::Close(Close::Graceful, Reason::Eof),
            // Something is under way: it is finished first.
            (
                State::Paused
                | State::Producing(_)
                | State::Noting
                | State::Dialing
                | State::Held
                | State::Detached
                | State::Fresh
                | State::Connecting,
                _,
            ) => Step::Continue,
        }
    }

    /// What was under way is done: on with the next line.
    fn resume(&mut self, cx: EchoCx<'_, '_>) -> Step<Reason> {
        self.state = State::Open;
        cx.set_deadline(Timer::Phase, IDLE);
        cx.set_reading(true);
        Step::Continue
    }

    fn produce(&mut self, cx: EchoCx<'_, '_>) -> Step<Reason> {
        let State::Producing(mut left) = self.state else { return Step::Continue };
        while left > 0 && cx.pressure() == Pressure::Low {
            let at = self.produced % ALPHABET.len();
            let piece = &ALPHABET[at..(at + left).min(ALPHABET.len())];
            cx.write(piece);
            self.produced += piece.len();
            left -= piece.len();
        }
        self.state = State::Producing(left);
        if left > 0 { Step::Continue } else { self.resume(cx) }
    }

    fn timeout(&mut self, deadline: Deadline, cx: EchoCx<'_, '_>) -> Step<Reason> {
        match (deadline, self.state) {
            (Deadline::Progress | Deadline::Rate, _) => Step::Close(Close::Abort, Reason::Slow(deadline)),
            (_, State::Paused) => self.resume(cx),
            (_, State::Held) => {
                cx.write(b"late\n");
                Step::Close(Close::Graceful, Reason::Held)
            }
            (_, State::Detached) => Step::Close(Close::Graceful, Reason::Detached),
            (_, State::LastWords(failure)) => Step::Close(Close::Abort, Reason::Failed(failure)),
            (
                _,
                State::Open
                | State::Producing(_)
                | State::Noting
                | State::Dialing
                | State::Fresh
                | State::Connecting
                | State::Asking,
            ) => Step::Close(Close::Graceful, Reason::Idle),
        }
    }

    fn failed(&mut self, failure: Failure, cx: EchoCx<'_, '_>) -> Step<Reason> {
        match (failure.op, self.state) {
            // The first failure is the reason.
            (_, State::LastWords(first)) => Step::Close(Close::Abort, Reason::Failed(first)),
            (Op::Write, _) if !self.eof => {
                self.state = State::LastWords(failure);
                cx.set_reading(true);
                cx.set_deadline(Timer::Phase, LAST_WORDS);
                Step::Continue
            }
            // Our alert is to be delivered.
            (Op::Handshake, _) => Step::Close(Close::Graceful, Reason::Failed(failure)),
            (Op::Connect | Op::Read | Op::Write, _) => Step::Close(Close::Abort, Reason::Failed(failure)),
        }
    }

    fn note(&mut self, note: Note, cx: EchoCx<'_, '_>) -> Step<Reason> {
        match (note, self.state) {
            (Note::ToMyself, State::Noting) => cx.write(b"noted\n"),
            (Note::Answer(answer), State::Dialing) => cx.write(&answer),
            (note, State::LastWords(_)) => drop(note),
            (note, state) => panic!("a note to the wrong session: {note:?} in {state:?}"),
        }
        match self.state {
            State::LastWords(_) => Step::Continue,
            _ => self.resume(cx),
        }
    }
}

/// What the server says to these bytes, in all, if nothing fails. `None` of a line means that the connection ends there.
pub fn model(input: &[u8]) -> Vec<u8> {
    let (mut out, mut held) = (Vec::new(), false);
    for line in input.split_inclusive(|b| *b == b'\n').filter(|line| line.ends_with(b"\n")) {
        let text = std::str::from_utf8(line).unwrap_or("").trim_end();
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        match word {
            "pause" => {}
            "hold" => held = true,
            "produce" => out.extend(ALPHABET.iter().cycle().take(rest.parse().unwrap_or(0))),
            "note" => out.extend_from_slice(b"noted\n"),
            "dial" => out.extend_from_slice(format!("{rest}\nbye\n").as_bytes()),
            "quit" => {
                out.extend_from_slice(b"bye\n");
                return out;
            }
            "hush" | "abort" | "detach" => return out,
            _ => out.extend_from_slice(line),
        }
    }
    if held {
        out.extend_from_slice(b"late\n");
    }
    out
}
