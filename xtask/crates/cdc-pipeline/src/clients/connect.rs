//! Kafka Connect's REST interface.
//!
//! A question is given up after 20 s, a change after Connect's own 90 s: given up earlier, it might
//! still be made.

use std::time::Duration;

use indexmap::IndexMap;
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::endpoint::Endpoint;
use crate::readiness::connect::{ConnectorStatus, Plugin};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer.
    #[error("Connect at {address} does not answer: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// The transport's reason.
        reason: String,
    },
    /// No answer in time: its group does not settle, or it hangs.
    #[error("Connect at {address} gives no answer within {} s", limit.as_secs())]
    Silent {
        /// Where.
        address: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// A worker that begins or ends: it has no resource, and says nothing of what is there. Seen with
    /// Kafka 4.0.0, also for 150 ms after a worker's first request.
    #[error("Connect at {address} is starting or stopping")]
    Unmounted {
        /// Where.
        address: String,
    },
    /// Connect said no.
    #[error("Connect refused ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Connect's message.
        message: String,
    },
    /// The answer is not what Connect should give.
    #[error("Connect at {address} gave an unexpected answer: {reason}")]
    Answer {
        /// Where.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// How long something is looked up.
const LOOKS: Duration = Duration::from_secs(20);
/// How long a change may take: as long as Connect itself gives it. One that is given up here may
/// still be made there.
const CHANGES: Duration = Duration::from_secs(90);

impl ConnectError {
    /// Whether the worker refuses because its group rebalances, or is about to: with 409, and for some
    /// requests with 500 (seen with Kafka 4.0.0).
    pub fn is_rebalance(&self) -> bool {
        match self {
            ConnectError::Refused { status: 409, .. } => true,
            ConnectError::Refused { status, message } => {
                *status == 500 && message.contains("because a rebalance is expected")
            }
            _ => false,
        }
    }

    /// Whether the same request may succeed in a moment: the worker is rebalancing, begins or ends, does
    /// not know a connector yet that another one has taken in (404), answers 500 or 503, or is gone for now.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectError::Unreachable { .. }
            | ConnectError::Silent { .. }
            | ConnectError::Unmounted { .. } => true,
            ConnectError::Refused { status, message } => {
                self.is_rebalance()
                    || matches!(*status, 404 | 503)
                    || (*status == 500 && message.contains("timed out"))
            }
            ConnectError::Answer { .. } => false,
        }
    }
}

/// `GET /`.
#[derive(Clone, Debug, Deserialize)]
pub struct Worker {
    /// Kafka version.
    pub version: String,
}

/// A client of one worker.
#[derive(Clone, Debug)]
pub struct Connect {
    http: reqwest::Client,
    endpoint: Endpoint,
}

impl Connect {
    /// A client; nothing is connected yet.
    pub fn new(endpoint: Endpoint) -> Self {
        Connect {
            http: super::http(),
            endpoint,
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Option<String>, ConnectError> {
        let limit = match method {
            Method::GET => LOOKS,
            _ => CHANGES,
        };
        let unreachable = |error: &reqwest::Error| {
            let address = self.endpoint.address();
            match error.is_timeout() {
                true => ConnectError::Silent { address, limit },
                false => ConnectError::Unreachable {
                    address,
                    reason: crate::error::reason(error),
                },
            }
        };
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.endpoint.url()))
            .timeout(limit);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unreachable(&error))?;
        judged(status, text, &self.endpoint)
    }

    fn decode<T: DeserializeOwned>(&self, text: &str) -> Result<T, ConnectError> {
        serde_json::from_str(text).map_err(|error| ConnectError::Answer {
            address: self.endpoint.address(),
            reason: error.to_string(),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, ConnectError> {
        match self.call(Method::GET, path, None).await? {
            Some(text) => self.decode(&text).map(Some),
            None => Ok(None),
        }
    }

    async fn need<T: DeserializeOwned>(&self, path: &str) -> Result<T, ConnectError> {
        self.get(path).await?.ok_or_else(|| ConnectError::Refused {
            status: 404,
            message: format!("there is no {path} yet"),
        })
    }

    /// The worker.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn worker(&self) -> Result<Worker, ConnectError> {
        self.need("/").await
    }

    /// The plugin classes that the worker has loaded.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn plugins(&self) -> Result<Vec<Plugin>, ConnectError> {
        self.need("/connector-plugins").await
    }

    /// The connectors' names. Answers only once the worker has joined its group.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connectors(&self) -> Result<Vec<String>, ConnectError> {
        self.need("/connectors").await
    }

    /// A connector's status; none if there is no such connector.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn status(&self, name: &str) -> Result<Option<ConnectorStatus>, ConnectError> {
        self.get(&format!("/connectors/{name}/status")).await
    }

    /// A connector's configuration; none if there is no such connector.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn config(
        &self,
        name: &str,
    ) -> Result<Option<IndexMap<String, String>>, ConnectError> {
        self.get(&format!("/connectors/{name}/config")).await
    }

    /// Creates or changes a connector.
    ///
    /// # Errors
    /// See [`ConnectError`]; an invalid configuration is `Refused` with 400.
    pub async fn put_config(
        &self,
        name: &str,
        config: &IndexMap<String, String>,
    ) -> Result<(), ConnectError> {
        let body = serde_json::json!(config);
        self.call(
            Method::PUT,
            &format!("/connectors/{name}/config"),
            Some(&body),
        )
        .await
        .map(drop)
    }

    /// As [`Connect::call`], for what must be there.
    async fn act(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<String, ConnectError> {
        let answer = self.call(method, path, body).await?;
        answer.ok_or_else(|| ConnectError::Refused {
            status: 404,
            message: format!("there is no {path}"),
        })
    }

    /// Every connector with what it is and does, in one request.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn all(&self) -> Result<IndexMap<String, Listed>, ConnectError> {
        self.need("/connectors?expand=status&expand=info").await
    }

    /// Has the connector go into this state; it is reached some time after the answer.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn set_state(&self, name: &str, target: TargetState) -> Result<(), ConnectError> {
        let verb = match target {
            TargetState::Running => "resume",
            TargetState::Paused => "pause",
            TargetState::Stopped => "stop",
        };
        self.act(Method::PUT, &format!("/connectors/{name}/{verb}"), None)
            .await
            .map(drop)
    }

    /// Restarts the connector and its tasks, or only those of them that failed.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn restart(&self, name: &str, only_failed: bool) -> Result<(), ConnectError> {
        let path = format!("/connectors/{name}/restart?includeTasks=true&onlyFailed={only_failed}");
        self.act(Method::POST, &path, None).await.map(drop)
    }

    /// Restarts one task.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn restart_task(&self, name: &str, task: u32) -> Result<(), ConnectError> {
        let path = format!("/connectors/{name}/tasks/{task}/restart");
        self.act(Method::POST, &path, None).await.map(drop)
    }

    /// The offsets that the connector has committed; none if there is no such connector.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn offsets(&self, name: &str) -> Result<Option<Offsets>, ConnectError> {
        self.get(&format!("/connectors/{name}/offsets")).await
    }

    /// Sets offsets of a connector that is stopped. KIP-875: partitions that are not named stay.
    ///
    /// # Errors
    /// See [`ConnectError`]; 400 while the connector is not stopped.
    pub async fn alter_offsets(&self, name: &str, offsets: &Offsets) -> Result<(), ConnectError> {
        let body = serde_json::json!(offsets);
        let path = format!("/connectors/{name}/offsets");
        self.act(Method::PATCH, &path, Some(&body)).await.map(drop)
    }

    /// Forgets all offsets of a connector that is stopped.
    ///
    /// # Errors
    /// See [`ConnectError`]; 400 while the connector is not stopped.
    pub async fn delete_offsets(&self, name: &str) -> Result<(), ConnectError> {
        let path = format!("/connectors/{name}/offsets");
        self.act(Method::DELETE, &path, None).await.map(drop)
    }

    /// Removes the connector. Its offsets stay.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn delete(&self, name: &str) -> Result<(), ConnectError> {
        let path = format!("/connectors/{name}");
        self.act(Method::DELETE, &path, None).await.map(drop)
    }

    /// What the plugin says about a configuration; it reaches out to the source for it.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn validate(
        &self,
        class: &str,
        config: &IndexMap<String, String>,
    ) -> Result<Validation, ConnectError> {
        let class = class.rsplit('.').next().unwrap_or(class);
        let body = serde_json::json!(config);
        let path = format!("/connector-plugins/{class}/config/validate");
        let text = self.act(Method::PUT, &path, Some(&body)).await?;
        self.decode(&text)
    }
}

/// The state that a connector shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Its tasks run.
    Running,
    /// Its tasks exist and do nothing.
    Paused,
    /// It has no tasks; only so its offsets can be changed.
    Stopped,
}

/// One connector of [`Connect::all`].
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    /// What it does.
    pub status: ConnectorStatus,
    /// What it is.
    pub info: Info,
}

/// What a connector is.
#[derive(Clone, Debug, Deserialize)]
pub struct Info {
    /// Its configuration.
    pub config: IndexMap<String, String>,
    /// `source` or `sink`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// `GET /connectors/NAME/offsets`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Offsets {
    /// One for each partition of the source, or of the topics that a sink reads.
    pub offsets: Vec<PartitionOffset>,
}

/// A connector's position in one partition. What the maps hold is the plugin's own matter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct PartitionOffset {
    /// Which partition.
    pub partition: Value,
    /// The place; null forgets it.
    pub offset: Value,
}

/// `PUT /connector-plugins/CLASS/config/validate`.
#[derive(Clone, Debug, Deserialize)]
pub struct Validation {
    configs: Vec<ValidatedKey>,
}

#[derive(Clone, Debug, Deserialize)]
struct ValidatedKey {
    value: ValidatedValue,
}

#[derive(Clone, Debug, Deserialize)]
struct ValidatedValue {
    name: String,
    errors: Vec<String>,
}

impl Validation {
    /// Each key that is wrong, and why.
    pub fn errors(&self) -> impl Iterator<Item = (&str, &str)> {
        let values = self.configs.iter().map(|key| &key.value);
        values.flat_map(|value| {
            let errors = value.errors.iter();
            errors.map(|error| (value.name.as_str(), error.as_str()))
        })
    }
}

/// What an answer says: nothing if what was asked for is not there.
fn judged(
    status: StatusCode,
    text: String,
    endpoint: &Endpoint,
) -> Result<Option<String>, ConnectError> {
    if status.is_success() {
        return Ok(Some(text));
    }
    let said = serde_json::from_str::<Value>(&text)
        .ok()
        .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()));
    match (status, said) {
        (StatusCode::NOT_FOUND, Some(_)) => Ok(None),
        // Connect's own 404 has a message.
        (StatusCode::NOT_FOUND, None) => Err(ConnectError::Unmounted {
            address: endpoint.address(),
        }),
        (status, said) => Err(ConnectError::Refused {
            status: status.as_u16(),
            message: said.unwrap_or(text),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_connects_own_404_says_that_something_is_not_there() {
        let endpoint = Endpoint::loopback(8083);
        let of = |status: u16, text: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            judged(status, text.to_owned(), &endpoint)
        };
        let own = r#"{"error_code": 404, "message": "Connector x not found"}"#;
        assert!(matches!(of(404, own), Ok(None)));
        for begins in ["", "<html><title>Error 404 Not Found</title></html>"] {
            let error = of(404, begins).expect_err("nothing is said of what is there");
            assert!(matches!(error, ConnectError::Unmounted { .. }), "{error}");
            assert!(error.is_transient());
        }
        assert_eq!(of(200, "[]").expect("an answer").as_deref(), Some("[]"));
        let rebalances = r#"{"error_code": 409, "message": "a rebalance"}"#;
        assert!(of(409, rebalances).expect_err("refused").is_rebalance());
    }
}
