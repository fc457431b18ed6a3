//! The incremental reader of request heads: the grammar, byte by byte.
//!
//! This is the norm. It gives its verdict at the first byte that is wrong, so a bad head is refused without waiting
//! for its end, and the verdict does not depend on how the bytes arrived. The fast path in [`head`](super::head) reads
//! whole heads with `httparse` and only ever says yes; for a no, or for a head that is not whole yet, it asks here.
//!
//! ```text
//! Start -> Method -> Target -> Version -> RequestLf -> FieldStart -> Name -> Value -> ValueLf -> FieldStart
//!                                                                 \-> EndLf -> Done
//! ```

use super::framing::Facts;
use super::{Method, Reject, Version, target::Target, text};
use crate::wire::limits::Limits;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the request; empty lines are skipped (RFC 9112, 2.2).
    #[default]
    Start,
    StartLf,
    Method,
    Target,
    Version,
    RequestLf,
    FieldStart,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
}

/// How far an incomplete head was read. 40 bytes; `Default` is the beginning of a head. Between calls the bytes
/// already shown must stay at the same place in the buffer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan {
    facts: Facts,
    /// Bytes read.
    pos: u32,
    /// Where the present element (method, target, version, name) began.
    mark: u32,
    /// Where the value after the colon began; before that, where the method ended.
    value: u32,
    fields: u16,
    state: State,
}

impl Scan {
    /// Whether nothing of a head was read yet.
    #[inline]
    pub fn is_fresh(&self) -> bool {
        self.pos == 0
    }

    /// Whether a request has begun: something other than empty lines came.
    pub fn has_begun(&self) -> bool {
        !matches!(self.state, State::Start | State::StartLf)
    }

    /// Reads on from where it stopped. `Ok(Some(n))`: the head is complete and has `n` bytes.
    /// `Ok(None)`: all of `buf` was read, more is needed.
    pub(super) fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        let head_size = limits.head_size.min(u32::MAX as usize);
        while self.state != State::Done {
            let at = self.pos as usize;
            let Some(&b) = buf.get(at) else { return Ok(None) };
            if at >= head_size {
                return Err(Reject::HeadTooLarge);
            }
            self.state = match self.state {
                State::Start | State::StartLf | State::Method | State::Target => {
                    self.request(buf, at, b, limits)?
                }
                State::Version | State::RequestLf => self.version(buf, at, b)?,
                State::FieldStart | State::Name | State::Value | State::ValueLf => {
                    self.field(buf, at, b, limits)?
                }
                State::EndLf if b == b'\n' => {
                    self.facts.request_framing()?;
                    State::Done
                }
                State::EndLf => return Err(Reject::BareCr),
                State::Done => State::Done,
            };
            self.pos += 1;
        }
        Ok(Some(self.pos as usize))
    }

    fn request(&mut self, buf: &[u8], at: usize, b: u8, limits: &Limits) -> Result<State, Reject> {
        let mark = self.mark as usize;
        Ok(match (self.state, b) {
            (State::Start, b'\r') => State::StartLf,
            (State::StartLf, b'\n') => State::Start,
            (State::StartLf, _) => return Err(Reject::BareCr),
            (State::Start, b'\n') => return Err(Reject::BareLf),
            (State::Start, _) if text::is_token(b) => {
                self.mark = self.pos;
                State::Method
            }
            (State::Method, b' ') => {
                self.value = self.pos;
                self.mark = self.pos + 1;
                State::Target
            }
            (State::Method, _) if text::is_token(b) && at - mark >= Method::MAX_LEN => {
                return Err(Reject::MethodTooLong);
            }
            (State::Method, _) if text::is_token(b) => State::Method,
            (State::Target, b' ') if at > mark => {
                self.check_target(buf, mark, at)?;
                self.mark = self.pos + 1;
                State::Version
            }
            (State::Target, _) if text::is_target(b) && at - mark >= limits.target_size => {
                return Err(Reject::TargetTooLong);
            }
            (State::Target, _) if text::is_target(b) => State::Target,
            (State::Target, b'\r' | b'\n' | b' ') => return Err(Reject::BadRequestLine),
            (State::Target, _) => return Err(Reject::BadTarget),
            _ => return Err(Reject::BadRequestLine),
        })
    }

    fn check_target(&self, buf: &[u8], mark: usize, at: usize) -> Result<(), Reject> {
        let method_end = self.value as usize;
        let line = &buf[..method_end];
        let start = memchr::memrchr(b'\n', line).map_or(0, |lf| lf + 1);
        let method = std::str::from_utf8(&line[start..]).map_err(|_| Reject::BadRequestLine)?;
        Target::parse(Method::new(method), &buf[mark..at]).map(|_| ())
    }

    fn version(&mut self, buf: &[u8], at: usize, b: u8) -> Result<State, Reject> {
        if self.state == State::RequestLf {
            return if b == b'\n' { Ok(State::FieldStart) } else { Err(Reject::BareCr) };
        }
        match (at - self.mark as usize, b) {
            (n @ 0..=4, _) if b == b"HTTP/"[n] => {}
            (5, b'0'..=b'9') | (6, b'.') => {}
            (7, b'0'..=b'9') => {
                let version = match (buf[at - 2], b) {
                    (b'1', b'0') => Version::Http10,
                    (b'1', b'1') => Version::Http11,
                    _ => return Err(Reject::UnsupportedVersion),
                };
                self.facts = Facts::new(version);
            }
            (8, b'\r') => return Ok(State::RequestLf),
            (8, b'\n') => return Err(Reject::BareLf),
            _ => return Err(Reject::BadRequestLine),
        }
        Ok(State::Version)
    }

    fn field(&mut self, buf: &[u8], at: usize, b: u8, limits: &Limits) -> Result<State, Reject> {
        Ok(match (self.state, b) {
            (State::FieldStart, b'\r') => State::EndLf,
            (State::FieldStart, b' ' | b'\t') => return Err(Reject::ObsFold),
            (State::FieldStart, _) if text::is_token(b) => {
                if usize::from(self.fields) >= limits.head_fields.min(Limits::MAX_FIELDS) {
                    return Err(Reject::TooManyFields);
                }
                self.fields += 1;
                self.mark = self.pos;
                State::Name
            }
            (State::Name, b':') => {
                self.value = self.pos + 1;
                State::Value
            }
            (State::Name, b' ' | b'\t') => return Err(Reject::SpaceBeforeColon),
            (State::Name, _) if text::is_token(b) => State::Name,
            (State::FieldStart | State::Name | State::Value, b'\n') => return Err(Reject::BareLf),
            (State::FieldStart | State::Name, _) => return Err(Reject::BadFieldName),
            (State::Value, b'\r') => State::ValueLf,
            (State::Value, _) if text::is_value(b) => State::Value,
            (State::Value, _) => return Err(Reject::BadFieldValue),
            (State::ValueLf, b'\n') => {
                let value = self.value as usize;
                self.facts.note(&buf[self.mark as usize..value - 1], text::trim(&buf[value..at - 1]))?;
                State::FieldStart
            }
            _ => return Err(Reject::BareCr),
        })
    }
}
