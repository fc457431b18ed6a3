//! One simulated stream: what is on its way in, what was sent, what is registered.

use super::super::Ready;
use super::SimId;
use super::script::Script;
use crate::reactor::outcome::{CloseHow, Fault};
use crate::reactor::token::Token;

/// Where the connecting stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// In a listener's queue, or connected.
    Up,
    /// Under way.
    Connecting,
    /// It failed.
    Failed(Fault),
}

#[derive(Debug)]
pub(super) struct Conn {
    pub stage: Stage,
    pub token: Option<Token>,
    /// Which edges are reported.
    pub watched: Ready,
    /// Edges not reported yet; the stream stands in the ready list if there are any.
    pub edges: Ready,
    /// Bytes for the server, from `read_at` on.
    pub inbound: Vec<u8>,
    pub read_at: usize,
    pub fin: bool,
    pub read_fault: Option<Fault>,
    pub write_fault: Option<Fault>,
    /// The peer has reset it: the first call that finds out is told, later ones find an end of file and a broken pipe.
    pub reset: bool,
    pub fail_after: Option<(u64, Fault)>,
    /// How many more bytes the peer takes.
    pub window: u64,
    /// The server found no room: an edge is owed when there is some.
    pub full: bool,
    /// Until when reads and writes would block without a reason.
    pub read_blocked: u64,
    pub write_blocked: u64,
    /// What the server has sent, as far as it is logged.
    pub log: Vec<u8>,
    pub sent: u64,
    pub fin_sent: bool,
    pub closed: Option<CloseHow>,
    /// The close, or what came after it, made a reset: the peer may have lost what it had not read.
    pub cut: bool,
    /// The peer has closed both ways: what comes is answered with a reset.
    pub gone: bool,
    pub script: Script,
    /// The script waits for something that the server does.
    pub awaits: bool,
    /// The other end, if it is in the same world.
    pub other: Option<SimId>,
}

/// Most bytes on their way from one joined stream to the other.
pub(super) const PIPE: usize = 64 << 10;

impl Conn {
    pub fn new(stage: Stage, script: Script) -> Conn {
        Conn {
            stage,
            token: None,
            watched: Ready::default(),
            edges: Ready::default(),
            inbound: Vec::new(),
            read_at: 0,
            fin: false,
            read_fault: None,
            write_fault: None,
            reset: false,
            fail_after: None,
            window: u64::MAX,
            full: false,
            read_blocked: 0,
            write_blocked: 0,
            log: Vec::new(),
            sent: 0,
            fin_sent: false,
            closed: None,
            cut: false,
            gone: false,
            script,
            awaits: false,
            other: None,
        }
    }

    /// Bytes that wait for the server.
    pub fn unread(&self) -> &[u8] {
        &self.inbound[self.read_at..]
    }

    pub fn consume(&mut self, n: usize) {
        self.read_at += n;
        if self.read_at == self.inbound.len() {
            self.inbound.clear();
            self.read_at = 0;
        } else if self.read_at >= PIPE {
            self.inbound.drain(..self.read_at);
            self.read_at = 0;
        }
    }

    pub fn readable(&self, now: u64) -> bool {
        let something = !self.unread().is_empty() || self.fin || self.read_fault.is_some();
        something && self.read_blocked <= now && self.stage == Stage::Up
    }

    /// The reset has been told.
    pub fn told(&mut self) {
        if std::mem::take(&mut self.reset) {
            (self.fin, self.read_fault, self.write_fault) = (true, None, Some(Fault::BrokenPipe));
        }
    }

    /// How many bytes it would take now.
    pub fn room(&self) -> u64 {
        self.window.min(self.fail_after.map_or(u64::MAX, |(left, _)| left))
    }

    /// Everything that is so now.
    pub fn level(&self, now: u64, writable: bool) -> Ready {
        let mut ready = Ready::default();
        if self.readable(now) {
            ready = ready.with(Ready::READABLE);
        }
        if self.fin || self.read_fault.is_some() {
            ready = ready.with(Ready::HANGUP);
        }
        if writable && self.stage == Stage::Up && self.write_blocked <= now {
            ready = ready.with(Ready::WRITABLE);
        }
        if matches!(self.stage, Stage::Failed(_)) {
            ready = ready.with(Ready::READABLE).with(Ready::WRITABLE).with(Ready::HANGUP);
        }
        ready
    }
}
