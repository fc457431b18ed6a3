//! What the TCP connections of one worker share: services with their options and handlers, who is connected, what goes to all.

use super::fault::State;
use crate::guard::{Arrivals, Batch, Bounds, Flights, Gate, Gather, Member, Refused, Slow};
use crate::observe::Reason;
use crate::reactor::outbox::Cork;
use crate::reactor::{App, AppCx, Host, Part, Peer as Address, Token};
use slab::Slab;
use std::sync::Arc;
use std::time::Duration;

/// What raw TCP needs of the program that it runs in.
pub trait Service: App<Reason = Reason, Note: From<Note>> {
    /// The worker's hub.
    fn tcp(&mut self) -> &mut Hub;
}

/// Words to a connection.
#[derive(Clone, Debug)]
pub enum Note {
    /// Lines from others.
    Batch(Arc<Batch>),
    /// Send these bytes.
    Send(Arc<[u8]>),
    /// Send what waits and close: [`Reason::Kicked`].
    Close,
}

/// The limits and times by which a service's connections live.
#[derive(Clone, Debug)]
pub struct Options {
    /// No byte in either direction for this long closes the connection; zero: never. Default 5 min.
    pub idle_timeout: Duration,
    /// Longest line in bytes, its end included: at most 64 KiB. Default 16 KiB.
    pub line_size: usize,
    /// What happens to a member who reads too slowly. Default: closed.
    pub slow: Slow,
    /// What may wait for one member, besides what came in a burst, within 100 ms of when it first could not take all.
    pub bounds: Bounds,
    /// What is gathered in one turn for all members together, in bytes, before speakers wait for the next and programs are refused;
    /// of what is in flight four times as much. Default 4 MiB.
    pub gathered: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            idle_timeout: Duration::from_secs(300),
            line_size: 16 << 10,
            slow: Slow::Close,
            bounds: Bounds::default(),
            gathered: Gate::MOST,
        }
    }
}

/// What is done with the bytes of a service.
pub enum Kind {
    /// They are sent back.
    Echo,
    /// A line from one goes to all others. A line ends with LF and keeps it; what comes without one before the end is no line.
    Lines,
    /// As this says.
    Custom(Box<dyn Handler>),
}

/// A protocol of one's own. One value per worker and service: what it keeps for a connection it keeps under its token.
///
/// A call that panics ends its connection alone: a reset, with [`Reason::HandlerFailed`], so that the peer does not take what it got for
/// all of it. Of this connection nothing more is told but its end, so that what is kept for it can go.
pub trait Handler {
    /// A connection stands.
    fn open(&mut self, peer: &mut Peer<'_>) {
        let _ = peer;
    }
    /// Bytes have come. Says how many were used; the rest is shown again, with more, once more has come. At most 64 KiB can be
    /// left unused. After [`Peer::publish`] was refused the rest is shown again in a later turn, whether more has come or not.
    fn data(&mut self, bytes: &[u8], peer: &mut Peer<'_>) -> usize;
    /// There is room again, after [`Peer::waiting`] had been above high water (256 KiB by default).
    fn writable(&mut self, peer: &mut Peer<'_>) {
        let _ = peer;
    }
    /// The peer will send no more; it still reads. By default what waits is sent, and then the connection closes.
    fn eof(&mut self, peer: &mut Peer<'_>) {
        peer.close();
    }
    /// The connection has ended, for this reason; told once, also if `open` was never told, and after a call that panicked.
    fn close(&mut self, token: Token, reason: Reason) {
        let _ = (token, reason);
    }
}

/// A connection, as its handler sees it.
pub struct Peer<'a> {
    pub(super) token: Token,
    pub(super) address: Address,
    pub(super) backlog: usize,
    pub(super) cork: &'a mut Cork,
    pub(super) host: &'a mut dyn Host,
    pub(super) crowd: &'a mut Crowd,
    pub(super) worker: u16,
    pub(super) wish: Wish,
}

/// What a handler asked for besides sending.
#[derive(Clone, Copy, Default)]
pub(super) struct Wish {
    pub close: bool,
    pub abort: bool,
    pub reading: Option<bool>,
    /// What it published was refused.
    pub refused: bool,
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

    /// Sends bytes, in order. Look at [`waiting`](Self::waiting) before sending much unasked: 4 MiB end the connection.
    pub fn send(&mut self, bytes: &[u8]) {
        self.cork.bytes_mut().extend_from_slice(bytes);
    }

    /// Sends a piece without copying it.
    pub fn send_part(&mut self, part: Part) {
        self.cork.push(part);
    }

    /// Bytes that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.backlog + self.cork.memory()
    }

    /// Sends these bytes to all others of the service, on every worker.
    ///
    /// # Errors
    /// [`Refused`] once [`Options::gathered`] bytes were gathered in this turn, or four times as many are in flight: nothing was
    /// kept, and [`Counters::publish_refused`] has counted it. One message may go over the bound. Leave the bytes unused in
    /// [`Handler::data`], and they are shown again.
    pub fn publish(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let from = Member { worker: self.worker, token: self.token };
        let taken = self.crowd.ask(Some(from), bytes);
        self.wish.refused |= taken.is_err();
        taken
    }

    /// Stops or resumes reading.
    pub fn set_reading(&mut self, on: bool) {
        self.wish.reading = Some(on);
    }

    /// Sends what waits and closes.
    pub fn close(&mut self) {
        self.wish.close = true;
    }

    /// Resets the connection.
    pub fn abort(&mut self) {
        self.wish.abort = true;
    }

    /// Randomness, the calendar, files.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }
}

/// Which service of a hub: the order of [`Hub::add`], the same on every worker.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ServiceId(pub u16);

/// What was published on another worker.
#[derive(Clone, Debug)]
pub struct Remote {
    service: ServiceId,
    batch: Arc<Batch>,
}

/// Plain counts.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counters {
    /// Messages that went to all others.
    pub published: u64,
    /// Messages that slow members lost, by [`Slow`].
    pub lost: [u64; 4],
    /// Members closed because they were slow.
    pub too_slow: u64,
    /// Lines over the limit.
    pub long_lines: u64,
    /// Times that a speaker had to wait because too much was on its way to others.
    pub waits: u64,
    /// Messages that a program published and that were refused because too much was on its way.
    pub publish_refused: u64,
}

/// Who is connected to a service, and what is on its way to them.
pub(super) struct Crowd {
    pub seats: Slab<Token>,
    /// What bounds that which is on its way to them.
    pub gate: Gate,
    gather: Gather,
    /// What is to be handed to those who are connected here: what came from other workers in this turn, and what was said here.
    arrived: Arrivals,
    published: u64,
}

impl Crowd {
    /// A speaker that the gate lets says something.
    pub fn publish(&mut self, from: Option<Member>, bytes: &[u8]) {
        self.gate.take(self.gather.push(from, |out| out.extend_from_slice(bytes)));
        self.published += 1;
    }

    /// A program says something.
    pub fn ask(&mut self, from: Option<Member>, bytes: &[u8]) -> Result<(), Refused> {
        self.gate.ask()?;
        self.publish(from, bytes);
        Ok(())
    }
}

pub(super) struct Entry {
    pub options: Options,
    pub kind: Kind,
    pub crowd: Crowd,
}

/// The services of one worker.
pub struct Hub {
    pub(super) services: Vec<Entry>,
    pub(super) worker: u16,
    pub(super) counters: Counters,
    several: bool,
    outgoing: Vec<Remote>,
    /// What was put together here for those who are connected. It bounds nobody: what it is made of counts where it was said.
    landing: Flights,
}

impl Hub {
    /// The hub of worker number `worker` (from 0) of `workers`.
    pub fn new(worker: u16, workers: u16) -> Hub {
        Hub {
            services: Vec::new(),
            worker,
            counters: Counters::default(),
            several: workers > 1,
            outgoing: Vec::new(),
            landing: Flights::default(),
        }
    }

    /// Adds a service. Every worker adds the same ones in the same order.
    pub fn add(&mut self, options: Options, kind: Kind) -> ServiceId {
        let gate = Gate::new(options.gathered);
        let (gather, arrived) = (Gather::default(), Arrivals::default());
        let crowd = Crowd { seats: Slab::new(), gate, gather, arrived, published: 0 };
        self.services.push(Entry { options, kind, crowd });
        ServiceId((self.services.len() - 1) as u16)
    }

    /// Plain counts.
    pub fn counters(&self) -> Counters {
        let mut all = self.counters;
        for Entry { crowd, .. } in &self.services {
            all.published += crowd.published;
            all.waits += crowd.gate.waits();
            all.publish_refused += crowd.gate.refused();
        }
        all
    }

    /// Who is connected here to this service. Of echo nobody is listed.
    pub fn members(&self, service: ServiceId) -> impl Iterator<Item = Token> + '_ {
        let entry = self.services.get(service.0 as usize);
        entry.into_iter().flat_map(|entry| entry.crowd.seats.iter().map(|(_, token)| *token))
    }

    /// Sends bytes to all who are connected to this service, on every worker. If there is no such service they are lost.
    ///
    /// # Errors
    /// [`Refused`] once [`Options::gathered`] bytes were gathered in this turn, or four times as many are in flight: nothing was
    /// kept, and [`Counters::publish_refused`] has counted it. One message may go over the bound.
    pub fn publish(&mut self, service: ServiceId, bytes: &[u8]) -> Result<(), Refused> {
        match self.services.get_mut(service.0 as usize) {
            Some(entry) => entry.crowd.ask(None, bytes),
            None => Ok(()),
        }
    }

    /// Another bound for what all services together gather in one turn, in bytes: each gets an equal part, but not more than its
    /// [`Options::gathered`].
    pub fn set_gathered(&mut self, bytes: usize) {
        let part = bytes / self.services.len().max(1);
        for Entry { options, crowd, .. } in &mut self.services {
            crowd.gate.set_most(part.min(options.gathered));
        }
    }

    /// Sends on what was published in this turn. The program calls it in [`App::on_turn`]; nothing is left to do if nothing was said.
    pub fn flush<A: Service>(&mut self, cx: &mut AppCx<'_, A>) {
        for (number, Entry { crowd, .. }) in self.services.iter_mut().enumerate() {
            crowd.gate.end_turn();
            if !crowd.gather.is_empty() {
                let batch = Arc::new(crowd.gather.seal(crowd.gate.flights()));
                if self.several {
                    self.outgoing.push(Remote { service: ServiceId(number as u16), batch: batch.clone() });
                }
                crowd.arrived.push(batch);
            }
            if !crowd.arrived.is_empty() {
                crowd.arrived.land(crowd.gate.most(), &self.landing, &mut crowd.gather, |batch| {
                    for (_, token) in &crowd.seats {
                        cx.notify(*token, Note::Batch(batch.clone()).into());
                    }
                });
            }
        }
    }

    /// Bytes that are on their way to those who are connected.
    pub fn held(&self) -> usize {
        self.services.iter().map(|entry| entry.crowd.gate.held()).sum::<usize>() + self.landing.bytes()
    }

    /// What all other workers must be told: post it to each of them, in this order. Empty unless something was published.
    pub fn take_outgoing(&mut self) -> Vec<Remote> {
        std::mem::take(&mut self.outgoing)
    }

    /// Something was published on another worker. It goes out with the next [`flush`](Self::flush).
    pub fn on_remote(&mut self, remote: &Remote) {
        if let Some(entry) = self.services.get_mut(remote.service.0 as usize) {
            entry.crowd.arrived.push(remote.batch.clone());
        }
    }
}

impl State {
    /// Nothing is read in it, by our own choice.
    pub(super) fn is_held(self) -> bool {
        match self {
            State::Held => true,
            State::Open | State::Finishing => false,
        }
    }
}
