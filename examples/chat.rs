//! HTTP and WebSocket in a program of one's own: a page, and rooms in which people have names. `cargo run --example chat`, then open
//! http://ADDRESS/ in two windows. Build it with `--no-default-features --features http,ws`.
//!
//! What a program owes the machines that it puts together stands at each place: the words of both in one note, the change from one
//! to the other, what is flushed in each turn, and who is told of an end.

use evenkeel::http::{self, BodyPolicy, Outcome, Reply, Request, Responder, Site};
use evenkeel::observe::Reason;
use evenkeel::reactor::*;
use evenkeel::wire::http::Version;
use evenkeel::ws::{self, Hub, Kind, Message, RoomLimits, RouteId};
use std::collections::HashMap;
use std::sync::Arc;

const PAGE: &str = "<!doctype html><title>Chat</title><form><input autofocus></form><pre></pre><script>
const ws = new WebSocket(`ws://${location.host}/chat/lobby`), [input] = document.querySelector('form');
ws.onmessage = said => document.querySelector('pre').append(said.data + '\\n');
document.querySelector('form').onsubmit = () => { ws.send(input.value); input.value = ''; return false };
</script>";

// ---- what is said in a room

/// The first message of each is the name; `/who` tells how many are there; all else is said to everybody.
#[derive(Default)]
struct Chat {
    people: HashMap<Token, Person>,
}

struct Person {
    room: String,
    name: Option<String>,
}

impl ws::Handler for Chat {
    fn open(&mut self, peer: &mut ws::Peer<'_>, room: Option<&str>, _: Option<&str>) {
        let room = room.unwrap_or("lobby").to_owned();
        match peer.join(&room) {
            Ok(()) => peer.send(Message::Text("What is your name?")),
            Err(_) => peer.close(evenkeel::wire::ws::Code::TRY_LATER, "no room"),
        }
        self.people.insert(peer.token(), Person { room, name: None });
    }

    fn message(&mut self, message: Message<'_>, peer: &mut ws::Peer<'_>) {
        let Some(person) = self.people.get_mut(&peer.token()) else { return };
        let Message::Text(text) = message else { return peer.send(Message::Text("Text only, please.")) };
        let said = match &person.name {
            None => format!("{} comes in", person.name.insert(text.chars().take(40).collect())),
            Some(_) if text == "/who" => {
                let here = format!("{} are here", peer.presence(&person.room));
                return peer.send(Message::Text(&here));
            }
            Some(name) => format!("{name}: {text}"),
        };
        peer.send(Message::Text(&said));
        // The first of each message is taken, however much is on its way.
        let _ = peer.publish(&person.room, Message::Text(&said));
    }

    fn close(&mut self, token: Token, _: Reason) {
        self.people.remove(&token);
    }
}

/// The route of the handshake: HTTP answers 101, and hands on what was agreed.
struct Door {
    route: RouteId,
    options: ws::Options,
}

impl http::Handler for Door {
    fn handle(&mut self, request: &Request<'_>, reply: Responder<'_>) -> Reply {
        let room = String::from_utf8_lossy(request.param("room").unwrap_or(b"lobby"));
        let terms = ws::Terms {
            method: request.method().as_str().as_bytes(),
            http_1_1: request.version() == Version::Http11,
            route: self.route,
            options: &self.options,
            room: Some(&room),
        };
        match ws::accept(terms, request.head().fields.iter()) {
            Ok(accepted) => reply.upgrade(|out| out.extend(&accepted.fields), Box::new(accepted.setup)),
            Err(error) => {
                let answer = reply.start(error.status());
                let answer =
                    error.fields().iter().fold(answer, |answer, (name, value)| answer.text(name, value));
                answer.body(error.reason().as_bytes())
            }
        }
    }

    fn body(&self) -> BodyPolicy {
        BodyPolicy::Discard
    }

    fn upgrades(&self) -> bool {
        true
    }
}

// ---- the two machines in one program

struct Program {
    site: Site,
    hub: Hub,
}

/// What a connection speaks.
enum Talk {
    Http(http::Connection),
    Ws(ws::Connection),
}

/// Words to a connection, of either machine.
enum Note {
    Late(http::Late),
    Ws(ws::Note),
}

impl Note {
    fn late(self) -> Option<http::Late> {
        if let Note::Late(late) = self { Some(late) } else { None }
    }

    fn ws(self) -> Option<ws::Note> {
        if let Note::Ws(note) = self { Some(note) } else { None }
    }
}

impl From<ws::Note> for Note {
    fn from(note: ws::Note) -> Note {
        Note::Ws(note)
    }
}

impl http::Service for Program {
    fn site(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl ws::Service for Program {
    fn ws(&mut self) -> &mut Hub {
        &mut self.hub
    }
}

impl App for Program {
    type Session = Talk;
    type Note = Note;
    type Message = http::Late;
    type Reason = Reason;

    fn admit(&mut self, _: ListenerId, _: &Peer, _: &mut AppCx<'_, Program>) -> Admit<Talk> {
        Admit::Serve(Talk::Http(http::Connection::new(false)))
    }

    fn on_message(&mut self, late: http::Late, cx: &mut AppCx<'_, Program>) {
        cx.notify(late.to, Note::Late(late));
    }

    fn on_close(&mut self, talk: Talk, end: End<Reason>, cx: &mut AppCx<'_, Program>) {
        match talk {
            Talk::Http(connection) => connection.ended(&end, cx.now(), self),
            Talk::Ws(connection) => connection.on_close(&end, self),
        }
    }

    fn on_turn(&mut self, cx: &mut AppCx<'_, Program>) {
        // What was said in this turn goes out.
        self.hub.flush(cx);
    }
}

impl Talk {
    /// Does what HTTP wants; after a handshake WebSocket takes its place.
    fn after(&mut self, outcome: Outcome, app: &mut Program, cx: &mut Cx<'_, Program>) -> Step<Reason> {
        let setup = match outcome {
            Outcome::Step(step) => return step,
            Outcome::Upgrade(setup) => setup.downcast::<ws::Setup>(),
        };
        let Ok(setup) = setup else { return Step::Close(Close::Abort, Reason::Internal) };
        let (mut connection, step) = ws::Connection::begin(&setup, app, cx);
        // What came behind the handshake is shown to it, and a drain that was told before it stood is told now.
        cx.show_again();
        let step = match step {
            Step::Continue if cx.draining() => connection.on_event(Event::Drain, app, cx),
            step => step,
        };
        *self = Talk::Ws(connection);
        step
    }
}

impl Session for Talk {
    type App = Program;

    fn on_data(
        &mut self,
        input: &mut Input<'_>,
        app: &mut Program,
        cx: &mut Cx<'_, Program>,
    ) -> Step<Reason> {
        match self {
            Talk::Ws(connection) => connection.on_data(input, app, cx),
            Talk::Http(connection) => {
                let outcome = connection.on_data(input, app, cx);
                self.after(outcome, app, cx)
            }
        }
    }

    fn on_event(&mut self, event: Event<Note>, app: &mut Program, cx: &mut Cx<'_, Program>) -> Step<Reason> {
        // A note for what the connection spoke before is dropped.
        match self {
            Talk::Ws(connection) => match event.map_note(Note::ws) {
                Some(event) => connection.on_event(event, app, cx),
                None => Step::Continue,
            },
            Talk::Http(connection) => match event.map_note(Note::late) {
                Some(event) => {
                    let outcome = connection.on_event(event, app, cx);
                    self.after(outcome, app, cx)
                }
                None => Step::Continue,
            },
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut hub = Hub::new(0, 1, RoomLimits::default());
    let options = ws::Options::default();
    let route = hub.add(options.clone(), Kind::Custom(Box::<Chat>::default()));
    let mut site = Site::default();
    site.on("GET", "/", |_, reply| reply.start(200).text("Content-Type", "text/html").body(PAGE.as_bytes()))?;
    site.route(None, &["GET"], "/chat/{room}", None, Box::new(Door { route, options }))?;

    let mut reactor = Reactor::new(Program { site, hub }, OsNet::new()?, Settings::default());
    let handle = reactor.handle();
    // Answers that come late, from other threads, come in by the mailbox.
    reactor.app_mut().site.set_post(Arc::new(move |late| handle.post(late)));
    let listener = OsListener::tcp("127.0.0.1:0".parse()?)?;
    println!("{}", listener.tcp_addr().ok_or("no address")?);
    reactor.add_listener(listener)?;
    Ok(reactor.run()?)
}
