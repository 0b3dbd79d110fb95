//! TLS below PostgreSQL's protocol.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

use crate::clients::tls::{TlsProblem, authorities, config};
use crate::endpoint::Tls;

/// What an error of a connection says about TLS; none if it is about something else.
pub(super) fn problem(error: &tokio_postgres::Error) -> Option<TlsProblem> {
    let source = error.source()?;
    if let Some(problem) = source.downcast_ref::<TlsProblem>() {
        return Some(problem.clone());
    }
    let says = source.to_string();
    (says == "server does not support TLS").then_some(TlsProblem::Unsupported)
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
        Ok(Connector {
            tls: TlsConnector::from(Arc::new(config(tls)?)),
            ca: authorities(tls).cloned(),
        })
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
            done.map(Stream).map_err(|error| {
                let found = TlsProblem::of(&error, connector.ca.as_ref());
                found.unwrap_or_else(|| TlsProblem::Other(error.to_string()))
            })
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
