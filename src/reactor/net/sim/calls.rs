//! The operations of a [`World`]: what `Net` asks for.

use super::super::{Accept, FileHandle, Ready, Target};
use super::conn::{PIPE, Stage};
use super::random::Random;
use super::script::{AcceptFault, Plan, Script};
use super::world::{Due, World};
use super::{SimId, SimStream};
use crate::reactor::outcome::{CloseHow, Fault, Io};
use crate::reactor::token::Token;
use std::io::IoSlice;

impl World {
    pub(super) fn accept(&mut self, listener: usize) -> Accept<SimStream> {
        self.calls.accepts += 1;
        let listening = &mut self.listeners[listener];
        let Some(first) = listening.queue.front().copied() else { return Accept::WouldBlock };
        match listening.faults.pop_front() {
            Some(AcceptFault::Exhausted) => return Accept::Exhausted,
            Some(AcceptFault::Denied) => return Accept::Denied,
            Some(AcceptFault::Skip) => {
                listening.queue.pop_front();
                self.conns[first.0 as usize].closed = Some(CloseHow::Reset);
                return Accept::Skip;
            }
            None => {}
        }
        listening.queue.pop_front();
        Accept::Conn(SimStream(first), self.peer_of(first))
    }

    pub(super) fn close_listener(&mut self, listener: usize) {
        let listening = &mut self.listeners[listener];
        listening.open = false;
        for id in std::mem::take(&mut listening.queue) {
            let conn = &mut self.conns[id.0 as usize];
            conn.closed = Some(CloseHow::Reset);
            conn.cut = true;
            if let Some(other) = conn.other {
                self.deliver_fault(other, Fault::Reset);
            }
        }
    }

    pub(super) fn connect(&mut self, to: &Target, token: Token) -> Result<SimStream, Fault> {
        self.calls.connects += 1;
        if let Some(stream) = self.join(to) {
            return Ok(self.began(to, token, stream));
        }
        let planned = self.plans.get_mut(to).and_then(|plans| plans.pop_front());
        let plan = planned.or_else(|| self.habits.get(to).cloned()).unwrap_or(Plan::Refuse(Fault::Refused));
        let id = match plan {
            Plan::Refuse(fault) => return Err(fault),
            Plan::Accept(ms, script) => {
                let id = self.conn(Stage::Connecting, script);
                self.at(ms, Due::Connected(id.0));
                id
            }
            Plan::Fail(ms, fault) => {
                let id = self.conn(Stage::Connecting, Script::new());
                self.conns[id.0 as usize].stage = Stage::Failed(fault);
                self.conns[id.0 as usize].read_blocked = self.now + ms;
                self.at(ms, Due::Connected(id.0));
                id
            }
            Plan::Hang => self.conn(Stage::Connecting, Script::new()),
        };
        Ok(self.began(to, token, id))
    }

    fn began(&mut self, to: &Target, token: Token, id: SimId) -> SimStream {
        let conn = &mut self.conns[id.0 as usize];
        conn.token = Some(token);
        conn.watched = Ready::READABLE.with(Ready::WRITABLE).with(Ready::HANGUP);
        self.outgoing.push((to.clone(), id));
        SimStream(id)
    }

    /// Connects to a listener of this world.
    fn join(&mut self, to: &Target) -> Option<SimId> {
        let Target::Tcp(address) = to else { return None };
        let listener = self.listeners.iter().position(|l| l.open && l.address == *address)?;
        let (near, far) = (self.conn(Stage::Connecting, Script::new()), self.conn(Stage::Up, Script::new()));
        self.conns[near.0 as usize].other = Some(far);
        self.conns[far.0 as usize].other = Some(near);
        self.at(1, Due::Connected(near.0));
        self.at(1, Due::Arrive(far.0, listener));
        Some(near)
    }

    pub(super) fn finish_connect(&mut self, id: SimId) -> Io {
        self.calls.finish_connects += 1;
        let conn = &self.conns[id.0 as usize];
        match conn.stage {
            Stage::Up => Io::Done(0),
            Stage::Connecting => Io::WouldBlock,
            Stage::Failed(_) if conn.read_blocked > self.now => Io::WouldBlock,
            Stage::Failed(fault) => Io::Fault(fault),
        }
    }

    pub(super) fn watch(&mut self, id: SimId, token: Token, what: Ready) {
        let writable = self.writable(id);
        let conn = &mut self.conns[id.0 as usize];
        conn.token = Some(token);
        conn.watched = conn.watched.with(what);
        let level = conn.level(self.now, writable);
        self.edge(id, level);
    }

    /// A read or write would block for no reason; an edge follows.
    fn blocks(&mut self, id: SimId, what: Ready) -> bool {
        let conn = &mut self.conns[id.0 as usize];
        let until = match what {
            Ready::READABLE => &mut conn.read_blocked,
            _ => &mut conn.write_blocked,
        };
        if *until > self.now {
            return true;
        }
        if !self.random.chance(self.chaos.would_block) {
            return false;
        }
        let ms = 1 + self.random.below(self.chaos.late_by + 1);
        *until = self.now + ms;
        self.at(ms, Due::Unblock(id.0, what.0));
        true
    }

    pub(super) fn read(&mut self, id: SimId, buf: &mut [u8]) -> Io {
        self.calls.reads += 1;
        assert!(!buf.is_empty(), "a read needs room");
        self.mid_turn();
        if self.blocks(id, Ready::READABLE) {
            return Io::WouldBlock;
        }
        let conn = &mut self.conns[id.0 as usize];
        let there = conn.unread();
        if there.is_empty() {
            return match conn.read_fault {
                Some(fault) => {
                    conn.told();
                    Io::Fault(fault)
                }
                None if conn.fin => Io::Eof,
                None => Io::WouldBlock,
            };
        }
        let mut n = there.len().min(buf.len());
        if self.random.chance(self.chaos.short) {
            n = self.random.up_to(n);
        }
        buf[..n].copy_from_slice(&there[..n]);
        conn.consume(n);
        // A short read says that nothing is left, where that is promised. So the rest counts as having come just now.
        if self.short_read_drains && n < buf.len() && !conn.unread().is_empty() {
            self.edge(id, Ready::READABLE);
        }
        if let Some(other) = self.conns[id.0 as usize].other {
            self.make_room(other);
        }
        Io::Done(n)
    }

    /// How many of `len` bytes are taken, or why none is.
    fn take(&mut self, id: SimId, len: usize) -> Result<usize, Io> {
        self.mid_turn();
        if self.blocks(id, Ready::WRITABLE) {
            // There may be no room when the block ends: then the edge is owed for later.
            self.conns[id.0 as usize].full = true;
            return Err(Io::WouldBlock);
        }
        let conn = &mut self.conns[id.0 as usize];
        assert!(!conn.fin_sent, "nothing is written after FIN");
        if let Some((0, fault)) = conn.fail_after {
            conn.write_fault = Some(fault);
        }
        if let Some(fault) = conn.write_fault {
            conn.told();
            return Err(Io::Fault(fault));
        }
        if conn.stage != Stage::Up {
            return Err(Io::WouldBlock);
        }
        let mut room = conn.room();
        if let Some(other) = conn.other {
            room = room.min(PIPE.saturating_sub(self.conns[other.0 as usize].unread().len()) as u64);
        }
        let mut n = len.min(usize::try_from(room).unwrap_or(usize::MAX));
        let conn = &mut self.conns[id.0 as usize];
        conn.full |= n < len;
        if n == 0 {
            return Err(Io::WouldBlock);
        }
        if self.random.chance(self.chaos.short) {
            n = self.random.up_to(n);
        }
        Ok(n)
    }

    /// These bytes were taken.
    fn taken(&mut self, id: SimId, bytes: &[u8]) {
        let conn = &mut self.conns[id.0 as usize];
        let n = bytes.len() as u64;
        if conn.window != u64::MAX {
            conn.window -= n;
        }
        if let Some((left, _)) = &mut conn.fail_after {
            *left -= n;
        }
        conn.sent += n;
        let keep = bytes.len().min(self.log_limit.saturating_sub(conn.log.len()));
        conn.log.extend_from_slice(&bytes[..keep]);
        let (gone, awaits, other) = (conn.gone, conn.awaits, conn.other);
        if gone {
            self.deliver_fault(id, Fault::Reset);
        }
        if awaits {
            self.at(0, Due::Script(id.0));
        }
        if let Some(other) = other {
            self.deliver(other, bytes);
        }
    }

    pub(super) fn write(&mut self, id: SimId, bufs: &[IoSlice<'_>]) -> Io {
        self.calls.writes += 1;
        let len: usize = bufs.iter().map(|buf| buf.len()).sum();
        assert!(len > 0, "a write needs bytes");
        let n = match self.take(id, len) {
            Ok(n) => n,
            Err(io) => return io,
        };
        let mut left = n;
        for buf in bufs {
            let piece = left.min(buf.len());
            if piece > 0 {
                self.taken(id, &buf[..piece]);
            }
            left -= piece;
        }
        Io::Done(n)
    }

    pub(super) fn send_file(&mut self, id: SimId, file: &FileHandle, at: u64, len: u64) -> Io {
        self.calls.send_files += 1;
        self.calls.disk_waits += u64::from(self.files.is_unread(file));
        let bytes = match self.files.content(file, at) {
            Ok([]) => return Io::Fault(Fault::Truncated),
            Ok(bytes) => bytes,
            Err(fault) => return Io::Fault(fault),
        };
        let bytes = bytes[..bytes.len().min(usize::try_from(len).unwrap_or(usize::MAX))].to_vec();
        match self.take(id, bytes.len()) {
            Ok(n) => {
                self.taken(id, &bytes[..n]);
                Io::Done(n)
            }
            Err(io) => io,
        }
    }

    pub(super) fn at_hand(&mut self, file: &FileHandle) -> bool {
        self.calls.at_hands += 1;
        !self.random.chance(self.chaos.would_block) && self.files.is_fetched(file, self.now)
    }

    pub(super) fn fetch(&mut self, file: &FileHandle) {
        self.calls.fetches += 1;
        self.files.fetch(file, self.now);
    }

    pub(super) fn shutdown_write(&mut self, id: SimId) -> Io {
        self.calls.shutdowns += 1;
        let conn = &mut self.conns[id.0 as usize];
        if let Some(fault) = conn.write_fault {
            conn.told();
            return Io::Fault(fault);
        }
        assert!(!conn.fin_sent, "FIN is sent once");
        conn.fin_sent = true;
        self.after_end(id);
        Io::Done(0)
    }

    pub(super) fn close(&mut self, id: SimId, how: CloseHow) {
        self.calls.closes += 1;
        let conn = &mut self.conns[id.0 as usize];
        assert_eq!(conn.closed, None, "a stream is closed once");
        conn.closed = Some(how);
        conn.cut |= how == CloseHow::Reset || !conn.unread().is_empty();
        let (cut, other) = (conn.cut, conn.other);
        // Edges that nobody was told of are gone with the descriptor; those told of already are stale.
        conn.edges = Ready::default();
        if let Some(token) = conn.token
            && self.stale.len() < 1000
        {
            self.stale.push(token);
        }
        if let Some(other) = other.filter(|_| cut) {
            self.deliver_fault(other, Fault::Reset);
        }
        self.after_end(id);
    }

    /// FIN was sent, or the stream closed: the other end and the script are told.
    fn after_end(&mut self, id: SimId) {
        let conn = &self.conns[id.0 as usize];
        let (awaits, other) = (conn.awaits, conn.other);
        if awaits {
            self.at(0, Due::Script(id.0));
        }
        if let Some(other) = other {
            self.deliver_fin(other);
        }
    }

    pub(super) fn fill_random(&mut self, out: &mut [u8]) {
        fill(&mut self.entropy, out);
    }
}

fn fill(random: &mut Random, out: &mut [u8]) {
    for piece in out.chunks_mut(8) {
        piece.copy_from_slice(&random.next().to_le_bytes()[..piece.len()]);
    }
}
