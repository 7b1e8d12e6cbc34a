//! Who a client is to a server that asks for a certificate.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::tls::{ClientCert, PemItem, parse_pem};

/// A chain of certificates and the private key of the first one. It is never printed.
#[derive(Clone)]
pub struct Identity(ClientCert);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Why two texts are no identity. It repeats nothing of them.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum IdentityError {
    /// There is no certificate.
    #[error("there is no certificate in PEM form")]
    NoCertificate,
    /// There is no key, or it is encrypted.
    #[error("there is no private key in PEM form that is not encrypted")]
    NoKey,
    /// They do not belong together, or are of a kind that cannot be used.
    #[error("the certificate and the key cannot be used together")]
    Unusable {
        /// Why.
        source: rustls::Error,
    },
}

impl Identity {
    /// Reads a chain of certificates and a key, both as PEM.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn parse(certificates: &[u8], key: &[u8]) -> Result<Self, IdentityError> {
        let chain: Vec<_> = parse_pem(certificates)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if chain.is_empty() {
            return Err(IdentityError::NoCertificate);
        }
        let key = parse_pem(key).find_map(|item| match item {
            Ok(PemItem::PrivateKey(key)) => Some(key),
            _ => None,
        });
        let key = key.ok_or(IdentityError::NoKey)?;
        // What the connection would trip over later is found out now.
        let certificates = chain.iter().map(|part| CertificateDer::from(part.der().to_vec())).collect();
        let secret = PrivateKeyDer::try_from(key.der().to_vec()).map_err(|_| IdentityError::NoKey)?;
        rustls::sign::CertifiedKey::from_der(certificates, secret, &default_provider())
            .map_err(|source| IdentityError::Unusable { source })?;
        Ok(Self(ClientCert::new_with_certs(&chain, key)))
    }

    pub(super) fn shown(&self) -> ClientCert {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_identity_says_why() {
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let key = b"-----BEGIN PRIVATE KEY-----\nMAACAQA=\n-----END PRIVATE KEY-----\n";
        let parse = |certificate: &[u8], key: &[u8]| Identity::parse(certificate, key).unwrap_err();
        assert_eq!(parse(b"", key), IdentityError::NoCertificate);
        assert_eq!(parse(key, key), IdentityError::NoCertificate);
        assert_eq!(parse(certificate, b"x"), IdentityError::NoKey);
        let encrypted = String::from_utf8(key.to_vec()).unwrap().replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(parse(certificate, encrypted.as_bytes()), IdentityError::NoKey);
        assert!(matches!(parse(certificate, key), IdentityError::Unusable { .. }));
    }
}
