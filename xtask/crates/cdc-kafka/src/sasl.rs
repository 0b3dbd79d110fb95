//! Logging in on a fresh connection.
//!
//! Sessions are not renewed (KIP-368): a broker with `connections.max.reauth.ms` closes a
//! connection that is used after that time, and the client then dials and logs in again, as after
//! every lost connection. Connections of a command-line tool rarely live that long.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use ring::rand::{SecureRandom, SystemRandom};

use super::{
    client::text,
    connection::{Connection, Deadline},
    error::{ErrorCode, KafkaError},
    scram::{ClientFirst, Hash, ScramError},
    wire::Api,
};
use cdc_base::endpoint::Secret;

/// The largest answer accepted before the broker has proved who it is.
const FRAME_LIMIT: usize = 64 << 10;

/// A SASL mechanism that this client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself is sent (RFC 4616): over TLS only.
    Plain,
    /// SCRAM with SHA-256.
    ScramSha256,
    /// SCRAM with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The registered name, as Kafka's settings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }

    /// What the password is proved with; none where it is sent.
    fn hash(self) -> Option<Hash> {
        match self {
            Self::Plain => None,
            Self::ScramSha256 => Some(Hash::Sha256),
            Self::ScramSha512 => Some(Hash::Sha512),
        }
    }
}

/// As whom to log in.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// How the password is proved.
    pub mechanism: Mechanism,
    /// The user; for SCRAM in printable ASCII.
    pub user: String,
    /// The password; for SCRAM in printable ASCII. Only [`Mechanism::Plain`] sends it.
    pub password: Secret,
}

impl Sasl {
    /// A login with SCRAM-SHA-512, as Strimzi's `authentication: scram-sha-512` wants it.
    pub fn scram_sha_512(user: impl Into<String>, password: Secret) -> Self {
        Self {
            mechanism: Mechanism::ScramSha512,
            user: user.into(),
            password,
        }
    }
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginProblem {
    /// The broker does not let this user with this password in.
    #[error("wrong user or password ({0})")]
    Refused(
        /// The broker's words. It does not say which of the two is wrong.
        String,
    ),
    /// The listener does not offer the mechanism.
    #[error("the listener does not offer {} but {}", .wanted.name(), listed(.offered))]
    Mechanism {
        /// What was configured.
        wanted: Mechanism,
        /// What the broker enables on this listener.
        offered: Vec<String>,
    },
    /// The listener lets everyone in.
    #[error("this listener asks for no login")]
    NotAsked,
    /// The exchange of messages failed.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// This machine could not do its part.
    #[error("{0}")]
    Local(
        /// What it could not do.
        String,
    ),
}

fn listed(offered: &[String]) -> String {
    match offered {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    }
}

/// Logs in. Nothing but ApiVersions may have been sent over the connection.
pub(super) async fn log_in(
    connection: &mut Connection,
    sasl: &Sasl,
    deadline: Deadline,
) -> Result<(), KafkaError> {
    let address = connection.address().to_owned();
    let failed = |problem| KafkaError::Login {
        address: address.clone(),
        user: sasl.user.clone(),
        problem,
    };
    let scram = |error: ScramError| failed(error.into());

    let first = match sasl.mechanism.hash() {
        Some(hash) => {
            let nonce = nonce().map_err(failed)?;
            Some(ClientFirst::new(hash, &sasl.user, nonce).map_err(scram)?)
        }
        None => None,
    };
    let name = sasl.mechanism.name();
    let request = SaslHandshakeRequest::default().with_mechanism(text(name));
    let answer = connection.call(&request, FRAME_LIMIT, deadline).await?;
    match ErrorCode::try_from_code(answer.error_code) {
        Some(ErrorCode::UnsupportedSaslMechanism) => {
            let offered = answer.mechanisms.iter().map(ToString::to_string).collect();
            let wanted = sasl.mechanism;
            return Err(failed(LoginProblem::Mechanism { wanted, offered }));
        }
        Some(ErrorCode::IllegalSaslState) => return Err(failed(LoginProblem::NotAsked)),
        _ => SaslHandshakeRequest::check(answer.error_code, || address.clone(), None)?,
    }

    let exchange = async |connection: &mut Connection, message: String| {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let answer = connection.call(&request, FRAME_LIMIT, deadline).await?;
        let (code, words) = (answer.error_code, answer.error_message.as_deref());
        if ErrorCode::try_from_code(code) == Some(ErrorCode::SaslAuthenticationFailed) {
            let words = words.unwrap_or("the broker gives no reason");
            return Err(failed(LoginProblem::Refused(words.to_owned())));
        }
        SaslAuthenticateRequest::check(code, || address.clone(), words)?;
        Ok(answer.auth_bytes)
    };
    let Some(first) = first else {
        let message = format!("\0{}\0{}", sasl.user, sasl.password.expose());
        return exchange(connection, message).await.map(drop);
    };
    let challenge = exchange(connection, first.message()).await?;
    let password = sasl.password.clone();
    let compute = async {
        // Hashing thousands of times would hold up everything else on this thread.
        let answer = move || first.answer(password.expose(), &challenge);
        match tokio::task::spawn_blocking(answer).await {
            Ok(answer) => answer.map_err(scram),
            Err(error) => Err(failed(LoginProblem::Local(error.to_string()))),
        }
    };
    let waited_for = || format!("the login at {address}");
    let answer = deadline.bound(waited_for, compute).await?;
    let proof = exchange(connection, answer.message().to_owned()).await?;
    answer.verify(&proof).map_err(scram)
}

/// The mechanisms that a listener offers on a connection without a login; `None` if it wants none.
pub(super) async fn offered(
    connection: &mut Connection,
    deadline: Deadline,
) -> Result<Option<Vec<String>>, KafkaError> {
    // No mechanism has this name: the broker refuses it and lists those that it has.
    let request = SaslHandshakeRequest::default();
    let answer = connection.call(&request, FRAME_LIMIT, deadline).await?;
    let refused = ErrorCode::try_from_code(answer.error_code);
    let wanted = refused == Some(ErrorCode::UnsupportedSaslMechanism);
    Ok(wanted.then(|| answer.mechanisms.iter().map(ToString::to_string).collect()))
}

/// 192 random bits, which nobody can have seen before.
fn nonce() -> Result<String, LoginProblem> {
    let mut bytes = [0; 24];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => Ok(BASE64.encode(bytes)),
        Err(_) => Err(LoginProblem::Local(
            "the system gives no random numbers".to_owned(),
        )),
    }
}
