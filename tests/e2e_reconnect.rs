//! The client against a server that is killed and started again: two processes, real sockets, SIGKILL.
#![cfg(feature = "cli")]

#[path = "support/program.rs"]
mod program;

use evenkeel::guard::Retry;
use evenkeel::observe::Reason;
use evenkeel::reactor::{
    Admit, App, AppCx, CloseHow, Cx, End, Event, Input, ListenerId, OsNet, Peer, Reactor, Session, Settings,
    Step, Target,
};
use evenkeel::wire::ws::Code;
use evenkeel::ws;
use evenkeel::ws::client::{Change, Client, Handler, Link, Options};
use program::{Program, evenkeel};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const RETRY: Retry = Retry {
    first: Duration::from_millis(10),
    longest: Duration::from_millis(100),
    stable: Duration::from_secs(10),
    attempts: 0,
};
const PATIENCE: Duration = Duration::from_secs(30);

/// What the client tells the test.
#[derive(Debug, PartialEq)]
enum Told {
    Connecting,
    Open,
    Closing,
    Lost(Reason),
    Waiting(Duration),
    Ended(Reason),
    /// This number came back.
    Acknowledged(usize),
}

struct Dialler(ws::Hub);

impl ws::Service for Dialler {
    fn ws(&mut self) -> &mut ws::Hub {
        &mut self.0
    }
}

struct Dialling(Client);

impl App for Dialler {
    type Session = Dialling;
    type Note = ws::Note;
    type Message = ();
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Dialler>) -> Admit<Dialling> {
        Admit::Refuse(CloseHow::Normal)
    }

    fn on_message(&mut self, (): (), cx: &mut AppCx<'_, Dialler>) {
        let all: Vec<_> = cx.survey().map(|one| one.token).collect();
        all.into_iter().for_each(|token| cx.notify(token, ws::Note::Close(Code::NORMAL, "enough".into())));
    }

    fn on_close(&mut self, Dialling(client): Dialling, end: End<Reason>, cx: &mut AppCx<'_, Dialler>) {
        client.on_close(end.reason, end.token, self, cx.host());
    }
}

impl Session for Dialling {
    type App = Dialler;

    fn on_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut Dialler,
        cx: &mut Cx<'_, Dialler>,
    ) -> Step<Reason> {
        self.0.on_data(input, app, cx)
    }

    fn on_event(
        &mut self,
        event: Event<ws::Note>,
        app: &mut Dialler,
        cx: &mut Cx<'_, Dialler>,
    ) -> Step<Reason> {
        self.0.on_event(event, app, cx)
    }
}

/// Sends the numbers from 0, each until it is acknowledged: the echo is the acknowledgement.
struct Counting {
    next: usize,
    to: Sender<Told>,
}

impl Handler for Counting {
    fn change(&mut self, change: Change<'_>, _: &mut Link<'_>) {
        // The test may have failed meanwhile.
        let _ = self.to.send(match change {
            Change::Connecting => Told::Connecting,
            Change::Open(_) => Told::Open,
            Change::Closing(_) => Told::Closing,
            Change::Lost(reason) => Told::Lost(reason),
            Change::Waiting(wait) => Told::Waiting(wait),
            Change::Ended(reason) => Told::Ended(reason),
        });
    }

    fn resubscribe(&mut self, link: &mut Link<'_>) {
        link.send(ws::Message::Text(&self.next.to_string()));
    }

    fn message(&mut self, message: ws::Message<'_>, link: &mut Link<'_>) {
        let ws::Message::Text(text) = message else { panic!("{message:?}") };
        let _ = self.to.send(Told::Acknowledged(text.parse().unwrap()));
        self.next += 1;
        link.send(ws::Message::Text(&self.next.to_string()));
    }
}

fn serve(port: u16) -> Program {
    let mut command = evenkeel();
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--log-level", "off"]);
    command.envs([("EVENKEEL_METRICS_ENABLE", "false"), ("EVENKEEL_LOG_ACCESS", "off")]);
    Program::start(&mut command)
}

/// What is told, up to the first that fits.
fn until(from: &Receiver<Told>, all: &mut Vec<Told>, mut fits: impl FnMut(&Told) -> bool) {
    loop {
        all.push(from.recv_timeout(PATIENCE).unwrap());
        if all.last().is_some_and(&mut fits) {
            return;
        }
    }
}

#[test]
fn a_server_killed_twenty_times_costs_no_acknowledged_message_and_every_change_is_told() {
    let mut server = serve(0);
    let at = server.at;
    let (to, from) = channel();
    let mut options = Options::new(Target::Tcp(at), "a", "/echo");
    options.retry = RETRY;
    let mut told = Vec::new();
    std::thread::scope(|scope| {
        let (started, handle) = channel();
        scope.spawn(move || {
            let client = Client::new(options, Box::new(Counting { next: 0, to })).unwrap();
            let hub = ws::Hub::new(0, 1, ws::RoomLimits::default());
            let mut reactor = Reactor::new(Dialler(hub), OsNet::new().unwrap(), Settings::default());
            assert!(reactor.with_app(|_, cx| cx.spawn(Dialling(client))).is_ok());
            started.send(reactor.handle()).unwrap();
            reactor.run().unwrap();
        });
        let handle = handle.recv().unwrap();
        for round in 0..20 {
            let mut left = 20 + round;
            until(&from, &mut told, |told| {
                left -= usize::from(matches!(told, Told::Acknowledged(_)));
                left == 0
            });
            drop(server);
            // Some find it back at once, some after attempts in vain.
            let mut lost = 1 + round % 4;
            until(&from, &mut told, |told| {
                lost -= usize::from(matches!(told, Told::Lost(_)));
                lost == 0
            });
            server = serve(at.port());
        }
        until(&from, &mut told, |told| matches!(told, Told::Acknowledged(_)));
        handle.post(()).unwrap();
        until(&from, &mut told, |told| matches!(told, Told::Ended(_)));
        handle.stop();
    });
    judge(&told);
}

fn judge(told: &[Told]) {
    let numbers: Vec<usize> = told
        .iter()
        .filter_map(|told| if let Told::Acknowledged(n) = told { Some(*n) } else { None })
        .collect();
    assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "none lost, none twice, in order");
    let changes: Vec<&Told> = told.iter().filter(|told| !matches!(told, Told::Acknowledged(_))).collect();
    let mut tried = 0;
    for pair in changes.windows(2) {
        match pair {
            [Told::Connecting, Told::Open | Told::Lost(_)] | [Told::Open, Told::Lost(_) | Told::Closing] => {}
            [Told::Lost(_), Told::Waiting(wait)] => {
                let most = RETRY.first.saturating_mul(1 << tried.min(20)).min(RETRY.longest);
                assert!((most / 2..=most).contains(wait), "attempt {tried}: {wait:?}");
                tried += 1;
            }
            [Told::Waiting(_), Told::Connecting] | [Told::Closing, Told::Ended(Reason::Kicked)] => {}
            other => panic!("{other:?}"),
        }
    }
    let count = |kind: fn(&Told) -> bool| changes.iter().filter(|told| kind(told)).count();
    assert_eq!(count(|told| *told == Told::Open), 21);
    assert!(count(|told| matches!(told, Told::Lost(_))) >= 50);
    assert_eq!(changes.last(), Some(&&Told::Ended(Reason::Kicked)));
}
