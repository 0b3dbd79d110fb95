//! One connection to one broker: dialling, version negotiation, requests and answers.

use std::{collections::HashMap, future::Future, io, time::Duration};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::ApiVersionsRequest,
    protocol::{StrBytes, VersionRange},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

use super::{
    error::KafkaError,
    routing::Destination,
    sasl::{self, Sasl},
    tls::{Connector, TlsProblem},
    wire::{self, Api},
};

/// The largest answer accepted, in bytes, to anything but a fetch (which adds what it asked for).
/// The metadata of 100,000 partitions is below 10 MB; a record that is larger than a fetch asked for has some 40.
pub(super) const FRAME_LIMIT: usize = 64 << 20;

/// When an operation ends, however many requests it takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// A deadline `after` from now.
    pub(super) fn after(after: Duration) -> Self {
        Self {
            at: Instant::now() + after,
            after,
        }
    }

    /// The first of `attempts` equal parts of the time that is left.
    pub(super) fn part(self, attempts: usize) -> Self {
        let left = self.at.saturating_duration_since(Instant::now());
        let attempts = u32::try_from(attempts.max(1)).unwrap_or(u32::MAX);
        Self {
            at: Instant::now() + left / attempts,
            after: self.after / attempts,
        }
    }

    /// Milliseconds left, as the protocol's `timeout_ms` fields want them.
    pub(super) fn left_ms(self) -> i32 {
        let left = self.at.saturating_duration_since(Instant::now());
        i32::try_from(left.as_millis()).unwrap_or(i32::MAX)
    }

    /// Runs `future` until the deadline.
    pub(super) async fn bound<T>(
        self,
        what: impl FnOnce() -> String,
        future: impl Future<Output = Result<T, KafkaError>>,
    ) -> Result<T, KafkaError> {
        match tokio::time::timeout_at(self.at, future).await {
            Ok(result) => result,
            Err(_) => Err(KafkaError::Timeout {
                what: what(),
                after: self.after,
            }),
        }
    }
}

/// What a connection runs over: TCP or TLS.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What a connection needs before it can carry requests.
#[derive(Default)]
pub(super) struct Security {
    pub(super) tls: Option<Connector>,
    pub(super) sasl: Option<Sasl>,
}

/// Opens the transport to `address` (`host:port`).
async fn dial(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request is one write and then waits for its answer: there is nothing to coalesce.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection that carries one request at a time.
///
/// It is owned by whoever uses it. A request that fails or is cancelled half-way drops it, so no
/// later request can read an answer that was meant for another.
pub(super) struct Connection {
    destination: Destination,
    stream: Box<dyn Stream>,
    versions: HashMap<i16, VersionRange>,
    correlation: i32,
    idle_since: Instant,
}

impl Connection {
    /// Dials, secures the stream, asks which API versions the broker speaks, and logs in.
    pub(super) async fn open(
        destination: &Destination,
        security: &Security,
        deadline: Deadline,
    ) -> Result<Self, KafkaError> {
        let address = &destination.address;
        let stream = deadline
            .bound(|| format!("a connection to {address}"), async {
                dial(address).await.map_err(|cause| KafkaError::Connect {
                    address: address.clone(),
                    advertised_by: None,
                    cause,
                })
            })
            .await?;
        let stream: Box<dyn Stream> = match &security.tls {
            None => Box::new(stream),
            Some(tls) => {
                let waited_for = || format!("the TLS handshake from {address}");
                let shaken = deadline.bound(waited_for, tls.connect(destination, stream));
                Box::new(shaken.await?)
            }
        };
        let mut connection = Self::negotiate(destination, stream, deadline).await?;
        if let Some(sasl) = &security.sasl {
            sasl::log_in(&mut connection, sasl, deadline).await?;
        }
        Ok(connection)
    }

    /// Whether the listener wants a login, as the error that says so. It is asked over a connection
    /// of its own; if that fails, nothing is known.
    pub(super) async fn login_wanted(
        destination: &Destination,
        security: &Security,
        deadline: Deadline,
    ) -> Option<KafkaError> {
        let mut connection = Self::open(destination, security, deadline).await.ok()?;
        let offered = sasl::offered(&mut connection, deadline).await.ok()?;
        offered.map(|offered| KafkaError::LoginWanted {
            address: destination.address.clone(),
            offered,
        })
    }

    /// Makes a connection of an open stream.
    async fn negotiate(
        destination: &Destination,
        stream: Box<dyn Stream>,
        deadline: Deadline,
    ) -> Result<Self, KafkaError> {
        let mut connection = Self {
            destination: destination.clone(),
            stream,
            versions: HashMap::from([(ApiVersionsRequest::KEY, ApiVersionsRequest::SPOKEN)]),
            correlation: 0,
            idle_since: Instant::now(),
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("cdc-xtask"))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let response = connection.call(&request, FRAME_LIMIT, deadline).await?;
        let subject = || destination.address.clone();
        ApiVersionsRequest::check(response.error_code, subject, None)?;
        connection.versions = response
            .api_keys
            .iter()
            .map(|api| {
                let range = VersionRange {
                    min: api.min_version,
                    max: api.max_version,
                };
                (api.api_key, range)
            })
            .collect();
        Ok(connection)
    }

    /// Sends `request` and waits for its answer, which may be `limit` bytes long.
    ///
    /// After an error the connection is of no further use.
    pub(super) async fn call<A: Api>(
        &mut self,
        request: &A,
        limit: usize,
        deadline: Deadline,
    ) -> Result<A::Response, KafkaError> {
        let version = self.version::<A>()?;
        self.correlation = self.correlation.wrapping_add(1);
        let correlation = self.correlation;
        let frame = wire::encode(request, version, correlation).map_err(|detail| {
            KafkaError::Unsupported(format!("cannot encode the {} request: {detail}", A::NAME))
        })?;
        let address = self.address().to_owned();
        let answer = deadline
            .bound(
                || format!("{} from {address}", A::NAME),
                self.exchange(A::NAME, &frame, limit),
            )
            .await?;
        self.idle_since = Instant::now();
        wire::decode::<A>(answer, version, correlation)
            .map_err(|detail| self.protocol(A::NAME, detail))
    }

    /// The dialled address.
    pub(super) fn address(&self) -> &str {
        &self.destination.address
    }

    /// What was dialled, and who was expected there.
    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// How long ago the last answer arrived.
    pub(super) fn idle(&self) -> Duration {
        self.idle_since.elapsed()
    }

    /// The newest version of `A` that both sides speak.
    fn version<A: Api>(&self) -> Result<i16, KafkaError> {
        let Some(offered) = self.versions.get(&A::KEY) else {
            return Err(KafkaError::Unsupported(format!(
                "the broker at {} has no {} API",
                self.address(),
                A::NAME
            )));
        };
        let common = offered.intersect(&A::SPOKEN);
        if common.is_empty() {
            return Err(KafkaError::Unsupported(format!(
                "the broker at {} speaks {} versions {offered}, this client {}; Kafka 3.0 or newer is needed",
                self.address(),
                A::NAME,
                A::SPOKEN
            )));
        }
        Ok(common.max)
    }

    async fn exchange(
        &mut self,
        api: &'static str,
        frame: &[u8],
        limit: usize,
    ) -> Result<Bytes, KafkaError> {
        let mut prefix = [0; 4];
        let started = async {
            self.stream.write_all(frame).await?;
            self.stream.flush().await?;
            self.stream.read_exact(&mut prefix).await
        };
        started
            .await
            .map_err(|cause| self.disconnected(api, cause))?;
        let size = match usize::try_from(i32::from_be_bytes(prefix)) {
            Ok(size) if size <= limit => size,
            _ if is_tls(prefix) => {
                return Err(KafkaError::TlsWanted {
                    address: self.address().to_owned(),
                });
            }
            _ => {
                let shown = prefix.escape_ascii();
                return Err(self.protocol(
                    api,
                    format!("it starts with \"{shown}\", which is no size up to {limit}"),
                ));
            }
        };
        // Reserved in one piece but never zeroed: pages that do not fill are not touched.
        let mut answer = BytesMut::with_capacity(size);
        let mut body = (&mut self.stream).take(size as u64);
        while answer.len() < size {
            match body.read_buf(&mut answer).await {
                Ok(0) => return Err(self.disconnected(api, io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(cause) => return Err(self.disconnected(api, cause)),
            }
        }
        Ok(answer.freeze())
    }

    fn disconnected(&self, api: &'static str, cause: io::Error) -> KafkaError {
        if let Some(problem) = TlsProblem::of(&cause) {
            return KafkaError::Tls {
                address: self.address().to_owned(),
                problem,
            };
        }
        KafkaError::Disconnected {
            address: self.address().to_owned(),
            api,
            cause,
        }
    }

    /// An error about the content of an answer that came over this connection.
    fn protocol(&self, api: &'static str, detail: String) -> KafkaError {
        KafkaError::Protocol {
            address: self.address().to_owned(),
            api,
            detail,
        }
    }
}

/// Whether these bytes begin a TLS record: an alert or a handshake message, of SSL 3 to TLS 1.3.
/// As the size of an answer they are 336 MiB and more.
fn is_tls(prefix: [u8; 4]) -> bool {
    matches!(prefix, [0x15 | 0x16, 3, 0..=4, _])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects to a peer that swallows the request and says `answer`.
    async fn talk_to(answer: &'static [u8]) -> KafkaError {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let peer = tokio::spawn(async move {
            let mut request = [0; 4];
            theirs.read_exact(&mut request).await.expect("a request");
            theirs.write_all(answer).await.expect("an open pipe");
            // The rest of the request must be read, or the pipe would break instead of ending.
            let mut rest = vec![0; i32::from_be_bytes(request) as usize];
            theirs.read_exact(&mut rest).await.expect("a whole request");
        });
        let deadline = Deadline::after(Duration::from_secs(5));
        let outcome =
            Connection::negotiate(&Destination::any("peer:1"), Box::new(ours), deadline).await;
        peer.await.expect("the peer does not panic");
        outcome.err().expect("not a valid answer")
    }

    #[tokio::test]
    async fn another_protocol_is_recognised_by_its_first_bytes() {
        let error = talk_to(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(matches!(error, KafkaError::Protocol { .. }), "{error:?}");
        assert!(
            error.to_string().contains("starts with \"HTTP\""),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_tls_alert_says_that_the_broker_speaks_tls() {
        let error = talk_to(&[0x15, 3, 3, 0, 2, 2, 80]).await;
        assert!(matches!(error, KafkaError::TlsWanted { .. }), "{error:?}");
        assert!(!error.is_retriable());
    }

    #[tokio::test]
    async fn a_negative_size_is_an_error() {
        let error = talk_to(&[0xff; 8]).await;
        assert!(matches!(error, KafkaError::Protocol { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_is_a_disconnect() {
        let error = talk_to(&[0, 0, 0, 9, 0, 0]).await;
        assert!(
            matches!(error, KafkaError::Disconnected { .. }),
            "{error:?}"
        );
        assert!(error.is_retriable());
    }

    #[tokio::test]
    async fn garbage_of_the_right_size_is_an_error() {
        let error = talk_to(&[0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0xff]).await;
        assert!(matches!(error, KafkaError::Protocol { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn silence_is_a_timeout_that_names_the_address() {
        let (ours, _theirs) = tokio::io::duplex(4096);
        let deadline = Deadline::after(Duration::from_millis(20));
        let outcome =
            Connection::negotiate(&Destination::any("peer:1"), Box::new(ours), deadline).await;
        let error = outcome.err().expect("nobody answers");
        assert_eq!(
            error.to_string(),
            "no answer to ApiVersions from peer:1 within 0.02 s"
        );
    }
}
