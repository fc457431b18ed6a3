//! The states of the transport, reached through the echo protocol.

use super::echo::{Echo, EchoApp, Reason};
use super::matrix::{Expect, Hit, Subject};
use evenkeel::reactor::net::sim::{Plan, Script, SimListener, SimNet, World};
use evenkeel::reactor::{CloseHow, Deadline, Failure, Fault, Op, PortReason, Reactor, Target, TlsFault};

/// Where a connection stands when it is hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Connecting,
    Handshaking,
    Open,
    HalfClosed,
    Paused,
    Producing,
    ReadOnly,
    Flushing,
    Lingering,
    Detached,
}

/// The transport under the echo protocol.
pub struct Transport;

/// What made it `ReadOnly`.
const BROKEN: Failure = Failure { op: Op::Write, fault: Fault::BrokenPipe };

fn elsewhere() -> Target {
    Target::Unix("/run/elsewhere.sock".into())
}

fn ended(reason: Reason, close: CloseHow, sent: &'static str) -> Option<Expect<Reason>> {
    Some(Expect { reason, close: Some(close), sent })
}

impl Subject for Transport {
    type App = EchoApp;
    type State = State;
    const TITLE: &'static str = "The transport, under a small echo protocol";

    fn states() -> &'static [State] {
        &[
            State::Connecting,
            #[cfg(feature = "tls")]
            State::Handshaking,
            State::Open,
            State::HalfClosed,
            State::Paused,
            State::Producing,
            State::ReadOnly,
            State::Flushing,
            State::Lingering,
            State::Detached,
        ]
    }

    fn about(state: State) -> &'static str {
        match state {
            State::Connecting => "a connect is under way",
            State::Handshaking => "the first half of a TLS record has come",
            State::Open => "one line was echoed",
            State::HalfClosed => "the peer's FIN was seen; more will be said in 500 ms",
            State::Paused => "nothing is read for 500 ms",
            State::Producing => "output stands above high water; the peer takes nothing",
            State::ReadOnly => "a write failed; last words are read for 1 s",
            State::Flushing => "the session is done; half of its last bytes were taken",
            State::Lingering => "our FIN is out (or was just to be sent, for a failed write)",
            State::Detached => "the stream was let go; the session ends in 500 ms",
        }
    }

    fn app(_: &mut World, _: SimListener) -> EchoApp {
        EchoApp::default()
    }

    fn reach<const R: bool>(
        reactor: &mut Reactor<EchoApp, SimNet<R>>,
        listener: SimListener,
        state: State,
        hit: Hit,
    ) {
        if state == State::Connecting {
            return dial(reactor, hit);
        }
        #[cfg(feature = "tls")]
        if state == State::Handshaking {
            reactor.app_mut().tls = Some(super::tls::server_side(super::tls::BOTH));
        }
        let reached = match state {
            State::Handshaking => Script::new().send([22, 3, 1, 0, 8, 1, 0, 0, 4]),
            State::Connecting | State::Open => Script::new().send("hi\n").await_sent(3),
            State::HalfClosed => Script::new().send("hold 500\n").fin(),
            State::Paused => Script::new().send("pause 500\n").wait(100).send("x\n"),
            State::Producing => Script::new().window(0).send("produce 1000000\n"),
            State::ReadOnly => Script::new().fail_write(Fault::BrokenPipe).send("x\n"),
            State::Flushing => Script::new().window(2).send("quit\n"),
            // Only the FIN itself can still fail.
            State::Lingering if matches!(hit, Hit::Fails(Op::Write, _)) => {
                reactor.net_mut().arrive(listener, hit.script().send("hush\n"));
                return;
            }
            State::Lingering => Script::new().send("quit\n").await_fin(),
            State::Detached => Script::new().send("detach 500\n"),
        };
        let mut script = reached.wait(200).then(hit.script());
        if state == State::Open && matches!(hit, Hit::Fails(Op::Write, _)) {
            script = script.send("x\n");
        }
        reactor.net_mut().arrive(listener, script);
    }

    fn expect(state: State, hit: Hit) -> Option<Expect<Reason>> {
        use CloseHow::{Normal, Reset};
        let failed = |op, fault| Reason::Failed(Failure { op, fault });
        match (state, hit) {
            // Not of the transport: rows of protocols.
            (_, Hit::Trickle | Hit::Drain) => None,

            (State::Connecting, Hit::Fails(Op::Connect, fault)) => {
                ended(failed(Op::Connect, fault), Reset, "")
            }
            (State::Connecting, Hit::WouldBlock | Hit::Silence) => ended(Reason::Idle, Normal, ""),
            (State::Connecting, Hit::Eof | Hit::Fails(Op::Handshake | Op::Read | Op::Write, _)) => None,
            (State::Handshaking, Hit::Fails(Op::Connect | Op::Handshake, _)) => None,
            (State::Handshaking, Hit::Fails(Op::Read, fault)) => {
                ended(failed(Op::Handshake, fault), Normal, "")
            }
            (State::Handshaking, Hit::Eof) => {
                ended(failed(Op::Handshake, Fault::Tls(TlsFault::Truncated)), Normal, "")
            }
            // Nothing is written before the hello is whole.
            (State::Handshaking, Hit::Fails(Op::Write, _) | Hit::WouldBlock | Hit::Silence) => {
                ended(failed(Op::Handshake, Fault::TimedOut), Normal, "")
            }
            (
                State::Open
                | State::HalfClosed
                | State::Paused
                | State::Producing
                | State::ReadOnly
                | State::Flushing
                | State::Lingering
                | State::Detached,
                Hit::Fails(Op::Connect | Op::Handshake, _),
            ) => None,

            (State::Open, Hit::Fails(op @ (Op::Read | Op::Write), fault)) => {
                ended(failed(op, fault), Reset, "hi\n")
            }
            (State::Open, Hit::Eof) => ended(Reason::Eof, Normal, "hi\n"),
            (State::Open, Hit::WouldBlock | Hit::Silence) => ended(Reason::Idle, Normal, "hi\n"),

            // Nothing is read behind a FIN, so a fault there is not seen.
            (State::HalfClosed, Hit::Fails(Op::Read, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::Held, Normal, "late\n")
            }
            // It wanted to close, but its last words were lost: that is the reason.
            (State::HalfClosed, Hit::Fails(Op::Write, fault)) => {
                ended(Reason::Port(PortReason::FlushFailed(fault)), Normal, "")
            }

            (State::Paused, Hit::Fails(Op::Read, fault)) => ended(failed(Op::Read, fault), Reset, "x\n"),
            (State::Paused, Hit::Fails(Op::Write, fault)) => ended(failed(Op::Write, fault), Reset, ""),
            (State::Paused, Hit::Eof) => ended(Reason::Eof, Normal, "x\n"),
            (State::Paused, Hit::WouldBlock | Hit::Silence) => ended(Reason::Idle, Normal, "x\n"),

            // Above high water nothing is read: only the peer's not taking anything is seen.
            (State::Producing, Hit::Fails(Op::Read, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::Slow(Deadline::Progress), Reset, "")
            }
            (State::Producing, Hit::Fails(Op::Write, fault)) => ended(failed(Op::Write, fault), Reset, ""),

            // The first failure is the reason; nothing more is written.
            (State::ReadOnly, Hit::Fails(Op::Read | Op::Write, _) | Hit::WouldBlock | Hit::Silence) => {
                ended(Reason::Failed(BROKEN), Reset, "")
            }
            (State::ReadOnly, Hit::Eof) => ended(Reason::Failed(BROKEN), Normal, ""),

            (State::Flushing, Hit::Fails(Op::Write, fault)) => {
                ended(Reason::Port(PortReason::FlushFailed(fault)), Normal, "by")
            }
            // Nothing is read before the last bytes are out.
            (State::Flushing, Hit::Fails(Op::Read, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::Port(PortReason::FlushStalled), Reset, "by")
            }

            (State::Lingering, Hit::Fails(Op::Write, _)) => ended(Reason::Hushed, Normal, ""),
            (State::Lingering, Hit::Fails(Op::Read, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence) => {
                ended(Reason::Quit, Normal, "bye\n")
            }

            // What happens on a stream that was let go concerns nobody.
            (
                State::Detached,
                Hit::Fails(Op::Read | Op::Write, _) | Hit::WouldBlock | Hit::Eof | Hit::Silence,
            ) => ended(Reason::Detached, Normal, ""),
        }
    }

    fn reasons(app: &EchoApp) -> Vec<Reason> {
        app.ends.iter().map(|(_, reason)| *reason).collect()
    }

    fn words(reason: &Reason) -> String {
        match reason {
            Reason::Failed(failure) => format!("{:?} failed", failure.op),
            Reason::Port(PortReason::FlushFailed(_)) => "FlushFailed".into(),
            Reason::Port(reason) => format!("{reason:?}"),
            Reason::Slow(deadline) => format!("Slow, {deadline:?}"),
            Reason::Quit
            | Reason::Hushed
            | Reason::Aborted
            | Reason::Eof
            | Reason::Idle
            | Reason::Held
            | Reason::Detached
            | Reason::Drained => format!("{reason:?}"),
        }
    }
}

fn dial<const R: bool>(reactor: &mut Reactor<EchoApp, SimNet<R>>, hit: Hit) {
    let plan = match hit {
        Hit::Fails(_, fault) => Plan::Fail(10, fault),
        Hit::WouldBlock | Hit::Eof | Hit::Silence | Hit::Trickle | Hit::Drain => Plan::Hang,
    };
    reactor.net_mut().on_connect(elsewhere(), plan);
    assert!(reactor.with_app(|_, cx| cx.spawn(Echo::errand(None, elsewhere(), b""))).is_ok());
    if hit == Hit::WouldBlock {
        super::run_for(reactor, 5);
        let stream = reactor.net().streams().next().unwrap();
        reactor.net_mut().spurious(stream, evenkeel::reactor::net::Ready::WRITABLE);
    }
}
