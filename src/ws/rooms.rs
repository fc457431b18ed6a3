//! Who is in which room, and what is on its way to them, on every worker.
//!
//! A room has a *home* worker, told by its name ([`home`]). Whatever is said in it goes there first, in batches of one turn, and
//! comes back in batches: so all members see one order, on whichever worker they are.
//!
//! 1. What is said in a turn is gathered, encoded once, and goes to each member as one note: nothing else is done for each member.
//!    So does what comes from the home in a turn, however many batches that are.
//! 2. Words between two workers stay in order, and none may be lost: what [`Hub::take_outgoing`](super::Hub::take_outgoing) gives is
//!    posted list by list; a list that a full mailbox gave back is posted again before the next.
//! 3. A room exists as long as somebody is in it, or something is on its way to it. At home it counts the members of all workers.
//! 4. Joining, leaving and publishing cost the same however large the room is.
//! 5. What is gathered in one turn, and what is in flight, is bounded by a [`Gate`]: over it a speaker waits for a later turn, and
//!    what a program publishes is refused. What another worker has sent on its way counts there until it has reached everybody.

use super::handler::Message;
use super::hub::{Note, Service};
use crate::guard::{Arrivals, Batch, Flights, Gate, Gather, Member, Refused, Spares};
use crate::reactor::{AppCx, Token};
use crate::wire::ws::Code;
use crate::wire::ws::frame::{self, Header};
use slab::Slab;
use std::collections::HashMap;
use std::sync::Arc;

/// The longest name of a room, in bytes.
const LONGEST_NAME: usize = 512;

/// How many rooms and members there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RoomLimits {
    /// Rooms known to one worker. Default 100,000.
    pub rooms: usize,
    /// Members of one room, on all workers. Default 100,000.
    pub members: usize,
    /// What is gathered in one turn for all rooms together, in bytes, before speakers wait for the next and programs are refused;
    /// of what is in flight four times as much. Default 4 MiB.
    pub gathered: usize,
}

impl Default for RoomLimits {
    fn default() -> RoomLimits {
        RoomLimits { rooms: 100_000, members: 100_000, gathered: Gate::MOST }
    }
}

/// Why a room cannot be entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JoinError {
    /// It has as many members as a room may have.
    Full,
    /// There are as many rooms as there may be, or this connection is in as many as it may be.
    TooMany,
    /// The name is empty, or longer than 512 bytes.
    Name,
}

/// The worker at which a room is at home: the same on every worker (FNV-1a of the name, mixed as MurmurHash3 ends). 0 if there are no
/// workers.
#[must_use]
pub fn home(room: &str, workers: usize) -> usize {
    let hash = room.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // The last bytes of a name have hardly reached the high bits, and the low ones of rooms 1, 2, 3 have a pattern.
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    ((hash >> 32) as usize).checked_rem(workers).unwrap_or(0)
}

/// There can be a room of this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME
}

/// Words from one worker to another.
#[derive(Clone, Debug)]
pub enum Remote {
    /// To the home: this connection has entered.
    Joined(Arc<str>, Token),
    /// To the home: one has left.
    Left(Arc<str>),
    /// To the home: this was said.
    Publish(Arc<str>, Arc<Batch>),
    /// From the home: this was said, by whomever.
    Deliver(Arc<str>, Arc<Batch>),
    /// From the home: so many are in the room, on all workers.
    Presence(Arc<str>, u32),
    /// From the home: the room is full; this connection cannot stay.
    Full(Arc<str>, Token),
}

/// A place in a room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Seat {
    room: u32,
    slot: u32,
}

impl Seat {
    pub const NONE: Seat = Seat { room: u32::MAX, slot: 0 };

    pub fn is_none(self) -> bool {
        self == Seat::NONE
    }
}

struct Room {
    name: Arc<str>,
    home: u16,
    seats: Slab<Token>,
    /// Lent while there is something in it.
    gather: Gather,
    /// Away from home: what has come from there in this turn.
    arrived: Arrivals,
    /// At home: how many members each worker has, this one left out. Empty elsewhere.
    away: Vec<u32>,
    /// Members on all workers; away from home as far as the home has told.
    total: u32,
    /// It stands in the list of rooms that have something to send.
    listed: bool,
    /// Its number of members has changed and is to be told.
    recount: bool,
}

/// The rooms as one worker knows them.
pub struct Rooms {
    worker: u16,
    workers: u16,
    limits: RoomLimits,
    names: HashMap<Arc<str>, u32>,
    rooms: Slab<Room>,
    listed: Vec<u32>,
    gate: Gate,
    spares: Spares,
    /// What has come from the homes of rooms and is on its way to members here. It bounds nobody here: the homes count it.
    landing: Flights,
    outgoing: Vec<Vec<Remote>>,
    published: u64,
    delivered: u64,
}

impl Rooms {
    pub(super) fn new(worker: u16, workers: u16, limits: RoomLimits) -> Rooms {
        Rooms {
            worker,
            workers: workers.max(1),
            limits,
            names: HashMap::new(),
            rooms: Slab::new(),
            listed: Vec::new(),
            gate: Gate::new(limits.gathered),
            spares: Spares::default(),
            landing: Flights::default(),
            outgoing: vec![Vec::new(); workers.max(1).into()],
            published: 0,
            delivered: 0,
        }
    }

    /// How many rooms this worker knows.
    pub fn count(&self) -> usize {
        self.rooms.len()
    }

    /// How many rooms with members are at home on this worker: over all workers, each room once.
    pub fn at_home(&self) -> usize {
        self.rooms.iter().filter(|(_, room)| room.home == self.worker && room.total > 0).count()
    }

    /// How many places are taken on this worker, in all rooms.
    pub fn seated(&self) -> usize {
        self.rooms.iter().map(|(_, room)| room.seats.len()).sum()
    }

    /// The names of the rooms that this worker knows.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rooms.iter().map(|(_, room)| &*room.name)
    }

    /// Who is in a room, on this worker.
    pub fn members(&self, room: &str) -> impl Iterator<Item = Token> + '_ {
        self.find(room).into_iter().flat_map(|room| room.seats.iter().map(|(_, token)| *token))
    }

    /// How many are in a room, on all workers, as far as this worker was told; exact at the room's home.
    pub fn presence(&self, room: &str) -> usize {
        self.find(room).map_or(0, |room| (room.total as usize).max(room.seats.len()))
    }

    /// Messages said in rooms on this worker, and batches handed to members.
    pub fn counts(&self) -> (u64, u64) {
        (self.published, self.delivered)
    }

    pub(super) fn worker(&self) -> u16 {
        self.worker
    }

    /// What bounds that which is on its way to members.
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Bytes that are on their way to members, for what this worker can tell, and what they are put together in.
    pub(super) fn held(&self) -> usize {
        self.gate.held() + self.landing.bytes() + self.spares.held()
    }

    pub(super) fn let_go(&mut self) {
        self.spares = Spares::default();
    }

    pub(super) fn gate_mut(&mut self) -> &mut Gate {
        &mut self.gate
    }

    pub(super) fn is_called(&self, seat: Seat, name: &str) -> bool {
        self.rooms.get(seat.room as usize).is_some_and(|room| &*room.name == name)
    }

    pub(super) fn join(&mut self, token: Token, name: &str) -> Result<Seat, JoinError> {
        if !is_name(name) {
            return Err(JoinError::Name);
        }
        if self.presence(name) >= self.limits.members {
            return Err(JoinError::Full);
        }
        if self.is_crowded(name) {
            return Err(JoinError::TooMany);
        }
        let index = self.enter(name);
        let room = &mut self.rooms[index as usize];
        room.total += 1;
        let slot = room.seats.insert(token) as u32;
        if room.home == self.worker {
            self.recount(index);
        } else {
            self.outgoing[usize::from(room.home)].push(Remote::Joined(room.name.clone(), token));
        }
        Ok(Seat { room: index, slot })
    }

    pub(super) fn leave(&mut self, seat: Seat) {
        let Some(room) = self.rooms.get_mut(seat.room as usize) else { return };
        if room.seats.try_remove(seat.slot as usize).is_none() {
            return;
        }
        room.total = room.total.saturating_sub(1);
        if room.home == self.worker {
            self.recount(seat.room);
        } else {
            self.outgoing[usize::from(room.home)].push(Remote::Left(room.name.clone()));
        }
        self.drop_if_empty(seat.room);
    }

    /// A program says something in a room, by name. In a room that nobody is in, or can be in, it is lost.
    pub(super) fn publish(
        &mut self,
        from: Option<Token>,
        name: &str,
        message: Message<'_>,
    ) -> Result<(), Refused> {
        self.gate.ask()?;
        match self.names.get(name) {
            Some(index) => self.publish_at(*index, from, message),
            // At home nobody is in it. Away from home, others may be.
            None if home(name, self.workers.into()) == usize::from(self.worker) => {}
            None if self.is_crowded(name) || !is_name(name) => {}
            None => {
                let index = self.enter(name);
                // The room is made for this message.
                self.gate.take(size_of::<Room>() + 2 * name.len());
                self.publish_at(index, from, message);
            }
        }
        Ok(())
    }

    /// Says something in the room of this seat.
    pub(super) fn publish_from(&mut self, seat: Seat, from: Token, message: Message<'_>) {
        if self.rooms.contains(seat.room as usize) {
            self.publish_at(seat.room, Some(from), message);
        }
    }

    fn publish_at(&mut self, index: u32, from: Option<Token>, message: Message<'_>) {
        let Some(room) = self.rooms.get_mut(index as usize) else { return };
        let from = from.map(|token| Member { worker: self.worker, token });
        let header = match message {
            Message::Text(text) => Header::text(text.len()),
            Message::Binary(bytes) => Header::binary(bytes.len()),
        };
        if room.gather.is_empty() {
            room.gather = self.spares.lend();
        }
        self.gate.take(room.gather.push(from, |out| frame::emit_frame(&header, message.bytes(), out)));
        self.published += 1;
        self.list(index);
    }

    /// Sends on what was gathered.
    pub(super) fn flush<A: Service>(&mut self, cx: &mut AppCx<'_, A>) {
        self.gate.end_turn();
        self.spares.end_turn(!self.listed.is_empty());
        for index in std::mem::take(&mut self.listed) {
            let Some(room) = self.rooms.get_mut(index as usize) else { continue };
            room.listed = false;
            if std::mem::take(&mut room.recount) {
                for (worker, _) in room.away.iter().enumerate().filter(|(_, count)| **count > 0) {
                    self.outgoing[worker].push(Remote::Presence(room.name.clone(), room.total));
                }
            }
            self.send(index, cx);
            self.land(index, cx);
            self.drop_if_empty(index);
        }
    }

    /// Hands on what has come from the home of a room.
    fn land<A: Service>(&mut self, index: u32, cx: &mut AppCx<'_, A>) {
        let Some(room) = self.rooms.get_mut(index as usize).filter(|room| !room.arrived.is_empty()) else {
            return;
        };
        let (seats, delivered) = (&room.seats, &mut self.delivered);
        let mut gather = self.spares.lend();
        room.arrived.land(self.gate.most(), &self.landing, &mut gather, |batch| {
            *delivered += deliver(seats, batch, cx);
        });
        self.spares.give_back(gather);
    }

    /// Sends on what was gathered in a room.
    fn send<A: Service>(&mut self, index: u32, cx: &mut AppCx<'_, A>) {
        let Some(room) = self.rooms.get_mut(index as usize).filter(|room| !room.gather.is_empty()) else {
            return;
        };
        let mut gather = std::mem::take(&mut room.gather);
        let batch = Arc::new(gather.seal(self.gate.flights()));
        self.spares.give_back(gather);
        if room.home == self.worker {
            self.delivered += deliver(&room.seats, &batch, cx);
            for (worker, _) in room.away.iter().enumerate().filter(|(_, count)| **count > 0) {
                self.outgoing[worker].push(Remote::Deliver(room.name.clone(), batch.clone()));
            }
        } else {
            self.outgoing[usize::from(room.home)].push(Remote::Publish(room.name.clone(), batch));
        }
    }

    pub(super) fn take_outgoing(&mut self) -> Vec<(u16, Vec<Remote>)> {
        let full = self.outgoing.iter_mut().enumerate().filter(|(_, words)| !words.is_empty());
        full.map(|(worker, words)| (worker as u16, std::mem::take(words))).collect()
    }

    pub(super) fn on_remote<A: Service>(&mut self, from: u16, words: Vec<Remote>, cx: &mut AppCx<'_, A>) {
        for word in words {
            match word {
                Remote::Joined(name, token) => self.joined_away(from, &name, token),
                Remote::Left(name) => self.left_away(from, &name),
                Remote::Publish(name, batch) => {
                    if let Some(index) = self.names.get(&name).copied() {
                        if self.rooms[index as usize].gather.len() + batch.len() > self.gate.most() {
                            self.send(index, cx);
                        }
                        let room = &mut self.rooms[index as usize];
                        if room.gather.is_empty() {
                            room.gather = self.spares.lend();
                        }
                        self.gate.take(room.gather.append(&batch));
                        self.list(index);
                    }
                }
                Remote::Deliver(name, batch) => {
                    if let Some(index) = self.names.get(&name).copied() {
                        self.rooms[index as usize].arrived.push(batch);
                        self.list(index);
                    }
                }
                Remote::Presence(name, total) => {
                    if let Some(index) = self.names.get(&name) {
                        self.rooms[*index as usize].total = total;
                    }
                }
                Remote::Full(_, token) => {
                    cx.notify(token, Note::Close(Code::TRY_LATER, "room full".into()).into());
                }
            }
        }
    }

    /// At home: somebody has entered on another worker.
    fn joined_away(&mut self, from: u16, name: &str, token: Token) {
        if self.presence(name) >= self.limits.members {
            // It is counted nevertheless: it will leave, and that is told as for any other.
            self.outgoing[usize::from(from)].push(Remote::Full(name.into(), token));
        }
        // How many rooms other workers know is limited there.
        let index = self.enter(name);
        let room = &mut self.rooms[index as usize];
        if let Some(count) = room.away.get_mut(usize::from(from)) {
            *count += 1;
            room.total += 1;
        }
        self.recount(index);
    }

    fn left_away(&mut self, from: u16, name: &str) {
        let Some(index) = self.names.get(name).copied() else { return };
        let room = &mut self.rooms[index as usize];
        if let Some(count) = room.away.get_mut(usize::from(from)).filter(|count| **count > 0) {
            *count -= 1;
            room.total = room.total.saturating_sub(1);
        }
        // Empty or not, it stands in the list now, and is looked at when that is gone through.
        self.recount(index);
    }

    /// There is no room of this name, and no further one may be made.
    fn is_crowded(&self, name: &str) -> bool {
        self.rooms.len() >= self.limits.rooms && !self.names.contains_key(name)
    }

    /// The room of this name, made if there is none.
    fn enter(&mut self, name: &str) -> u32 {
        if let Some(index) = self.names.get(name) {
            return *index;
        }
        let home = home(name, self.workers.into()) as u16;
        let away = if home == self.worker { vec![0; usize::from(self.workers)] } else { Vec::new() };
        let name: Arc<str> = name.into();
        let index = self.rooms.insert(Room {
            name: name.clone(),
            home,
            seats: Slab::new(),
            gather: Gather::default(),
            arrived: Arrivals::default(),
            away,
            total: 0,
            listed: false,
            recount: false,
        }) as u32;
        self.names.insert(name, index);
        index
    }

    fn find(&self, name: &str) -> Option<&Room> {
        self.rooms.get(*self.names.get(name)? as usize)
    }

    /// The number of members has changed: those who are away will be told, once a turn.
    fn recount(&mut self, index: u32) {
        if self.workers > 1 {
            self.rooms[index as usize].recount = true;
            self.list(index);
        }
    }

    fn list(&mut self, index: u32) {
        let room = &mut self.rooms[index as usize];
        if !room.listed {
            room.listed = true;
            self.listed.push(index);
        }
    }

    fn drop_if_empty(&mut self, index: u32) {
        let empty = |room: &Room| {
            !room.listed
                && room.seats.is_empty()
                && room.gather.is_empty()
                && room.arrived.is_empty()
                && room.away.iter().all(|n| *n == 0)
        };
        if self.rooms.get(index as usize).is_some_and(empty) {
            let room = self.rooms.remove(index as usize);
            self.names.remove(&room.name);
            if self.rooms.is_empty() {
                self.rooms.shrink_to_fit();
                self.names.shrink_to_fit();
            }
        }
    }
}

/// One note to each member who is here.
fn deliver<A: Service>(seats: &Slab<Token>, batch: &Arc<Batch>, cx: &mut AppCx<'_, A>) -> u64 {
    for (_, token) in seats {
        cx.notify(*token, Note::Batch(batch.clone()).into());
    }
    seats.len() as u64
}
