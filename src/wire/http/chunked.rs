//! The chunked transfer coding, read incrementally (RFC 9112, 7.1).
//!
//! [`Decoder::advance`] takes what has come and gives back the next run of data inside it. It never copies, consumes
//! exactly the body and not a byte behind it, and gives the same data for any split of the input. Strict: CRLF only,
//! extensions by their grammar, a size of at most 2^63-1, no whitespace but where the grammar has BWS.
//!
//! Chunk extensions and trailer fields are checked, counted against [`Limits`] and dropped: nobody here knows one,
//! and merging unknown trailers into the fields is forbidden (RFC 9110, 6.5.1).

use super::framing::MAX_LENGTH;
use super::{Reject, text};
use crate::wire::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeStart,
    Size,
    /// Whitespace after the size or an extension; only `;` may follow.
    BeforeSemicolon,
    /// After `;`.
    ExtStart,
    ExtName,
    /// Whitespace after an extension's name: `=` or `;` may follow.
    ExtNameEnd,
    /// After `=`.
    ExtValueStart,
    ExtToken,
    ExtQuoted,
    ExtEscape,
    /// After a quoted value or whitespace behind a value.
    ExtQuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
}

/// Where in a chunked body we are. 24 bytes; a new one is before the first chunk.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// The size being read, or the data of this chunk still to come.
    left: u64,
    /// Bytes of extensions so far; once in the trailer, bytes of trailer.
    spent: u32,
    /// Field lines of the trailer so far.
    fields: u16,
    /// Digits of this size so far.
    digits: u8,
    state: State,
}

/// What one call of [`Decoder::advance`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advance<'i> {
    /// Bytes of the input that are done with, the data included. Show the rest again.
    pub consumed: usize,
    /// The next run of body bytes; may be empty.
    pub data: &'i [u8],
    /// The body is over: `consumed` ends behind it.
    pub done: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Before the first chunk.
    pub fn new() -> Self {
        Decoder { left: 0, spent: 0, fields: 0, digits: 0, state: State::SizeStart }
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads until the end of a run of data, the end of the body, or the end of `input`. Call it again with
    /// `input[consumed..]` while it consumes anything and is not done. After an error it is of no more use.
    pub fn advance<'i>(&mut self, input: &'i [u8], limits: &Limits) -> Result<Advance<'i>, Reject> {
        let mut at = 0;
        while let Some(&b) = input.get(at) {
            match self.state {
                State::Done => break,
                State::Data => {
                    let rest = &input[at..];
                    let len = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                    self.left -= len as u64;
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Advance { consumed: at + len, data: &rest[..len], done: false });
                }
                State::SizeStart => self.state = self.digit(b)?,
                State::Size => {
                    self.state = match b {
                        b'\r' => State::SizeLf,
                        b'\n' => return Err(Reject::BareLf),
                        b';' => State::ExtStart,
                        b' ' | b'\t' => State::BeforeSemicolon,
                        _ => self.digit(b)?,
                    }
                }
                State::SizeLf => {
                    let next = if self.left == 0 { State::TrailerStart } else { State::Data };
                    self.state = lf(b, next)?;
                    self.digits = 0;
                    if next == State::TrailerStart {
                        self.spent = 0;
                    }
                }
                State::DataCr if b == b'\r' => self.state = State::DataLf,
                State::DataLf if b == b'\n' => self.state = State::SizeStart,
                State::DataCr | State::DataLf => return Err(Reject::BadChunkEnd),
                State::BeforeSemicolon
                | State::ExtStart
                | State::ExtName
                | State::ExtNameEnd
                | State::ExtValueStart
                | State::ExtToken
                | State::ExtQuoted
                | State::ExtEscape
                | State::ExtQuotedEnd => {
                    self.state = self.state.extension(b)?;
                    self.spend(limits.chunk_extensions, Reject::ChunkExtensionsTooLarge)?;
                }
                State::TrailerStart
                | State::TrailerName
                | State::TrailerValue
                | State::TrailerLf
                | State::EndLf => {
                    if self.state == State::TrailerStart && text::is_token(b) {
                        self.fields = self.fields.saturating_add(1);
                        if usize::from(self.fields) > limits.trailer_fields {
                            return Err(Reject::TrailerTooLarge);
                        }
                    }
                    self.state = self.state.trailer(b)?;
                    self.spend(limits.trailer_size, Reject::TrailerTooLarge)?;
                }
            }
            at += 1;
        }
        Ok(Advance { consumed: at, data: &[], done: self.is_done() })
    }

    fn spend(&mut self, limit: usize, reject: Reject) -> Result<(), Reject> {
        self.spent += 1;
        if self.spent as usize > limit { Err(reject) } else { Ok(()) }
    }

    fn digit(&mut self, b: u8) -> Result<State, Reject> {
        let digit = text::hex(b).ok_or(Reject::BadChunkSize)?;
        self.left = self.left << 4 | u64::from(digit);
        self.digits += 1;
        // Leading zeros are legal, but 16 digits are enough for any size.
        if self.digits > 16 || self.left > MAX_LENGTH { Err(Reject::BadChunkSize) } else { Ok(State::Size) }
    }
}

impl State {
    /// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`, one byte of it.
    fn extension(self, b: u8) -> Result<State, Reject> {
        let blank = b == b' ' || b == b'\t';
        let next = match self {
            State::BeforeSemicolon if blank => Some(State::BeforeSemicolon),
            State::BeforeSemicolon => (b == b';').then_some(State::ExtStart),
            State::ExtStart if blank => Some(State::ExtStart),
            State::ExtStart => text::is_token(b).then_some(State::ExtName),
            State::ExtName => match b {
                b' ' | b'\t' => Some(State::ExtNameEnd),
                b'=' => Some(State::ExtValueStart),
                b';' => Some(State::ExtStart),
                b'\r' => Some(State::SizeLf),
                _ => text::is_token(b).then_some(State::ExtName),
            },
            State::ExtNameEnd => match b {
                b' ' | b'\t' => Some(State::ExtNameEnd),
                b'=' => Some(State::ExtValueStart),
                b';' => Some(State::ExtStart),
                _ => None,
            },
            State::ExtValueStart => match b {
                b' ' | b'\t' => Some(State::ExtValueStart),
                b'"' => Some(State::ExtQuoted),
                _ => text::is_token(b).then_some(State::ExtToken),
            },
            State::ExtToken | State::ExtQuotedEnd => match b {
                b' ' | b'\t' => Some(State::BeforeSemicolon),
                b';' => Some(State::ExtStart),
                b'\r' => Some(State::SizeLf),
                _ => (self == State::ExtToken && text::is_token(b)).then_some(State::ExtToken),
            },
            State::ExtQuoted => match b {
                b'"' => Some(State::ExtQuotedEnd),
                b'\\' => Some(State::ExtEscape),
                _ => text::is_value(b).then_some(State::ExtQuoted),
            },
            State::ExtEscape => text::is_value(b).then_some(State::ExtQuoted),
            State::SizeStart
            | State::Size
            | State::SizeLf
            | State::Data
            | State::DataCr
            | State::DataLf
            | State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLf
            | State::EndLf
            | State::Done => None,
        };
        next.ok_or(if b == b'\n' { Reject::BareLf } else { Reject::BadChunkExtension })
    }

    /// A field line of the trailer section, or the end of it, one byte.
    fn trailer(self, b: u8) -> Result<State, Reject> {
        match self {
            State::TrailerStart => match b {
                b'\r' => Ok(State::EndLf),
                b'\n' => Err(Reject::BareLf),
                b' ' | b'\t' => Err(Reject::ObsFold),
                _ if text::is_token(b) => Ok(State::TrailerName),
                _ => Err(Reject::BadFieldName),
            },
            State::TrailerName => match b {
                b':' => Ok(State::TrailerValue),
                b'\n' => Err(Reject::BareLf),
                b' ' | b'\t' => Err(Reject::SpaceBeforeColon),
                _ if text::is_token(b) => Ok(State::TrailerName),
                _ => Err(Reject::BadFieldName),
            },
            State::TrailerValue => match b {
                b'\r' => Ok(State::TrailerLf),
                b'\n' => Err(Reject::BareLf),
                _ if text::is_value(b) => Ok(State::TrailerValue),
                _ => Err(Reject::BadFieldValue),
            },
            State::TrailerLf => lf(b, State::TrailerStart),
            State::EndLf => lf(b, State::Done),
            State::SizeStart
            | State::Size
            | State::BeforeSemicolon
            | State::ExtStart
            | State::ExtName
            | State::ExtNameEnd
            | State::ExtValueStart
            | State::ExtToken
            | State::ExtQuoted
            | State::ExtEscape
            | State::ExtQuotedEnd
            | State::SizeLf
            | State::Data
            | State::DataCr
            | State::DataLf
            | State::Done => Err(Reject::BadFieldName),
        }
    }
}

/// After a CR: the LF that must follow.
fn lf(b: u8, next: State) -> Result<State, Reject> {
    if b == b'\n' { Ok(next) } else { Err(Reject::BareCr) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::emit;

    /// All data, and how much was consumed; `None` where more is needed.
    fn decode(pieces: &[&[u8]], limits: &Limits) -> Result<(Vec<u8>, Option<usize>), Reject> {
        let (mut decoder, mut data, mut total) = (Decoder::new(), Vec::new(), 0);
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let step = decoder.advance(rest, limits)?;
                assert!(step.consumed <= rest.len());
                data.extend_from_slice(step.data);
                total += step.consumed;
                rest = &rest[step.consumed..];
                if step.done {
                    return Ok((data, Some(total)));
                }
                if rest.is_empty() {
                    break;
                }
                assert!(step.consumed > 0);
            }
        }
        Ok((data, None))
    }

    fn whole(input: &str) -> Result<(String, Option<usize>), Reject> {
        let (data, end) = decode(&[input.as_bytes()], &Limits::default())?;
        Ok((String::from_utf8(data).unwrap(), end))
    }

    #[test]
    fn a_body_ends_exactly_where_it_ends() {
        assert_eq!(
            whole("5\r\nhello\r\n6\r\n world\r\n000\r\n\r\nGET"),
            Ok(("hello world".into(), Some(28)))
        );
        assert_eq!(whole("0\r\nVary: *\r\nX:\r\n\r\n"), Ok((String::new(), Some(18))));
        assert_eq!(whole("5\r\nhel"), Ok(("hel".into(), None)));
    }

    #[test]
    fn extensions_follow_their_grammar() {
        for good in ["a", "a=b", " ; a", " ;\ta = b", "a;b;c", "a=\"x\\\" \\\\y\"", "a=\"\";b", "a ;b"] {
            let semicolon = if good.starts_with(' ') { "" } else { ";" };
            assert!(whole(&format!("1{semicolon}{good}\r\nx\r\n0\r\n\r\n")).is_ok(), "{good}");
        }
        for bad in
            [";", "; ", ";=b", ";a=", ";a=\"x", ";a b", " ", " x", ";a=\"x\"y", ";a ", ";;a", ";a=\x01"]
        {
            assert_eq!(whole(&format!("1{bad}\r\nx")), Err(Reject::BadChunkExtension), "{bad}");
        }
    }

    #[test]
    fn each_fault_of_a_chunk_has_its_name() {
        for (bytes, want) in [
            ("\r\n", Reject::BadChunkSize),
            ("x", Reject::BadChunkSize),
            ("-1", Reject::BadChunkSize),
            ("8000000000000000", Reject::BadChunkSize),
            ("00000000000000001", Reject::BadChunkSize),
            ("1\n", Reject::BareLf),
            ("1\rx", Reject::BareCr),
            ("1;a\n", Reject::BareLf),
            ("1\r\nab", Reject::BadChunkEnd),
            ("1\r\na\n", Reject::BadChunkEnd),
            ("0\r\n\n", Reject::BareLf),
            ("0\r\na: b\n", Reject::BareLf),
            ("0\r\n a", Reject::ObsFold),
            ("0\r\na : b", Reject::SpaceBeforeColon),
            ("0\r\na: \0", Reject::BadFieldValue),
            ("0\r\n:", Reject::BadFieldName),
            ("0\r\n\rx", Reject::BareCr),
        ] {
            assert_eq!(whole(bytes), Err(want), "{bytes:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_have_limits_over_the_whole_body() {
        let limits = Limits { chunk_extensions: 8, trailer_size: 8, trailer_fields: 1, ..Limits::default() };
        let run = |s: &str| decode(&[s.as_bytes()], &limits).map(|(_, end)| end);
        assert_eq!(run("1;abcdefg\r\nx\r\n0\r\n\r\n"), Ok(Some(19)));
        assert_eq!(run("1;abc\r\nx\r\n1;abcde\r\n"), Err(Reject::ChunkExtensionsTooLarge));
        assert_eq!(run("0\r\na: b\r\n\r\n"), Ok(Some(11)));
        assert_eq!(run("0\r\na: bcde\r\n\r\n"), Err(Reject::TrailerTooLarge));
        assert_eq!(run("0\r\na:\r\nb:\r\n\r\n"), Err(Reject::TrailerTooLarge));
        let limits = Limits { trailer_fields: 1, ..Limits::default() };
        let run = |s: &str| decode(&[s.as_bytes()], &limits).map(|(_, end)| end);
        assert_eq!(run("0\r\na: b\r\n\r\n"), Ok(Some(11)));
        assert_eq!(run("0\r\na: b\r\nc: d\r\n\r\n"), Err(Reject::TrailerTooLarge));
    }

    proptest::proptest! {
        #[test]
        fn any_split_gives_the_data_of_the_whole(input in "([0-3]|1;a=b|2 ;c|A|\r\n|ab|x:y|\n| ){0,12}", at in 0usize..40) {
            let bytes = input.as_bytes();
            let (limits, at) = (Limits::default(), at.min(bytes.len()));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = decode(&[bytes], &limits);
            assert_eq!(decode(&[&bytes[..at], &bytes[at..]], &limits), whole);
            assert_eq!(decode(&single, &limits), whole);
        }

        #[test]
        fn what_was_written_in_chunks_is_read_back(pieces in proptest::collection::vec(proptest::collection::vec(0u8.., 0..40), 0..6), step in 1usize..9) {
            let mut wire = Vec::new();
            for piece in &pieces { emit::chunk(&mut wire, piece); }
            wire.extend_from_slice(emit::LAST_CHUNK);
            let end = wire.len();
            wire.extend_from_slice(b"next");
            let split: Vec<&[u8]> = wire.chunks(step).collect();
            assert_eq!(decode(&split, &Limits::default()), Ok((pieces.concat(), Some(end))));
        }
    }
}
