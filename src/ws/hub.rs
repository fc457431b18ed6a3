//! What the WebSocket connections of one worker share: routes with their handlers, rooms, codecs, words on their way.

use super::handler::{Handler, Message, Owned};
use super::pace::{Pace, Rules};
use super::rooms::{Remote, RoomLimits, Rooms};
use super::talk::Codecs;
use crate::guard::{Batch, Bounds, Refused, Slow};
use crate::observe::Reason;
use crate::reactor::{App, AppCx, Token};
use crate::wire::ws::{Code, Desk, Limits, Policy};
use std::sync::Arc;

/// What WebSocket needs of the program that it runs in.
pub trait Service: App<Reason = Reason, Note: From<Note>> {
    /// The worker's hub.
    fn ws(&mut self) -> &mut Hub;
}

/// Words to a connection, or to a client.
#[derive(Clone, Debug)]
pub enum Note {
    /// What was said in a room.
    Batch(Arc<Batch>),
    /// Send this message.
    Send(Owned),
    /// Begin the closing handshake: [`Reason::Kicked`].
    Close(Code, Box<str>),
}

/// The limits and times by which a route's connections live, and the terms on which they begin.
#[derive(Clone, Debug)]
pub struct Options {
    /// Times.
    pub pace: Pace,
    /// Sizes of frames and messages. Default 1 MiB a message.
    pub limits: Limits,
    /// What happens to a member who reads too slowly. Default: closed.
    pub slow: Slow,
    /// What may wait for one member, besides what came in a burst, within 100 ms of when it first could not take all.
    pub bounds: Bounds,
    /// Messages a second that one connection may send, and that many at once; over it nothing more is read for a while, at most 10 s.
    /// 0: any number. Default 0.
    pub message_rate: u32,
    /// On which terms permessage-deflate is agreed to; `None`: never. Default: no takeover, 15 bits.
    pub deflate: Option<Policy>,
    /// Origins that may connect, as browsers write them; empty: any. Default empty.
    pub origins: Vec<Box<str>>,
    /// Subprotocols that are spoken. Default none.
    pub protocols: Vec<Box<str>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            pace: Pace::default(),
            limits: Limits { frame: 1 << 20, message: 1 << 20, ..Limits::default() },
            slow: Slow::Close,
            bounds: Bounds::default(),
            message_rate: 0,
            deflate: Some(Policy::default()),
            origins: Vec::new(),
            protocols: Vec::new(),
        }
    }
}

/// Who hears what is said on a route.
pub enum Kind {
    /// The sender.
    Echo,
    /// All others in the room that the handshake named.
    Room,
    /// This decides.
    Custom(Box<dyn Handler>),
}

/// Which route of a hub: the order of [`Hub::add`], the same on every worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RouteId(pub u16);

/// Plain counts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Connections opened.
    pub opened: u64,
    /// Messages that came.
    pub messages_in: u64,
    /// Messages sent to one connection, and those handed to each member of a room, what it sent itself included.
    pub messages_out: u64,
    /// Bytes of messages that came, inflated.
    pub bytes_in: u64,
    /// Bytes of messages sent to one connection, before they were deflated, and of frames handed to members of rooms.
    pub bytes_out: u64,
    /// Messages that slow members lost, by [`Slow`].
    pub lost: [u64; 4],
    /// Members closed because they were slow.
    pub too_slow: u64,
    /// Times that a connection was held back because it sent too many messages.
    pub throttled: u64,
    /// Joins refused.
    pub refused: u64,
    /// Times that a speaker had to wait because too much was on its way to members of rooms.
    pub waits: u64,
    /// Messages that a program published and that were refused because too much was on its way.
    pub publish_refused: u64,
}

pub(super) struct Route {
    pub options: Options,
    /// What of them a call runs under.
    pub rules: Rules,
    pub kind: Kind,
}

/// What all routes share.
pub(super) struct Shared {
    pub rooms: Rooms,
    pub codecs: Codecs,
    pub post: Vec<(Token, Note)>,
    pub counters: Counters,
}

impl Shared {
    /// Says something to one connection. It is never refused; but speakers wait when it is too much, as for rooms.
    pub fn send(&mut self, token: Token, message: Message<'_>) {
        self.rooms.gate_mut().take(size_of::<(Token, Note)>() + message.bytes().len());
        self.post.push((token, Note::Send(message.to_owned())));
    }
}

/// See the module page.
pub struct Hub {
    pub(super) routes: Vec<Route>,
    pub(super) desk: Desk,
    pub(super) shared: Shared,
}

impl Hub {
    /// The hub of worker number `worker` (from 0) of `workers`.
    pub fn new(worker: u16, workers: u16, limits: RoomLimits) -> Hub {
        let shared = Shared {
            rooms: Rooms::new(worker, workers, limits),
            codecs: Codecs::new(),
            post: Vec::new(),
            counters: Counters::default(),
        };
        Hub { routes: Vec::new(), desk: Desk::new(), shared }
    }

    /// Adds a route. Every worker adds the same ones in the same order.
    pub fn add(&mut self, options: Options, kind: Kind) -> RouteId {
        let rules = Rules { pace: options.pace, limits: options.limits };
        self.routes.push(Route { options, rules, kind });
        RouteId((self.routes.len() - 1) as u16)
    }

    /// What a route was added with.
    pub fn options(&self, route: RouteId) -> Option<&Options> {
        self.routes.get(route.0 as usize).map(|route| &route.options)
    }

    /// The rooms, to look at: who is there, how many, which there are.
    pub fn rooms(&self) -> &Rooms {
        &self.shared.rooms
    }

    /// This worker's number.
    pub fn worker(&self) -> u16 {
        self.shared.rooms.worker()
    }

    /// Plain counts.
    pub fn counters(&self) -> Counters {
        let gate = self.shared.rooms.gate();
        Counters { waits: gate.waits(), publish_refused: gate.refused(), ..self.shared.counters }
    }

    /// Says something to all in a room, on every worker. It goes out with the next [`flush`](Self::flush). In a room that nobody
    /// is in it is lost.
    ///
    /// # Errors
    /// [`Refused`] once [`RoomLimits::gathered`] bytes were gathered in this turn, or four times as many are in flight: nothing was
    /// kept, and [`Counters::publish_refused`] has counted it. One message may go over the bound.
    pub fn publish(&mut self, room: &str, message: Message<'_>) -> Result<(), Refused> {
        self.shared.rooms.publish(None, room, message)
    }

    /// Says something to one connection of this worker. It goes out with the next [`flush`](Self::flush), and counts as gathered
    /// until then.
    pub fn send(&mut self, token: Token, message: Message<'_>) {
        self.shared.send(token, message);
    }

    /// Closes a connection of this worker, with the closing handshake: [`Reason::Kicked`].
    pub fn kick(&mut self, token: Token, code: Code, reason: &str) {
        self.shared.post.push((token, Note::Close(code, reason.into())));
    }

    /// Sends on what was said in this turn. The program calls it in [`App::on_turn`]; nothing is left to do if nothing was said.
    pub fn flush<A: Service>(&mut self, cx: &mut AppCx<'_, A>) {
        for (token, note) in self.shared.post.drain(..) {
            cx.notify(token, note.into());
        }
        self.shared.rooms.flush(cx);
    }

    /// Bytes that are on their way to members of rooms, and what messages are put together in.
    pub fn held(&self) -> usize {
        self.shared.rooms.held() + self.desk.held() + self.shared.codecs.held()
    }

    /// Gives back what is kept for messages to come: for when memory runs short, between turns.
    pub fn let_go(&mut self) {
        self.desk.clear();
        self.shared.codecs = Codecs::new();
        self.shared.rooms.let_go();
    }

    /// Another bound for what is gathered in one turn: [`RoomLimits::gathered`].
    pub fn set_gathered(&mut self, bytes: usize) {
        self.shared.rooms.gate_mut().set_most(bytes);
    }

    /// What other workers must be told: post each list to its worker as one message, in this order, after
    /// [`flush`](Self::flush). Empty with one worker.
    pub fn take_outgoing(&mut self) -> Vec<(u16, Vec<Remote>)> {
        self.shared.rooms.take_outgoing()
    }

    /// Worker `from` has sent this. What was said goes out with the next [`flush`](Self::flush).
    pub fn on_remote<A: Service>(&mut self, from: u16, words: Vec<Remote>, cx: &mut AppCx<'_, A>) {
        self.shared.rooms.on_remote(from, words, cx);
    }
}
