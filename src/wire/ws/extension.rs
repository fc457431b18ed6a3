//! `Sec-WebSocket-Extensions` (RFC 6455, 9.1) and the negotiation of permessage-deflate (RFC 7692, 5 and 7.1).
//!
//! A field that breaks the grammar fails the handshake. An offer that is grammatical but not acceptable (unknown,
//! doubled or senseless parameters, a window of 8 bits that zlib cannot make) is declined, and the next is looked at.

use super::Role;
use std::borrow::Cow;

/// Most extensions, and most parameters of one, that are read.
const MOST: usize = 16;
const NAME: &str = "permessage-deflate";

/// The field is not what RFC 6455, 9.1 allows, or has more than 16 extensions, or one with more than 16 parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One extension with its parameters, as the field has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name. Case counts.
    pub name: &'a str,
    /// Parameters in order; a quoted value without its quotes.
    pub params: Vec<(&'a str, Option<Cow<'a, str>>)>,
}

/// Appends the extensions that one field value lists to `list`. Empty list elements are skipped.
///
/// # Errors
/// [`Malformed`]; `list` may then hold what came before the fault.
pub fn parse_list<'a>(value: &'a [u8], list: &mut Vec<Extension<'a>>) -> Result<(), Malformed> {
    let mut rest = Scan(value);
    loop {
        rest.spaces();
        if rest.0.is_empty() {
            return Ok(());
        }
        if rest.eat(b',') {
            continue;
        }
        if list.len() == MOST {
            return Err(Malformed);
        }
        list.push(rest.extension()?);
        if !rest.0.is_empty() && !rest.eat(b',') {
            return Err(Malformed);
        }
    }
}

struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn spaces(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.0 {
            self.0 = rest;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn token(&mut self) -> Result<&'a str, Malformed> {
        let n = self.0.iter().take_while(|b| is_token_byte(**b)).count();
        let (token, rest) = self.0.split_at(n);
        self.0 = rest;
        if n == 0 { Err(Malformed) } else { std::str::from_utf8(token).map_err(|_| Malformed) }
    }

    /// `extension-param *( ";" extension-param )`, up to the comma or the end.
    fn extension(&mut self) -> Result<Extension<'a>, Malformed> {
        let mut extension = Extension { name: self.token()?, params: Vec::new() };
        self.spaces();
        while self.eat(b';') {
            if extension.params.len() == MOST {
                return Err(Malformed);
            }
            self.spaces();
            let name = self.token()?;
            self.spaces();
            let mut value = None;
            if self.eat(b'=') {
                self.spaces();
                value = Some(if self.eat(b'"') { self.quoted()? } else { Cow::Borrowed(self.token()?) });
                self.spaces();
            }
            extension.params.push((name, value));
        }
        Ok(extension)
    }

    /// The rest of a quoted string. Unescaped, it must be a token (9.1).
    fn quoted(&mut self) -> Result<Cow<'a, str>, Malformed> {
        let plain = self.0.iter().take_while(|b| is_token_byte(**b)).count();
        if plain > 0 && self.0.get(plain) == Some(&b'"') {
            let token = self.token()?;
            self.eat(b'"');
            return Ok(Cow::Borrowed(token));
        }
        let mut text = String::new();
        loop {
            let escaped = self.eat(b'\\');
            let [byte, rest @ ..] = self.0 else { return Err(Malformed) };
            self.0 = rest;
            if *byte == b'"' && !escaped {
                return if text.is_empty() { Err(Malformed) } else { Ok(Cow::Owned(text)) };
            }
            if !is_token_byte(*byte) {
                return Err(Malformed);
            }
            text.push(char::from(*byte));
        }
    }
}

/// A byte of a token (RFC 9110, 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// What a server is ready to agree to. The default: no takeover either way, windows of 15 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Keep our deflater from message to message, if the client lets us.
    pub server_takeover: bool,
    /// Keep an inflater per connection, if the client wants it.
    pub client_takeover: bool,
    /// Largest window of our deflater: 9..=15; what is outside is brought inside.
    pub server_bits: u8,
    /// Largest window of the client's deflater, where the client lets us say so: 8..=15.
    pub client_bits: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { server_takeover: false, client_takeover: false, server_bits: 15, client_bits: 15 }
    }
}

/// One acceptable-looking offer of permessage-deflate; also the shape of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeflateOffer {
    /// `server_no_context_takeover`.
    pub server_no_takeover: bool,
    /// `client_no_context_takeover`.
    pub client_no_takeover: bool,
    /// `server_max_window_bits`, 8..=15.
    pub server_bits: Option<u8>,
    /// `client_max_window_bits`: there, and its value (8..=15) if it has one.
    pub client_bits: Option<Option<u8>>,
}

impl DeflateOffer {
    /// The offer in `extension`, or `None` if it is no permessage-deflate or must be declined (RFC 7692, 7.1).
    #[must_use]
    pub fn read(extension: &Extension<'_>) -> Option<Self> {
        if extension.name != NAME {
            return None;
        }
        let mut offer = Self::default();
        for (name, value) in &extension.params {
            match (*name, value.as_deref()) {
                ("server_no_context_takeover", None) if !offer.server_no_takeover => {
                    offer.server_no_takeover = true
                }
                ("client_no_context_takeover", None) if !offer.client_no_takeover => {
                    offer.client_no_takeover = true
                }
                ("server_max_window_bits", Some(bits)) if offer.server_bits.is_none() => {
                    offer.server_bits = Some(window_bits(bits)?);
                }
                ("client_max_window_bits", None) if offer.client_bits.is_none() => {
                    offer.client_bits = Some(None)
                }
                ("client_max_window_bits", Some(bits)) if offer.client_bits.is_none() => {
                    offer.client_bits = Some(Some(window_bits(bits)?));
                }
                _ => return None,
            }
        }
        Some(offer)
    }

    /// Appends the offer as a field value: what a client sends.
    pub fn emit(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(NAME.as_bytes());
        if self.server_no_takeover {
            out.extend_from_slice(b"; server_no_context_takeover");
        }
        if self.client_no_takeover {
            out.extend_from_slice(b"; client_no_context_takeover");
        }
        if let Some(bits) = self.server_bits {
            out.extend_from_slice(b"; server_max_window_bits=");
            push_bits(bits, out);
        }
        match self.client_bits {
            None => {}
            Some(None) => out.extend_from_slice(b"; client_max_window_bits"),
            Some(Some(bits)) => {
                out.extend_from_slice(b"; client_max_window_bits=");
                push_bits(bits, out);
            }
        }
    }
}

/// 8 to 15 in decimal, no leading zero (7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [d @ b'8'..=b'9'] => Some(d - b'0'),
        [b'1', d @ b'0'..=b'5'] => Some(10 + d - b'0'),
        _ => None,
    }
}

fn push_bits(bits: u8, out: &mut Vec<u8>) {
    let bits = bits.clamp(8, 15);
    if bits >= 10 {
        out.push(b'1');
    }
    out.push(b'0' + bits % 10);
}

/// What client and server agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    server_bits: u8,
    client_bits: u8,
    server_takeover: bool,
    client_takeover: bool,
    /// The offer had `server_max_window_bits`, so the answer must have it.
    says_server_bits: bool,
}

impl Agreed {
    /// The server's choice: the first offer that can be accepted, on the best terms that `policy` allows.
    ///
    /// `server_max_window_bits=8` is declined: zlib makes no raw stream with 8, and the answer must not be above what
    /// was asked for.
    #[must_use]
    pub fn choose(offers: &[DeflateOffer], policy: &Policy) -> Option<Self> {
        let offer = offers.iter().find(|offer| offer.server_bits != Some(8))?;
        let most = policy.server_bits.clamp(9, 15);
        let client_bits = match offer.client_bits {
            None => 15,
            Some(hint) => policy.client_bits.clamp(8, 15).min(hint.unwrap_or(15)),
        };
        Some(Self {
            server_bits: offer.server_bits.unwrap_or(15).min(most),
            client_bits,
            server_takeover: policy.server_takeover && !offer.server_no_takeover,
            client_takeover: policy.client_takeover && !offer.client_no_takeover,
            says_server_bits: offer.server_bits.is_some(),
        })
    }

    /// The client's view of the server's answer to `offer`, or `None` if the answer is not one to that offer
    /// (RFC 7692, 7.1), and the handshake fails.
    #[must_use]
    pub fn from_answer(answer: &Extension<'_>, offer: &DeflateOffer) -> Option<Self> {
        let said = DeflateOffer::read(answer)?;
        let client_bits = match (said.client_bits, offer.client_bits) {
            (None, _) => 15,
            (Some(Some(bits)), Some(hint)) if bits <= hint.unwrap_or(15) => bits,
            (Some(_), _) => return None,
        };
        if offer.server_no_takeover && !said.server_no_takeover {
            return None;
        }
        if offer.server_bits.is_some_and(|most| said.server_bits.is_none_or(|bits| bits > most)) {
            return None;
        }
        Some(Self {
            server_bits: said.server_bits.unwrap_or(15),
            client_bits,
            server_takeover: !said.server_no_takeover,
            client_takeover: !said.client_no_takeover && !offer.client_no_takeover,
            says_server_bits: said.server_bits.is_some(),
        })
    }

    /// Window bits (8..=15) and takeover of what we send in this `role`.
    #[must_use]
    pub const fn sending(self, role: Role) -> (u8, bool) {
        match role {
            Role::Server => (self.server_bits, self.server_takeover),
            Role::Client => (self.client_bits, self.client_takeover),
        }
    }

    /// Window bits (8..=15) and takeover of what we receive in this `role`.
    #[must_use]
    pub const fn receiving(self, role: Role) -> (u8, bool) {
        match role {
            Role::Server => (self.client_bits, self.client_takeover),
            Role::Client => (self.server_bits, self.server_takeover),
        }
    }

    /// Appends the server's answer as a field value.
    pub fn emit(&self, out: &mut Vec<u8>) {
        let said = DeflateOffer {
            server_no_takeover: !self.server_takeover,
            client_no_takeover: !self.client_takeover,
            server_bits: (self.says_server_bits || self.server_bits < 15).then_some(self.server_bits),
            client_bits: (self.client_bits < 15).then_some(Some(self.client_bits)),
        };
        said.emit(out);
    }
}

#[cfg(test)]
mod tests;
