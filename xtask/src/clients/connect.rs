//! Kafka Connect's REST interface.

use std::time::Duration;

use indexmap::IndexMap;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::platform::Endpoint;
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

impl ConnectError {
    /// Whether the same request may succeed in a moment: the worker is rebalancing (409), still
    /// starting (404 before its resources are mounted, 500, 503), or gone for now.
    pub fn is_transient(&self) -> bool {
        match self {
            ConnectError::Unreachable { .. } => true,
            ConnectError::Refused { status, message } => {
                matches!(*status, 404 | 409)
                    || *status == 503
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
        let unreachable = |error: &reqwest::Error| ConnectError::Unreachable {
            address: self.endpoint.address(),
            reason: if error.is_timeout() {
                "timed out".into()
            } else {
                super::reason(error)
            },
        };
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.endpoint.url()))
            .timeout(Duration::from_secs(90));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| unreachable(&error))?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        if status.is_success() {
            return Ok(Some(text));
        }
        let message = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
            .unwrap_or(text);
        Err(ConnectError::Refused {
            status: status.as_u16(),
            message,
        })
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

    /// Restarts a connector's failed parts.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn restart_failed(&self, name: &str) -> Result<(), ConnectError> {
        self.call(
            Method::POST,
            &format!("/connectors/{name}/restart?includeTasks=true&onlyFailed=true"),
            None,
        )
        .await
        .map(drop)
    }
}
