//! The incremental reader of request heads: the grammar, byte by byte.
//!
//! This is the norm. It gives its verdict at the first byte that is wrong, so a bad head is refused without waiting
//! for its end, and the verdict does not depend on how the bytes arrived. The fast path in [`head`](super::head) reads
//! whole heads in bigger steps and only ever says yes; for a no, or for a head that is not whole yet, it asks here.
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

/// How far an incomplete head was read. 32 bytes; `Default` is the beginning of a head. Between calls the bytes
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

    /// Reads on from where it stopped. `Ok(Some(n))`: the head is complete and has `n` bytes.
    /// `Ok(None)`: all of `buf` was read, more is needed.
    pub(super) fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Reject> {
        let head_size = limits.head_size.min(u32::MAX as usize);
        while self.state != State::Done {
            let at = self.pos as usize;
            // Said at the last byte that a head may have, not at the next: no buffer may have room for that.
            if at >= head_size {
                return Err(Reject::HeadTooLarge);
            }
            let Some(&b) = buf.get(at) else { return Ok(None) };
            self.state = self.step(buf, at, b, limits)?;
            self.pos += 1;
        }
        Ok(Some(self.pos as usize))
    }

    /// What byte `b`, at `at`, makes of the state.
    fn step(&mut self, buf: &[u8], at: usize, b: u8, limits: &Limits) -> Result<State, Reject> {
        let mark = self.mark as usize;
        match self.state {
            State::Start => match b {
                b'\r' => Ok(State::StartLf),
                b'\n' => Err(Reject::BareLf),
                _ if text::is_token(b) => {
                    self.mark = self.pos;
                    Ok(State::Method)
                }
                _ => Err(Reject::BadRequestLine),
            },
            State::StartLf => lf(b, State::Start),
            State::Method => match b {
                b' ' => {
                    self.value = self.pos;
                    self.mark = self.pos + 1;
                    Ok(State::Target)
                }
                _ if !text::is_token(b) => Err(Reject::BadRequestLine),
                _ if at - mark >= Method::MAX_LEN => Err(Reject::MethodTooLong),
                _ => Ok(State::Method),
            },
            State::Target => match b {
                b' ' if at > mark => {
                    self.check_target(buf, mark, at)?;
                    self.mark = self.pos + 1;
                    Ok(State::Version)
                }
                b'\r' | b'\n' | b' ' => Err(Reject::BadRequestLine),
                _ if !text::is_target(b) => Err(Reject::BadTarget),
                _ if at - mark >= limits.target_size => Err(Reject::TargetTooLong),
                _ => Ok(State::Target),
            },
            State::Version => self.version(buf, at, b),
            State::RequestLf => lf(b, State::FieldStart),
            State::FieldStart => self.field_start(b, limits),
            State::Name => match b {
                b':' => {
                    self.value = self.pos + 1;
                    Ok(State::Value)
                }
                b' ' | b'\t' => Err(Reject::SpaceBeforeColon),
                b'\n' => Err(Reject::BareLf),
                _ if text::is_token(b) => Ok(State::Name),
                _ => Err(Reject::BadFieldName),
            },
            State::Value => match b {
                b'\r' => Ok(State::ValueLf),
                b'\n' => Err(Reject::BareLf),
                _ if text::is_value(b) => Ok(State::Value),
                _ => Err(Reject::BadFieldValue),
            },
            State::ValueLf => {
                let next = lf(b, State::FieldStart)?;
                let value = self.value as usize;
                self.facts.note(&buf[mark..value - 1], text::trim(&buf[value..at - 1]))?;
                Ok(next)
            }
            State::EndLf => {
                let next = lf(b, State::Done)?;
                self.facts.request_framing()?;
                Ok(next)
            }
            State::Done => Ok(State::Done),
        }
    }

    fn field_start(&mut self, b: u8, limits: &Limits) -> Result<State, Reject> {
        match b {
            b'\r' => Ok(State::EndLf),
            b'\n' => Err(Reject::BareLf),
            b' ' | b'\t' => Err(Reject::ObsFold),
            _ if !text::is_token(b) => Err(Reject::BadFieldName),
            _ if usize::from(self.fields) >= limits.head_fields.min(Limits::MAX_FIELDS) => {
                Err(Reject::TooManyFields)
            }
            _ => {
                self.fields += 1;
                self.mark = self.pos;
                Ok(State::Name)
            }
        }
    }

    fn check_target(&self, buf: &[u8], mark: usize, at: usize) -> Result<(), Reject> {
        let method_end = self.value as usize;
        let line = &buf[..method_end];
        let start = memchr::memrchr(b'\n', line).map_or(0, |lf| lf + 1);
        let method = std::str::from_utf8(&line[start..]).map_err(|_| Reject::BadRequestLine)?;
        Target::parse(Method::new(method), &buf[mark..at]).map(|_| ())
    }

    fn version(&mut self, buf: &[u8], at: usize, b: u8) -> Result<State, Reject> {
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
}

/// After a CR: the LF that must follow.
fn lf(b: u8, next: State) -> Result<State, Reject> {
    if b == b'\n' { Ok(next) } else { Err(Reject::BareCr) }
}
