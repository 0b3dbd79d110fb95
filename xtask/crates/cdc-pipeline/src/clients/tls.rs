//! TLS as clients of databases speak it. Only `verify-full` looks at the server's certificate.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::endpoint::Tls;

/// Why a connection cannot be encrypted as is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// The server has no TLS.
    #[error("the server does not support TLS (`sslmode`)")]
    Unsupported,
    /// It was not to be encrypted, and the server takes no other.
    #[error("the server wants TLS (`sslmode`)")]
    Wanted,
    /// The certificate was signed by someone else.
    #[error("its certificate is not signed by an authority of {} (`sslrootcert`)", .0.display())]
    UnknownAuthority(
        /// The authorities' file.
        PathBuf,
    ),
    /// The certificate belongs to another server.
    #[error("its certificate is not for {expected} but for {}: name it so in `external`", .presented.join(", "))]
    WrongName {
        /// The name that was asked for.
        expected: String,
        /// What the certificate says.
        presented: Vec<String>,
    },
    /// The authorities cannot be used.
    #[error("cannot use {} (`sslrootcert`): {why}", .path.display())]
    Authority {
        /// Their file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Anything else, in the words of the TLS library.
    #[error("{0}")]
    Other(
        /// The words.
        String,
    ),
}

impl TlsProblem {
    /// What the first error of a chain that is about TLS means; none if none is.
    pub(super) fn of(error: &(dyn Error + 'static), ca: Option<&PathBuf>) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next.map(inside) {
            if let Some(found) = error.downcast_ref() {
                return Some(Self::of_library(found, ca));
            }
            next = error.source();
        }
        None
    }

    fn of_library(error: &rustls::Error, ca: Option<&PathBuf>) -> Self {
        match error {
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => TlsProblem::UnknownAuthority(ca.cloned().unwrap_or_default()),
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            }) => TlsProblem::WrongName {
                expected: expected.to_str().into_owned(),
                // In the library's words: `DnsName("localhost")`.
                presented: presented
                    .iter()
                    .map(|it| it.split('"').nth(1).unwrap_or(it).to_owned())
                    .collect(),
            },
            // Its first bytes are none of TLS.
            rustls::Error::InvalidMessage(_) => TlsProblem::Unsupported,
            other => TlsProblem::Other(other.to_string()),
        }
    }

    /// The key of the component that is to be corrected.
    pub fn key(&self) -> &'static str {
        match self {
            TlsProblem::UnknownAuthority(_) | TlsProblem::Authority { .. } => "sslrootcert",
            TlsProblem::WrongName { .. } => "external",
            TlsProblem::Unsupported | TlsProblem::Wanted | TlsProblem::Other(_) => "sslmode",
        }
    }
}

/// What an `io::Error` was made of, which is not its source; libraries wrap theirs again and again.
fn inside<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let made_of = error.downcast_ref::<io::Error>();
    match made_of.and_then(io::Error::get_ref) {
        Some(made_of) => inside(made_of),
        None => error,
    }
}

/// The authorities' file, where the server's certificate is checked.
pub(super) fn authorities(tls: &Tls) -> Option<&PathBuf> {
    match tls {
        Tls::VerifyFull { ca } => Some(ca),
        Tls::Disable | Tls::Prefer | Tls::Require => None,
    }
}

/// What the library needs to encrypt a connection; reads the authorities where they matter.
pub(super) fn config(tls: &Tls) -> Result<ClientConfig, TlsProblem> {
    crate::tls::install();
    let builder = ClientConfig::builder();
    let builder = match authorities(tls) {
        Some(ca) => builder.with_root_certificates(roots(ca)?),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(ring::default_provider()))),
    };
    Ok(builder.with_no_client_auth())
}

fn roots(path: &PathBuf) -> Result<RootCertStore, TlsProblem> {
    let unusable = |why: String| TlsProblem::Authority {
        path: path.clone(),
        why,
    };
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| unusable(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(unusable("it has no certificate in PEM".into())),
        false => Ok(roots),
    }
}

/// Takes every certificate whose key the server has.
#[derive(Debug)]
struct Anybody(CryptoProvider);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_found_however_often_it_is_wrapped() {
        let wrong = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let ca = PathBuf::from("ca.pem");
        let known = Some(TlsProblem::UnknownAuthority(ca.clone()));
        assert_eq!(TlsProblem::of(&wrong(), Some(&ca)), known);
        let once = io::Error::new(io::ErrorKind::InvalidData, wrong());
        assert_eq!(TlsProblem::of(&once, Some(&ca)), known);
        let twice = io::Error::other(once);
        assert_eq!(TlsProblem::of(&twice, Some(&ca)), known);
        let other = io::Error::other(io::Error::from(io::ErrorKind::ConnectionReset));
        assert_eq!(TlsProblem::of(&other, Some(&ca)), None);
    }
}
