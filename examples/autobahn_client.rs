//! The client of `ws::client` under a fuzzing server such as Autobahn's: it asks how many cases there are, runs each as an echo,
//! and has the report written. Build it with `--no-default-features --features ws`.
//!
//! usage: `autobahn_client 127.0.0.1:9001 [first [last [takeover]]]`; with the last word its deflater keeps its window from message
//! to message where the server lets it, and the cases that want it not to (13.2, 13.5, 13.6) are not run.

use evenkeel::observe::Reason;
use evenkeel::reactor::*;
use evenkeel::wire::ws::extension::DeflateOffer;
use evenkeel::wire::ws::{Code, Limits};
use evenkeel::ws::client::{Change, Client, Handler, Link, Options};
use evenkeel::ws::{Hub, Message, Note, RoomLimits, Service};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};

/// One connection after the other: the next begins when the last has ended.
struct Suite {
    hub: Hub,
    server: SocketAddr,
    /// The number of cases, once the server has told it.
    count: Receiver<usize>,
    tell: Sender<usize>,
    next: usize,
    last: usize,
    takeover: bool,
    reported: bool,
}

impl Suite {
    fn dial(&self, path: &str) -> Result<Asking, Box<dyn std::error::Error>> {
        let mut options = Options::new(Target::Tcp(self.server), &self.server.to_string(), path);
        // The suite's longest message is of 16 MiB.
        options.limits = Limits { frame: 32 << 20, message: 32 << 20, ..Limits::default() };
        options.deflate = Some(DeflateOffer {
            client_no_takeover: !self.takeover,
            client_bits: Some(None),
            ..DeflateOffer::default()
        });
        let handler = Echo { counts: path == "/getCaseCount", tell: self.tell.clone() };
        let client = Client::new(options, Box::new(handler)).map_err(|_| "the path is no path")?;
        Ok(Asking(client))
    }

    /// The next path to ask for, if there is one.
    fn path(&mut self) -> Option<String> {
        if let Ok(count) = self.count.try_recv() {
            self.last = self.last.min(count);
        }
        if self.next <= self.last {
            self.next += 1;
            return Some(format!("/runCase?case={}&agent=evenkeel", self.next - 1));
        }
        (!std::mem::replace(&mut self.reported, true)).then(|| "/updateReports?agent=evenkeel".into())
    }
}

/// Says back what it hears; a connection that is lost is not made again.
struct Echo {
    counts: bool,
    tell: Sender<usize>,
}

impl Handler for Echo {
    fn change(&mut self, change: Change<'_>, link: &mut Link<'_>) {
        match change {
            Change::Lost(_) => link.close(Code::NORMAL, ""),
            Change::Connecting
            | Change::Open(_)
            | Change::Closing(_)
            | Change::Waiting(_)
            | Change::Ended(_) => {}
        }
    }

    fn message(&mut self, message: Message<'_>, link: &mut Link<'_>) {
        match message {
            Message::Text(text) if self.counts => {
                // The suite holds the receiver.
                let _ = self.tell.send(text.trim().parse().unwrap_or(0));
            }
            Message::Text(_) | Message::Binary(_) => {
                link.send(message);
            }
        }
    }
}

struct Asking(Client);

impl Service for Suite {
    fn ws(&mut self) -> &mut Hub {
        &mut self.hub
    }
}

impl App for Suite {
    type Session = Asking;
    type Note = Note;
    type Message = ();
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Suite>) -> Admit<Asking> {
        Admit::Refuse(CloseHow::Normal)
    }
    fn on_message(&mut self, (): (), _: &mut AppCx<'_, Suite>) {}
    fn on_close(&mut self, Asking(client): Asking, end: End<Reason>, cx: &mut AppCx<'_, Suite>) {
        client.on_close(end.reason, end.token, self, cx.host());
        if let Some(Ok(next)) = self.path().map(|path| self.dial(&path))
            && cx.spawn(next).is_ok()
        {
            return;
        }
        cx.handle().stop();
    }
}

impl Session for Asking {
    type App = Suite;

    fn on_data(&mut self, input: &mut Input<'_>, app: &mut Suite, cx: &mut Cx<'_, Suite>) -> Step<Reason> {
        self.0.on_data(input, app, cx)
    }
    fn on_event(&mut self, event: Event<Note>, app: &mut Suite, cx: &mut Cx<'_, Suite>) -> Step<Reason> {
        self.0.on_event(event, app, cx)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let server = words.first().ok_or("usage: autobahn_client HOST:PORT [first [last]]")?.parse()?;
    let number = |at: usize, default| words.get(at).map_or(Ok(default), |word| word.parse());
    let (tell, count) = channel();
    let hub = Hub::new(0, 1, RoomLimits::default());
    let (next, last) = (number(1, 1)?, number(2, usize::MAX)?);
    let takeover = words.get(3).is_some_and(|word| word == "takeover");
    let suite = Suite { hub, server, count, tell, next, last, takeover, reported: false };
    let first = suite.dial("/getCaseCount")?;
    // A message that is sent is held as a whole until the server takes it.
    let settings = Settings { hard_cap: 64 << 20, ..Settings::default() };
    let mut reactor = Reactor::new(suite, OsNet::new()?, settings);
    reactor.with_app(|_, cx| cx.spawn(first)).map_err(|_| "no room for a connection")?;
    reactor.run()?;
    println!("{} cases asked for", reactor.app().next - 1);
    Ok(())
}
