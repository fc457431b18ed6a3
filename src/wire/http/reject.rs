//! Why a message is refused.

use std::fmt;

/// Why a message was refused. Closed on purpose: each has one status, and whoever adds one decides it here.
/// After any of these the input has no known position: answer (if anything) and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// The request line is not `method SP request-target SP HTTP-version CRLF` (RFC 9112, 3).
    BadRequestLine,
    /// The status line of a response is not as RFC 9112, 4 says.
    BadStatusLine,
    /// The request-target is in no form that its method allows, or has bytes no URI has (RFC 9112, 3.2).
    BadTarget,
    /// The request-target is longer than the limit.
    TargetTooLong,
    /// The path has an encoded `/` or `\`: a name that cannot exist here, so 404 (RFC 3986, 2.2).
    EncodedSeparator,
    /// The method is longer than any there is (RFC 9112, 3).
    MethodTooLong,
    /// Not HTTP/1.0 or HTTP/1.1.
    UnsupportedVersion,
    /// A field name has a byte that is no `tchar`, or is empty (RFC 9110, 5.1).
    BadFieldName,
    /// Whitespace between field name and colon (RFC 9112, 5.1).
    SpaceBeforeColon,
    /// A field value has a control character or NUL (RFC 9110, 5.5).
    BadFieldValue,
    /// A line ends with LF alone (RFC 9112, 2.2).
    BareLf,
    /// A CR that no LF follows (RFC 9112, 2.2).
    BareCr,
    /// A field line that begins with whitespace: obsolete line folding (RFC 9112, 5.2).
    ObsFold,
    /// The head is larger than the limit.
    HeadTooLarge,
    /// The head has more field lines than the limit.
    TooManyFields,
    /// HTTP/1.1 without a Host field (RFC 9112, 3.2).
    MissingHost,
    /// More than one Host field (RFC 9112, 3.2).
    DuplicateHost,
    /// The Host field is no `uri-host [":" port]` (RFC 9110, 7.2).
    BadHost,
    /// Content-Length is not digits, is beyond 2^63-1, or comes more than once (RFC 9110, 8.6).
    BadContentLength,
    /// Both Content-Length and Transfer-Encoding (RFC 9112, 6.1).
    ConflictingLength,
    /// Transfer-Encoding does not end in one `chunked`, or came with HTTP/1.0 (RFC 9112, 6.1 and 6.3).
    BadTransferEncoding,
    /// A transfer coding other than `chunked` comes before it (RFC 9112, 6.1).
    UnknownTransferEncoding,
    /// An expectation other than `100-continue` (RFC 9110, 10.1.1).
    UnknownExpectation,
    /// The chunk size is not hexadecimal digits, or beyond 2^63-1 (RFC 9112, 7.1).
    BadChunkSize,
    /// The chunk extension is malformed (RFC 9112, 7.1.1).
    BadChunkExtension,
    /// More bytes of chunk extensions than the limit.
    ChunkExtensionsTooLarge,
    /// Chunk data is not followed by CRLF (RFC 9112, 7.1).
    BadChunkEnd,
    /// The trailer section is larger than the limit, or has more fields.
    TrailerTooLarge,
}

impl Reject {
    /// Every value there is, for tables, metrics and tests.
    pub const ALL: [Reject; 28] = [
        Reject::BadRequestLine,
        Reject::BadStatusLine,
        Reject::BadTarget,
        Reject::TargetTooLong,
        Reject::EncodedSeparator,
        Reject::MethodTooLong,
        Reject::UnsupportedVersion,
        Reject::BadFieldName,
        Reject::SpaceBeforeColon,
        Reject::BadFieldValue,
        Reject::BareLf,
        Reject::BareCr,
        Reject::ObsFold,
        Reject::HeadTooLarge,
        Reject::TooManyFields,
        Reject::MissingHost,
        Reject::DuplicateHost,
        Reject::BadHost,
        Reject::BadContentLength,
        Reject::ConflictingLength,
        Reject::BadTransferEncoding,
        Reject::UnknownTransferEncoding,
        Reject::UnknownExpectation,
        Reject::BadChunkSize,
        Reject::BadChunkExtension,
        Reject::ChunkExtensionsTooLarge,
        Reject::BadChunkEnd,
        Reject::TrailerTooLarge,
    ];

    /// The status code to answer with.
    pub const fn status(self) -> u16 {
        match self {
            Reject::EncodedSeparator => 404,
            Reject::TargetTooLong => 414,
            Reject::UnknownExpectation => 417,
            Reject::HeadTooLarge | Reject::TooManyFields | Reject::TrailerTooLarge => 431,
            Reject::MethodTooLong | Reject::UnknownTransferEncoding => 501,
            Reject::BadStatusLine => 502,
            Reject::UnsupportedVersion => 505,
            Reject::BadRequestLine
            | Reject::BadTarget
            | Reject::BadFieldName
            | Reject::SpaceBeforeColon
            | Reject::BadFieldValue
            | Reject::BareLf
            | Reject::BareCr
            | Reject::ObsFold
            | Reject::MissingHost
            | Reject::DuplicateHost
            | Reject::BadHost
            | Reject::BadContentLength
            | Reject::ConflictingLength
            | Reject::BadTransferEncoding
            | Reject::BadChunkSize
            | Reject::BadChunkExtension
            | Reject::ChunkExtensionsTooLarge
            | Reject::BadChunkEnd => 400,
        }
    }

    /// One sentence for people: for logs and for the body of the answer.
    pub const fn reason(self) -> &'static str {
        match self {
            Reject::BadRequestLine => "The request line is not method, target and version.",
            Reject::BadStatusLine => "The status line is malformed.",
            Reject::BadTarget => "The request target is malformed.",
            Reject::TargetTooLong => "The request target is too long.",
            Reject::EncodedSeparator => "The path has an encoded slash or backslash.",
            Reject::MethodTooLong => "The method is not implemented.",
            Reject::UnsupportedVersion => "The HTTP version is not supported.",
            Reject::BadFieldName => "A field name has an illegal character.",
            Reject::SpaceBeforeColon => "There is whitespace between a field name and its colon.",
            Reject::BadFieldValue => "A field value has an illegal character.",
            Reject::BareLf => "A line ends with LF instead of CRLF.",
            Reject::BareCr => "A CR is not followed by LF.",
            Reject::ObsFold => "A field line begins with whitespace.",
            Reject::HeadTooLarge => "The head is too large.",
            Reject::TooManyFields => "The head has too many fields.",
            Reject::MissingHost => "The Host field is missing.",
            Reject::DuplicateHost => "There is more than one Host field.",
            Reject::BadHost => "The Host field is malformed.",
            Reject::BadContentLength => "The Content-Length field is malformed.",
            Reject::ConflictingLength => "There is both a Content-Length and a Transfer-Encoding.",
            Reject::BadTransferEncoding => "The Transfer-Encoding does not end in chunked.",
            Reject::UnknownTransferEncoding => "The transfer coding is not implemented.",
            Reject::UnknownExpectation => "The expectation cannot be met.",
            Reject::BadChunkSize => "A chunk size is malformed.",
            Reject::BadChunkExtension => "A chunk extension is malformed.",
            Reject::ChunkExtensionsTooLarge => "The chunk extensions are too large.",
            Reject::BadChunkEnd => "The data of a chunk is not followed by CRLF.",
            Reject::TrailerTooLarge => "The trailer section is too large.",
        }
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Reject {}
