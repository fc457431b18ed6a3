//! What a program says and hears on a WebSocket.

use super::hub::Shared;
use super::rooms::{JoinError, Seat};
use super::talk::Sender;

use crate::guard::Refused;
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{Host, Peer as Address, Token};
use crate::wire::ws::{Code, Deflater, Opcode};

/// Most rooms that one connection can be in.
const MOST_ROOMS: usize = 64;

/// A message, lent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Message<'a> {
    /// Text, which is UTF-8.
    Text(&'a str),
    /// Any bytes.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }

    pub(super) fn parts(self) -> (Opcode, &'a [u8]) {
        match self {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, bytes),
        }
    }

    /// A copy to keep.
    pub fn to_owned(self) -> Owned {
        match self {
            Message::Text(text) => Owned::Text(text.into()),
            Message::Binary(bytes) => Owned::Binary(bytes.into()),
        }
    }
}

/// A message, kept.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Owned {
    /// Text.
    Text(Box<str>),
    /// Any bytes.
    Binary(Box<[u8]>),
}

impl Owned {
    /// It, lent.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Owned::Text(text) => Message::Text(text),
            Owned::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// A program behind a route. One value per worker and route: what it keeps for a connection it keeps under its token.
///
/// A call that panics ends its connection alone, with 1011 and [`Reason::HandlerFailed`]. What it had sent to this peer is taken back;
/// what it had said to others stands. Of this connection nothing more is told but its end, so that what is kept for it can go.
pub trait Handler {
    /// A connection stands. `room` and `protocol` are what the handshake gave it.
    fn open(&mut self, peer: &mut Peer<'_>, room: Option<&str>, protocol: Option<&str>) {
        let _ = (peer, room, protocol);
    }
    /// A message has come.
    fn message(&mut self, message: Message<'_>, peer: &mut Peer<'_>);
    /// There is room again, after [`Peer::waiting`] had been above high water (256 KiB by default).
    fn writable(&mut self, peer: &mut Peer<'_>) {
        let _ = peer;
    }
    /// The connection has ended, for this reason; told once, also after a call that panicked. It is in no room any more.
    fn close(&mut self, token: Token, reason: Reason) {
        let _ = (token, reason);
    }
}

/// What a connection has beyond the usual.
#[derive(Default)]
pub(super) struct Extra {
    /// With context takeover: its deflater.
    pub own: Option<Box<Deflater>>,
    /// Rooms besides the first.
    pub seats: Vec<Seat>,
    /// Messages that may come at once, and when that was so.
    pub allowance: Option<(i64, crate::reactor::Millis)>,
}

/// A connection, as its handler sees it.
pub struct Peer<'a> {
    pub(super) token: Token,
    pub(super) address: Address,
    pub(super) backlog: usize,
    pub(super) open: bool,
    pub(super) sender: Sender,
    pub(super) cork: &'a mut Cork,
    pub(super) host: &'a mut dyn Host,
    pub(super) seat: &'a mut Seat,
    pub(super) extra: &'a mut Option<Box<Extra>>,
    pub(super) shared: &'a mut Shared,
    pub(super) wish: Option<(Code, Box<str>)>,
}

impl Peer<'_> {
    /// Its name.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Sends a message. Look at [`waiting`](Self::waiting) before sending much unasked: 4 MiB end the connection. Nothing is
    /// sent after [`close`](Self::close).
    pub fn send(&mut self, message: Message<'_>) {
        if self.open && self.wish.is_none() {
            let mut none = None;
            let own = match self.sender.takes_over() {
                true => &mut self.extra.get_or_insert_default().own,
                false => &mut none,
            };
            self.sender.message(message, own, &mut self.shared.codecs, self.host, self.cork);
            self.shared.counters.messages_out += 1;
            self.shared.counters.bytes_out += message.bytes().len() as u64;
        }
    }

    /// Bytes that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.backlog + self.cork.memory()
    }

    /// Begins the closing handshake. `reason` is cut to 123 bytes.
    pub fn close(&mut self, code: Code, reason: &str) {
        if self.wish.is_none() {
            self.wish = Some((code, reason.into()));
        }
    }

    /// Enters a room: from now on its messages come here. Entering twice is entering once.
    ///
    /// # Errors
    /// [`JoinError`]. In a room whose home is another worker the home may still refuse, and closes the connection with 1013.
    pub fn join(&mut self, room: &str) -> Result<(), JoinError> {
        if self.seats().any(|seat| self.shared.rooms.is_called(seat, room)) {
            return Ok(());
        }
        if self.seats().count() >= MOST_ROOMS {
            return Err(JoinError::TooMany);
        }
        let seat = self.shared.rooms.join(self.token, room)?;
        match self.seat.is_none() {
            true => *self.seat = seat,
            false => self.extra.get_or_insert_default().seats.push(seat),
        }
        Ok(())
    }

    /// Leaves a room; false if it was not in it.
    pub fn leave(&mut self, room: &str) -> bool {
        if self.shared.rooms.is_called(*self.seat, room) {
            self.shared.rooms.leave(std::mem::replace(self.seat, Seat::NONE));
            return true;
        }
        let Some(extra) = self.extra else { return false };
        let at = extra.seats.iter().position(|seat| self.shared.rooms.is_called(*seat, room));
        at.map(|at| self.shared.rooms.leave(extra.seats.swap_remove(at))).is_some()
    }

    /// Says something to all others in a room; one need not be in it. It leaves at the end of this turn. In a room that nobody is
    /// in it is lost.
    ///
    /// # Errors
    /// [`Refused`] once [`RoomLimits::gathered`](super::RoomLimits::gathered) bytes were gathered in this turn, or four times as
    /// many are in flight: nothing was kept, and it was counted. One message may go over the bound; no peer's message is heard while it is
    /// reached, so the first `publish` of each [`Handler::message`] is taken.
    pub fn publish(&mut self, room: &str, message: Message<'_>) -> Result<(), Refused> {
        self.shared.rooms.publish(Some(self.token), room, message)
    }

    /// Says something to one connection of this worker, after this call. To a stale token it vanishes. Until the end of the turn it
    /// counts as gathered.
    pub fn send_to(&mut self, token: Token, message: Message<'_>) {
        self.shared.send(token, message);
    }

    /// Closes a connection of this worker, after this call.
    pub fn kick(&mut self, token: Token, code: Code, reason: &str) {
        self.shared.post.push((token, super::Note::Close(code, reason.into())));
    }

    /// How many are in a room, on all workers, as far as this worker was told.
    pub fn presence(&self, room: &str) -> usize {
        self.shared.rooms.presence(room)
    }

    /// Who is in a room, on this worker.
    pub fn members(&self, room: &str) -> impl Iterator<Item = Token> + '_ {
        self.shared.rooms.members(room)
    }

    /// Randomness, the calendar, files.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }

    fn seats(&self) -> impl Iterator<Item = Seat> + '_ {
        let more = self.extra.iter().flat_map(|extra| extra.seats.iter().copied());
        std::iter::once(*self.seat).chain(more).filter(|seat| !seat.is_none())
    }
}
