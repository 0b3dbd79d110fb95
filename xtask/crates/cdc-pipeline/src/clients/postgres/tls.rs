//! TLS below PostgreSQL's protocol. Only `verify-full` looks at the server's certificate.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

use crate::endpoint::Tls;

/// Why a connection cannot be encrypted as is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// The server has no TLS.
    #[error("the server does not support TLS (`sslmode`)")]
    Unsupported,
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
    /// What an error of a connection says about TLS; none if it is about something else.
    pub(super) fn of(error: &tokio_postgres::Error) -> Option<Self> {
        let source = error.source()?;
        if let Some(problem) = source.downcast_ref::<TlsProblem>() {
            return Some(problem.clone());
        }
        let says = source.to_string();
        (says == "server does not support TLS").then_some(TlsProblem::Unsupported)
    }

    /// What an error of the handshake means.
    fn of_handshake(error: &io::Error, ca: Option<PathBuf>) -> Self {
        let found = error.get_ref();
        match found.and_then(|it| it.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            )) => TlsProblem::UnknownAuthority(ca.unwrap_or_default()),
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            })) => TlsProblem::WrongName {
                expected: expected.to_str().into_owned(),
                presented: presented.clone(),
            },
            _ => TlsProblem::Other(error.to_string()),
        }
    }
}

/// What encrypts a connection.
#[derive(Clone)]
pub(super) struct Connector {
    tls: TlsConnector,
    ca: Option<PathBuf>,
}

impl Connector {
    /// Reads the authorities, where they matter.
    pub(super) fn new(tls: &Tls) -> Result<Self, TlsProblem> {
        crate::tls::install();
        let builder = ClientConfig::builder();
        let (config, ca) = match tls {
            Tls::VerifyFull { ca } => {
                let roots = roots(ca)?;
                (builder.with_root_certificates(roots), Some(ca.clone()))
            }
            Tls::Disable | Tls::Prefer | Tls::Require => {
                let anybody = Arc::new(Anybody(ring::default_provider()));
                let builder = builder
                    .dangerous()
                    .with_custom_certificate_verifier(anybody);
                (builder, None)
            }
        };
        Ok(Connector {
            tls: TlsConnector::from(Arc::new(config.with_no_client_auth())),
            ca,
        })
    }
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

/// A connection that is to be encrypted to a server of this name.
pub(super) struct Named {
    connector: Connector,
    name: ServerName<'static>,
}

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Named;
    type Error = TlsProblem;

    fn make_tls_connect(&mut self, host: &str) -> Result<Named, TlsProblem> {
        let name = ServerName::try_from(host.to_owned());
        Ok(Named {
            connector: self.clone(),
            name: name.map_err(|error| TlsProblem::Other(error.to_string()))?,
        })
    }
}

impl<S> TlsConnect<S> for Named
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = TlsProblem;
    type Future = Pin<Box<dyn Future<Output = Result<Stream<S>, TlsProblem>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let Named { connector, name } = self;
            let done = connector.tls.connect(name, stream).await;
            done.map(Stream)
                .map_err(|error| TlsProblem::of_handshake(&error, connector.ca))
        })
    }
}

/// An encrypted connection.
pub(super) struct Stream<S>(Encrypted<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
