//! WebSocket syntax (RFC 6455) and permessage-deflate (RFC 7692): bytes to values and back.
//!
//! | file | what it knows |
//! |---|---|
//! | `frame` | one frame header, strictly checked, and its emission |
//! | `mask` | the XOR mask, by words |
//! | `close` | close codes and reasons |
//! | `assemble` | frames to messages, over any split of the input; fail-fast UTF-8; limits |
//! | `deflate` | the compressor and the inflater, shared by a worker or owned by a connection |
//! | `extension` | the grammar of `Sec-WebSocket-Extensions` and the negotiation of permessage-deflate |
//! | `handshake` | the opening handshake, both sides |
//!
//! Invariants:
//! 1. Nothing here does I/O, reads a clock or decides a policy: every limit is an argument.
//! 2. Bytes that were not reported as consumed are untouched, and are shown again, longer, on the next call.
//! 3. What is allocated is proportional to what was received, never to what a length field announces.
//! 4. A read split at any byte gives the same events and the same violation as the whole input at once.
//! 5. An idle connection holds no buffer: [`Assembler`] is 24 bytes and owns nothing between messages.

pub mod assemble;
pub mod close;
pub mod deflate;
pub mod extension;
pub mod frame;
pub mod handshake;
pub mod mask;

pub use assemble::{Assembler, Desk, Event, Limits};
pub use close::Code;
pub use deflate::{Compressors, Deflater, Inflater};
pub use extension::{Agreed, Policy};
pub use frame::{Header, Opcode};

/// Which side reads. A server reads masked frames, a client unmasked ones (RFC 6455, 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We are the server: every frame that comes in must be masked.
    Server,
    /// We are the client: no frame that comes in may be masked.
    Client,
}

/// How the peer broke the protocol. The connection fails: a close frame with [`Violation::close_code`], then the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// RSV1 without an extension that uses it (or not on the first frame of a message), RSV2 or RSV3 (5.2).
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15 (5.2).
    ReservedOpcode,
    /// A length that a shorter form could have carried (5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (5.2).
    LengthTopBit,
    /// A control frame that announces more than 125 bytes (5.5).
    ControlTooLong,
    /// A control frame without FIN (5.5).
    ControlFragmented,
    /// A client's frame without a mask (5.1).
    MaskMissing,
    /// A server's frame with a mask (5.1).
    MaskForbidden,
    /// A continuation without a message to continue (5.4).
    NothingToContinue,
    /// A new message inside an unfinished one (5.4).
    MessageInterrupted,
    /// A close frame with one byte of payload (5.5.1).
    CloseTruncated,
    /// A close code that must not be on the wire (7.4).
    CloseCode,
    /// A close reason that is not UTF-8 (5.5.1).
    CloseReason,
    /// A text message that is not UTF-8 (8.1). Reported at the first byte that no continuation can repair.
    Utf8,
    /// A compressed message that is no valid DEFLATE data (RFC 7692, 7.2.2).
    Deflate,
    /// A frame above the frame limit.
    FrameTooBig,
    /// A message above the message limit, before or after inflation.
    MessageTooBig,
    /// A message that inflates by more than the allowed ratio.
    RatioTooBig,
    /// A kind of message that this endpoint does not take. Never raised here: for the machine above.
    Unsupported,
}

impl Violation {
    /// The code for the close frame that answers this violation (RFC 6455, 7.4.1).
    #[must_use]
    pub const fn close_code(self) -> Code {
        match self {
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::ControlTooLong
            | Self::ControlFragmented
            | Self::MaskMissing
            | Self::MaskForbidden
            | Self::NothingToContinue
            | Self::MessageInterrupted
            | Self::CloseTruncated
            | Self::CloseCode => Code::PROTOCOL,
            Self::CloseReason | Self::Utf8 | Self::Deflate => Code::INVALID_DATA,
            Self::FrameTooBig | Self::MessageTooBig | Self::RatioTooBig => Code::TOO_BIG,
            Self::Unsupported => Code::UNSUPPORTED,
        }
    }

    /// A short reason for the close frame, for logs and counters: ASCII, at most 40 bytes.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ReservedBits => "reserved bit set",
            Self::ReservedOpcode => "reserved opcode",
            Self::LengthNotMinimal => "length not minimal",
            Self::LengthTopBit => "length with top bit set",
            Self::ControlTooLong => "control frame too long",
            Self::ControlFragmented => "control frame fragmented",
            Self::MaskMissing => "frame not masked",
            Self::MaskForbidden => "frame masked",
            Self::NothingToContinue => "continuation of nothing",
            Self::MessageInterrupted => "message inside a message",
            Self::CloseTruncated => "close code truncated",
            Self::CloseCode => "close code not allowed",
            Self::CloseReason => "close reason not UTF-8",
            Self::Utf8 => "text not UTF-8",
            Self::Deflate => "compressed data broken",
            Self::FrameTooBig => "frame too big",
            Self::MessageTooBig => "message too big",
            Self::RatioTooBig => "message inflates too much",
            Self::Unsupported => "kind of message not taken",
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Violation {}
