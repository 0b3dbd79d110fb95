//! One request to the API server, sent again where that can help.
//!
//! What is sent again: 429 and 5xx, after as long as the server asks for, and what broke on the way.
//! Every request of this tool may be sent twice: a server-side apply states what shall be, a delete
//! names the object's uid, the rest reads. kube's own retries are switched off: they know no
//! overloaded server other than 429, 503 and 504, and no broken connection.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;

use crate::error::reason;
use crate::wait;

/// How often a request is sent at the most.
const ATTEMPTS: u32 = 8;
/// The longest time that a server may ask for.
const LONGEST: Duration = Duration::from_secs(30);
/// How long an answer may take. The API server itself gives up after 60 s.
const ANSWER: Duration = Duration::from_secs(70);

/// A server's answer that is no error.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body, read as `T`.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| Refusal::Unreadable(error.to_string()))
    }
}

/// Why a request came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The server said so.
    #[error("{}", said(.0))]
    Status(Box<Status>),
    /// No answer came.
    #[error("{0}")]
    NoAnswer(String),
    /// The answer is not what it should be.
    #[error("the server's answer cannot be read: {0}")]
    Unreadable(String),
    /// The request could not even be made.
    #[error("{0}")]
    Request(String),
}

impl Refusal {
    /// The HTTP status, if the server said no.
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// What the server said, if it said no.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Refusal::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Whether there is no such object, or no such kind.
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Whether it is the kind that the server does not know, rather than an object or a namespace.
    pub fn is_unknown_kind(&self) -> bool {
        let named = |status: &Status| status.details.as_ref().is_some_and(|d| !d.name.is_empty());
        self.is_not_found() && !self.status().is_some_and(named)
    }
}

fn said(status: &Status) -> String {
    match (status.code, status.message.trim()) {
        (code, "") => format!("HTTP {code}"),
        (_, message) => message.to_owned(),
    }
}

impl From<kube::core::request::Error> for Refusal {
    fn from(error: kube::core::request::Error) -> Self {
        Refusal::Request(error.to_string())
    }
}

/// Sends the request until it is answered, or refused for a reason that sending it again does not
/// change.
///
/// # Errors
/// The last refusal.
pub async fn send(client: &Client, request: &Request<Vec<u8>>) -> Result<Answer, Refusal> {
    send_while(client, request, |_| false).await
}

/// The answer to a request, read as `T`; none if there is no such object, or no such kind.
///
/// # Errors
/// As [`send`]; or the answer is no `T`.
pub async fn find<T: DeserializeOwned>(
    client: &Client,
    request: &Request<Vec<u8>>,
) -> Result<Option<T>, Refusal> {
    match send(client, request).await {
        Ok(answer) => answer.read().map(Some),
        Err(refusal) if refusal.is_not_found() => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// As [`send`], and sent again too where `passing` says that the refusal will pass.
///
/// # Errors
/// The last refusal.
pub async fn send_while(
    client: &Client,
    request: &Request<Vec<u8>>,
    passing: impl Fn(&Refusal) -> bool,
) -> Result<Answer, Refusal> {
    let mut attempt = 1;
    loop {
        match once(client, request).await {
            Ok(answer) => return Ok(answer),
            Err((refusal, asked)) => match pause(&refusal, passing(&refusal), asked, attempt) {
                Some(pause) => wait::before_retry(pause).await,
                None => return Err(refusal),
            },
        }
        attempt += 1;
    }
}

/// Sends the request once; a refusal comes with the time after which the server wants to be asked
/// again.
///
/// # Errors
/// The refusal.
pub async fn once(
    client: &Client,
    request: &Request<Vec<u8>>,
) -> Result<Answer, (Refusal, Option<Duration>)> {
    let sent = client.send(request.clone().map(Body::from));
    let read = async {
        let response = sent.await?;
        let status = response.status().as_u16();
        let after = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.trim().parse().ok())
            .map(Duration::from_secs);
        Ok::<_, kube::Error>((status, after, response.into_body().collect_bytes().await?))
    };
    let (status, after, body) = match tokio::time::timeout(ANSWER, read).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err((no_answer(&error), None)),
        Err(_) => {
            let late = format!("no answer within {ANSWER:.0?}");
            return Err((Refusal::NoAnswer(late), None));
        }
    };
    if status < 400 {
        return Ok(Answer { status, body });
    }
    let mut told: Status = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Status::failure(String::from_utf8_lossy(&body).trim(), ""));
    told.code = status;
    let asked = told
        .details
        .as_ref()
        .map(|details| u64::from(details.retry_after_seconds))
        .filter(|&seconds| seconds > 0)
        .map(Duration::from_secs);
    Err((Refusal::Status(told.boxed()), after.or(asked)))
}

/// The causes of a broken connection hide behind one another: the innermost says it.
fn no_answer(error: &kube::Error) -> Refusal {
    match error {
        kube::Error::Service(_) | kube::Error::HyperError(_) => Refusal::NoAnswer(reason(error)),
        error => Refusal::Request(error.to_string()),
    }
}

/// How long to rest before the next attempt; none if there is to be none.
fn pause(
    refusal: &Refusal,
    passing: bool,
    asked: Option<Duration>,
    attempt: u32,
) -> Option<Duration> {
    let again = match refusal {
        _ if passing => true,
        Refusal::NoAnswer(_) => true,
        Refusal::Status(status) => status.code == 429 || status.code >= 500,
        Refusal::Unreadable(_) | Refusal::Request(_) => false,
    };
    if !again || attempt >= ATTEMPTS {
        return None;
    }
    let own = Duration::from_millis(100) * 2_u32.pow(attempt - 1).min(50);
    Some(asked.map_or(own, |asked| asked.max(own)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16) -> Refusal {
        Refusal::Status(Status::failure("no", "").with_code(code).boxed())
    }

    #[test]
    fn what_a_retry_cannot_mend_is_not_retried() {
        for code in [400, 401, 403, 404, 409, 410, 415, 422] {
            assert_eq!(pause(&refused(code), false, None, 1), None, "{code}");
        }
        assert_eq!(
            pause(&Refusal::Unreadable("x".into()), false, None, 1),
            None
        );
        for code in [429, 500, 502, 503, 504] {
            assert!(pause(&refused(code), false, None, 1).is_some(), "{code}");
        }
        assert!(pause(&refused(404), true, None, 1).is_some());
        assert!(pause(&Refusal::NoAnswer("reset".into()), false, None, 1).is_some());
    }

    proptest::proptest! {
        #[test]
        fn pauses_honour_the_server_and_end(attempt in 1_u32..20, asked in proptest::option::of(0_u64..100)) {
            let asked = asked.map(Duration::from_secs);
            match pause(&refused(503), false, asked, attempt) {
                None => proptest::prop_assert!(attempt >= ATTEMPTS),
                Some(pause) => {
                    proptest::prop_assert!(attempt < ATTEMPTS);
                    proptest::prop_assert!(pause <= LONGEST);
                    proptest::prop_assert!(pause >= asked.unwrap_or_default().min(LONGEST));
                    proptest::prop_assert!(pause >= Duration::from_millis(100));
                }
            }
        }
    }
}
