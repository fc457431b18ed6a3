//! TLS as a filter between the socket and the session: records come in and are opened, output is sealed into records.
//!
//! This is the only file that names rustls' connection types, in their unbuffered form: rustls keeps keys and states, we keep the
//! bytes. What the reactor does with it is in `secure.rs`.
//!
//! | state | reads | writes |
//! |---|---|---|
//! | `Handshaking` | records go to rustls; at most [`HANDSHAKE_MOST`] bytes of an unfinished flight are kept | flights of the handshake |
//! | `Up` | records are opened in the worker's scratch buffer | plaintext is sealed, at most [`CHUNK`] ahead of the socket |
//! | `Ended` | as before | nothing more: our `close_notify` is on its way |
//! | `Dead` | nothing | nothing but the alert that said why |
//!
//! 1. An idle connection holds no buffer of ours: only an unfinished record is kept, in the smallest pooled buffer.
//! 2. What has been sealed is sent: rustls numbers the records, so nothing sealed may be thrown away and sealed again.
//! 3. What waits is plaintext; one chunk of ciphertext at most stands in front of it.
//! 4. The bytes that rustls is shown always begin with those that it has not discarded: it remembers places in them.

mod errors;

use super::buffer::{Buffer, BufferPool, LARGEST};
use super::outcome::{Fault, TlsFault};
use super::token::Millis;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus,
};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use std::fmt;
use std::sync::Arc;

/// Most plaintext of one record (RFC 8446, section 5.1).
pub(super) const RECORD: usize = 16 << 10;
/// Most plaintext sealed ahead of the socket: three full records, which with their overhead fit the largest buffer.
const CHUNK: usize = 3 * RECORD;
/// Most that a record's header, nonce, kind and tag take.
const PER_RECORD: usize = 32;
/// Room for a change of keys before them, or for an alert.
const BESIDES: usize = 128;
/// Most bytes kept of a flight of the handshake that is not whole.
const HANDSHAKE_MOST: usize = 16 << 10;
/// A record's header: kind, version, length.
const HEADER: usize = 5;

/// Which side of a handshake to play, and by what rules.
#[derive(Clone)]
pub enum TlsSide {
    /// We were connected to.
    Server(Arc<ServerConfig>),
    /// We connected, and expect this name.
    Client {
        /// The rules.
        config: Arc<ClientConfig>,
        /// Whose certificate is demanded.
        name: ServerName<'static>,
    },
}

impl fmt::Debug for TlsSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsSide::Server(_) => f.write_str("TlsSide::Server"),
            TlsSide::Client { name, .. } => write!(f, "TlsSide::Client({name:?})"),
        }
    }
}

/// What was agreed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlsInfo<'a> {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The cipher suite, by its registered name.
    pub cipher: &'static str,
    /// The protocol agreed on (RFC 7301), if any.
    pub alpn: Option<&'a [u8]>,
    /// The peer has shown a certificate, and it was accepted.
    pub peer_certificate: bool,
    /// An earlier session was resumed.
    pub resumed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Handshaking,
    Up,
    Ended,
    Dead,
}

/// What the next read is to report: it came behind bytes that had to be shown first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Due {
    /// The peer's `close_notify`.
    Eof,
    /// The peer did what it may not.
    Fault(TlsFault),
}

/// The TLS side of a port.
pub struct Tls {
    conn: Box<dyn Side>,
    state: State,
    /// Nothing has come yet: the first byte tells whether it is TLS at all.
    fresh: bool,
    /// The beginning of a record, or of a message of the handshake.
    incoming: Option<Buffer>,
    /// Most plaintext of one of our records.
    fragment: usize,
    pub(super) due: Option<Due>,
    /// When the handshake must be over; never, once it is.
    pub(super) deadline: Millis,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?}, {:?} incoming)", self.state, self.incoming)
    }
}

impl Tls {
    /// Ready to begin, with no deadline yet. Fails where the rules cannot be played by.
    ///
    /// Called where the side is named, and not where it begins: a program that names one side is linked without the other.
    #[inline]
    pub(super) fn new(side: TlsSide) -> Result<Box<Tls>, Fault> {
        let (conn, fragment): (Result<Box<dyn Side>, _>, _) = match side {
            TlsSide::Server(config) => {
                let fragment = config.max_fragment_size;
                (UnbufferedServerConnection::new(config).map(|conn| Box::new(conn) as _), fragment)
            }
            TlsSide::Client { config, name } => {
                let fragment = config.max_fragment_size;
                (UnbufferedClientConnection::new(config, name).map(|conn| Box::new(conn) as _), fragment)
            }
        };
        let conn = conn.map_err(|error| Fault::Tls(errors::of(&error)))?;
        // rustls counts the header, and refuses less than 32 bytes.
        let fragment = fragment.map_or(RECORD, |size| size.saturating_sub(HEADER).clamp(1, RECORD));
        let (state, deadline) = (State::Handshaking, Millis::NEVER);
        Ok(Box::new(Tls { conn, state, fresh: true, incoming: None, fragment, due: None, deadline }))
    }

    /// Most plaintext that is sealed ahead of the socket: a chunk, or what in small records still fits the largest buffer.
    pub(super) fn chunk(&self) -> usize {
        CHUNK.min((LARGEST - BESIDES - PER_RECORD) * self.fragment / (self.fragment + PER_RECORD))
    }

    /// Plaintext can be sealed.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Nothing more is sealed, ever: plaintext that waits can be thrown away.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.state, State::Dead | State::Ended)
    }

    /// It failed: nothing more is sealed or opened.
    pub(super) fn kill(&mut self) {
        (self.state, self.deadline) = (State::Dead, Millis::NEVER);
    }

    /// How many bytes of an unfinished record are kept.
    pub(super) fn kept(&self) -> usize {
        self.incoming.as_ref().map_or(0, Buffer::len)
    }

    /// How many bytes more the unfinished record needs, as far as that is known.
    pub(super) fn missing(&self) -> usize {
        let kept = self.incoming.as_ref().map_or(&[][..], Buffer::bytes);
        let whole = match kept {
            [_, _, _, high, low, ..] => HEADER + usize::from(u16::from_be_bytes([*high, *low])),
            _ => HEADER,
        };
        whole.saturating_sub(kept.len()).max(1)
    }

    /// Puts the kept bytes where those behind them have been read to.
    pub(super) fn restore(&mut self, room: &mut [u8], pool: &mut BufferPool) {
        if let Some(buffer) = self.incoming.take() {
            room[..buffer.len()].copy_from_slice(buffer.bytes());
            pool.give(buffer);
        }
    }

    /// Gives back what it holds.
    pub(super) fn clear(&mut self, pool: &mut BufferPool) {
        if let Some(buffer) = self.incoming.take() {
            pool.give(buffer);
        }
    }

    /// What was agreed; none before that.
    pub(super) fn info(&self) -> Option<TlsInfo<'_>> {
        let common = self.conn.common();
        if common.is_handshaking() {
            return None;
        }
        let version = match common.protocol_version()? {
            ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let cipher = common.negotiated_cipher_suite()?.suite().as_str().unwrap_or("unknown");
        Some(TlsInfo {
            version,
            cipher,
            alpn: common.alpn_protocol(),
            peer_certificate: common.peer_certificates().is_some_and(|chain| !chain.is_empty()),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    /// Opens the records in `data[RECORD..]`: the plaintext is put at the front of `data`, whose length is returned. Replies of
    /// TLS itself are appended to `out`. What is left over is kept; what ends the reading is [`due`](Self::due).
    pub(super) fn open(&mut self, data: &mut [u8], out: &mut Vec<u8>, pool: &mut BufferPool) -> usize {
        let mut opening = Opening { at: RECORD, plain: 0, due: None };
        // Kinds of records: change of cipher, alert, handshake, application data (RFC 8446, section 5.1).
        let is_tls = data.get(RECORD).is_none_or(|kind| (20..=23).contains(kind));
        if self.fresh && !is_tls {
            opening.due = Some(Due::Fault(TlsFault::NotTls));
        } else {
            self.conn.open(&mut opening, data, out);
        }
        self.fresh &= data.len() == RECORD;
        if self.state == State::Handshaking && !self.conn.common().is_handshaking() {
            (self.state, self.deadline) = (State::Up, Millis::NEVER);
        }
        let rest = &data[opening.at..];
        let too_much = self.state == State::Handshaking && rest.len() > HANDSHAKE_MOST;
        self.due = match opening.due {
            None if too_much => Some(Due::Fault(TlsFault::Protocol)),
            due => due,
        };
        if self.due.is_none() && !rest.is_empty() {
            let mut buffer = pool.take(rest.len());
            buffer.append(rest);
            self.incoming = Some(buffer);
        }
        opening.plain
    }

    /// Seals plaintext, at most a chunk of it. `None`: the keys are used up, or it is not up.
    pub(super) fn seal(&mut self, plain: &[u8], pool: &mut BufferPool) -> Option<Buffer> {
        match self.state {
            State::Up => self.write(What::Plain(plain), pool),
            State::Handshaking | State::Ended | State::Dead => None,
        }
    }

    /// Our `close_notify`, once, if the handshake was done and nothing has failed.
    pub(super) fn goodbye(&mut self, pool: &mut BufferPool) -> Option<Buffer> {
        if self.state != State::Up {
            return None;
        }
        self.state = State::Ended;
        self.write(What::Goodbye, pool)
    }

    fn write(&mut self, what: What<'_>, pool: &mut BufferPool) -> Option<Buffer> {
        let records = what.len().div_ceil(self.fragment);
        let mut buffer = pool.take(what.len() + records * PER_RECORD + BESIDES);
        let incoming = self.incoming.as_mut().map_or(&mut [][..], Buffer::bytes_mut);
        if !self.conn.write(incoming, what, &mut buffer) || buffer.is_empty() {
            pool.give(buffer);
            return None;
        }
        Some(buffer)
    }
}

/// What is to be sealed.
#[derive(Clone, Copy)]
enum What<'a> {
    Plain(&'a [u8]),
    Goodbye,
}

impl What<'_> {
    fn len(self) -> usize {
        match self {
            What::Plain(bytes) => bytes.len(),
            What::Goodbye => 0,
        }
    }
}

/// Either connection.
trait Side: Send + Sync {
    fn open(&mut self, opening: &mut Opening, data: &mut [u8], out: &mut Vec<u8>);
    fn write(&mut self, incoming: &mut [u8], what: What<'_>, to: &mut Buffer) -> bool;
    fn common(&self) -> &CommonState;
}

impl<C: Records + Send + Sync> Side for C {
    fn open(&mut self, opening: &mut Opening, data: &mut [u8], out: &mut Vec<u8>) {
        opening.run(self, data, out);
    }

    fn write(&mut self, incoming: &mut [u8], what: What<'_>, to: &mut Buffer) -> bool {
        write(self, incoming, what, to)
    }

    fn common(&self) -> &CommonState {
        Records::common(self)
    }
}

/// The same, with its kind of data.
trait Records {
    type Data;
    fn process<'c, 'i>(&'c mut self, data: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn common(&self) -> &CommonState;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, data: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(data)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, data: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(data)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

/// How far the records of one read have been opened.
struct Opening {
    /// Where the ciphertext begins that rustls has not discarded. One record's room is always free before it, and plaintext is
    /// shorter than its ciphertext, so what is opened never reaches it.
    at: usize,
    plain: usize,
    due: Option<Due>,
}

impl Opening {
    fn run<C: Records>(&mut self, conn: &mut C, data: &mut [u8], out: &mut Vec<u8>) {
        loop {
            let (front, rest) = data.split_at_mut(self.at);
            let UnbufferedStatus { mut discard, state } = conn.process(rest);
            let mut failed = None;
            let again = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        match front.get_mut(self.plain..self.plain + record.payload.len()) {
                            Some(to) => to.copy_from_slice(record.payload),
                            None => self.due = Some(Due::Fault(TlsFault::Protocol)),
                        }
                        self.plain += record.payload.len();
                    }
                    self.due.is_none()
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => encode(&mut message, out),
                Ok(ConnectionState::TransmitTlsData(sent)) => {
                    sent.done();
                    true
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.due = Some(Due::Eof);
                    false
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => false,
                // Early data is not served: whoever replays a request may choose when (RFC 8446, section 8). And the enum may grow.
                Ok(_) => {
                    self.due = Some(Due::Fault(TlsFault::Protocol));
                    false
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            };
            self.at = (self.at + discard).min(data.len());
            if let Some(error) = failed {
                log::debug!("TLS: {error}");
                self.due = Some(Due::Fault(errors::of(&error)));
                return alert(conn, &mut data[self.at..], out);
            }
            if !again {
                return;
            }
        }
    }
}

/// Takes out what rustls has to say about an error, and nothing else.
fn alert<C: Records>(conn: &mut C, rest: &mut [u8], out: &mut Vec<u8>) {
    while conn.common().wants_write() {
        match conn.process(rest).state {
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                if !encode(&mut message, out) {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

fn encode<D>(message: &mut EncodeTlsData<'_, D>, out: &mut Vec<u8>) -> bool {
    let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = message.encode(&mut [])
    else {
        return false;
    };
    let at = out.len();
    out.resize(at + required_size, 0);
    message.encode(&mut out[at..]).is_ok()
}

/// Brings a connection to where traffic may be written, and writes. False if it cannot be.
fn write<C: Records>(conn: &mut C, incoming: &mut [u8], what: What<'_>, to: &mut Buffer) -> bool {
    loop {
        let UnbufferedStatus { discard, state } = conn.process(incoming);
        debug_assert_eq!(discard, 0, "everything whole was opened when it came");
        let written = match state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                let sealed = match what {
                    What::Plain(plain) => traffic.encrypt(plain, to.spare_mut()),
                    What::Goodbye => traffic.queue_close_notify(to.spare_mut()),
                };
                let Ok(n) = sealed else { return false };
                to.filled(n);
                return true;
            }
            // Messages that wait, such as a change of keys, stand before what is sealed.
            Ok(ConnectionState::EncodeTlsData(mut message)) => message.encode(to.spare_mut()).ok(),
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                Some(0)
            }
            Ok(_) | Err(_) => None,
        };
        let Some(n) = written else { return false };
        to.filled(n);
    }
}
