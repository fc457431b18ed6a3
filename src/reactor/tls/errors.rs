//! What rustls' errors come down to.

use super::TlsFault;
use rustls::Error;

/// The fault that an error is. Whatever is not an alert of the peer and does not concern its certificate is a breach of protocol.
pub(super) fn of(error: &Error) -> TlsFault {
    match error {
        Error::AlertReceived(_) => TlsFault::Alert,
        Error::NoCertificatesPresented
        | Error::UnsupportedNameType
        | Error::InvalidCertificate(_)
        | Error::InvalidCertRevocationList(_) => TlsFault::Certificate,
        _ => TlsFault::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{
        AlertDescription, CertRevocationListError, CertificateError, ContentType, InvalidMessage,
        PeerIncompatible, PeerMisbehaved,
    };

    #[test]
    fn each_kind_of_error_comes_down_to_its_fault() {
        let table = [
            (Error::AlertReceived(AlertDescription::UnknownCA), TlsFault::Alert),
            (Error::AlertReceived(AlertDescription::HandshakeFailure), TlsFault::Alert),
            (Error::NoCertificatesPresented, TlsFault::Certificate),
            (Error::UnsupportedNameType, TlsFault::Certificate),
            (Error::InvalidCertificate(CertificateError::Expired), TlsFault::Certificate),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), TlsFault::Certificate),
            (Error::InvalidCertRevocationList(CertRevocationListError::BadSignature), TlsFault::Certificate),
            (Error::DecryptError, TlsFault::Protocol),
            (Error::PeerSentOversizedRecord, TlsFault::Protocol),
            (Error::InvalidMessage(InvalidMessage::InvalidContentType), TlsFault::Protocol),
            (Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments), TlsFault::Protocol),
            (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), TlsFault::Protocol),
            (Error::NoApplicationProtocol, TlsFault::Protocol),
            (
                Error::InappropriateMessage {
                    expect_types: vec![ContentType::Handshake],
                    got_type: ContentType::ApplicationData,
                },
                TlsFault::Protocol,
            ),
        ];
        for (error, fault) in table {
            assert_eq!(of(&error), fault, "{error:?}");
        }
    }
}
