//! TLS below the Kafka protocol: whom to trust, whom to expect, and what a failure means.
//!
//! Behind a port-forward a broker's certificate is checked against the bootstrap service's name, or
//! the name that the broker advertises.

use std::{fmt, io, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{error::KafkaError, routing::Destination};

/// How to recognise the brokers of a cluster.
#[derive(Clone)]
pub struct Tls {
    /// The certificates, in PEM, that sign the brokers' ones. No other authority is trusted.
    pub ca: Vec<u8>,
    /// The name in the certificate of whichever broker answers at a bootstrap address, if it is
    /// not the address's host: behind a port-forward it never is. Brokers that are dialled for
    /// themselves must show the host name that they advertise, wherever they are dialled.
    pub server_name: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &format_args!("{} bytes", self.ca.len()))
            .field("server_name", &self.server_name)
            .finish()
    }
}

/// Why there is no TLS connection to a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsProblem {
    /// The peer hung up instead of shaking hands.
    #[error(
        "it closed the connection during the handshake, as a listener without TLS does (or a port-forward whose target is not there)"
    )]
    Closed,
    /// The peer's first bytes are not TLS.
    #[error("what it sends is not TLS")]
    NotTls,
    /// The certificate was signed by someone else, perhaps with the same name.
    #[error("its certificate is not signed by the given CA")]
    UnknownAuthority,
    /// The certificate belongs to another server.
    #[error("its certificate is not for {expected} but for {}", .presented.join(", "))]
    WrongName {
        /// The name that was asked for.
        expected: String,
        /// What the certificate says, for example `DnsName("kafka.svc")`.
        presented: Vec<String>,
    },
    /// The name to expect is none.
    #[error("{0:?} is neither a DNS name nor an IP address, so no certificate can be for it")]
    InvalidName(
        /// What was given or advertised.
        String,
    ),
    /// Anything else, in the words of the TLS library: certificates that expired, versions and
    /// ciphers that are not shared, a broker that demands a client's certificate.
    #[error("{0}")]
    Other(
        /// The library's words.
        String,
    ),
}

impl TlsProblem {
    /// What an error of a TLS stream says about TLS; `None` if it is about the transport.
    pub(super) fn of(error: &io::Error) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
        Some(match error {
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::InvalidCertificate(
                // A CA of the same name with another key, like that of another Strimzi cluster.
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => Self::UnknownAuthority,
            rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            }) => Self::WrongName {
                expected: expected.to_str().into_owned(),
                presented: presented.clone(),
            },
            other => Self::Other(other.to_string()),
        })
    }

    /// Like [`TlsProblem::of`], for an error of the handshake.
    fn of_handshake(error: &io::Error) -> Self {
        match (Self::of(error), error.kind()) {
            (Some(problem), _) => problem,
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => Self::Closed,
            (None, _) => Self::Other(error.to_string()),
        }
    }
}

/// What makes TLS streams of TCP streams.
pub(super) struct Connector {
    tls: TlsConnector,
    bootstrap_name: Option<String>,
}

impl Connector {
    /// Reads the CA.
    pub(super) fn new(tls: &Tls) -> Result<Self, KafkaError> {
        cdc_base::tls::install();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&tls.ca) {
            let certificate = certificate.map_err(|error| KafkaError::Ca(error.to_string()))?;
            let added = roots.add(certificate);
            added.map_err(|error| KafkaError::Ca(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(KafkaError::Ca("it has no certificate in PEM".to_owned()));
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            tls: TlsConnector::from(Arc::new(config)),
            bootstrap_name: tls.server_name.clone(),
        })
    }

    /// Shakes hands with the broker at `destination`.
    pub(super) async fn connect(
        &self,
        destination: &Destination,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, KafkaError> {
        let failed = |problem| KafkaError::Tls {
            address: destination.address.clone(),
            problem,
        };
        let name = self.expected(destination);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| failed(TlsProblem::InvalidName(name.to_owned())))?;
        let connected = self.tls.connect(name, stream).await;
        connected.map_err(|error| failed(TlsProblem::of_handshake(&error)))
    }

    /// The name that the certificate must have.
    fn expected<'a>(&'a self, destination: &'a Destination) -> &'a str {
        let given = || self.bootstrap_name.as_deref();
        let advertised = destination.advertised_host.as_deref();
        advertised.or_else(given).unwrap_or_else(|| {
            let address = destination.address.as_str();
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            host.trim_start_matches('[').trim_end_matches(']')
        })
    }
}
