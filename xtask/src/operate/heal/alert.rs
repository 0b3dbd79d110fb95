//! Telling somebody who is not looking: one POST of JSON for each finding that needs a person.
//!
//! What is reported has passed the redactor. The address may carry a token: it is never printed whole and
//! never written, and it goes over TLS unless it stays on this machine.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use reqwest::redirect::Policy;
use serde_json::{Value, json};

use super::history::{Reason, Trouble};
use crate::clock;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::printed;
use crate::wait;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];

/// Who gets the alerts.
#[derive(Clone)]
pub struct Webhook {
    http: reqwest::Client,
    url: Url,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({})", self.place())
    }
}

impl Webhook {
    /// A webhook at this address. Nothing is sent yet.
    ///
    /// # Errors
    /// It is no address, or one that would send findings over the network unencrypted.
    pub fn new(address: &str) -> Result<Self> {
        let usage = |what: &str| {
            Error::new(Code::Usage, format!("--alert-webhook: {what}"))
                .hint("an address such as https://alerts.example.com/hook; plain http only to this machine")
        };
        let url = Url::parse(address).map_err(|_| usage("invalid URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if is_here(&url) => {}
            "http" => return Err(usage("plain http is for this machine only")),
            _ => return Err(usage("only https, and http to this machine, can be called")),
        }
        crate::tls::install();
        // A redirect could lead to where nobody wanted findings to go.
        let http = reqwest::Client::builder()
            .user_agent("cdc-xtask")
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .build()
            .map_err(|error| Error::new(Code::Service, format!("no HTTP client: {error}")))?;
        Ok(Webhook { http, url })
    }

    /// Where it is, without path, user and query.
    pub fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!("{}://{host}", self.url.scheme())
    }

    /// Sends a body, again where that may help; else says why it was not taken.
    pub(super) async fn send(&self, body: &Value) -> Result<(), String> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let answer = self.http.post(self.url.clone()).json(body).send().await;
            let (why, again) = match answer {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let again = status.is_server_error() || status.as_u16() == 429;
                    (format!("{} answered {status}", self.place()), again)
                }
                Err(error) => {
                    let mut why = error.without_url().to_string();
                    if why.contains(self.url.as_str()) {
                        why = "it cannot be reached".into();
                    }
                    (format!("{}: {why}", self.place()), true)
                }
            };
            match pauses.next().filter(|_| again) {
                Some(pause) => wait::before_retry(pause).await,
                None => return Err(why),
            }
        }
    }
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || host == "localhost"
}

/// What is reported about an escalation.
pub(super) fn body(
    env: &Environment,
    trouble: &Trouble,
    reason: Reason,
    why: &str,
    at: u64,
) -> Value {
    let Trouble {
        key,
        broken,
        cause,
        evidence,
        next,
        trace,
    } = trouble;
    let name = &env.name;
    json!({
        // What chat services show.
        "text": format!("[{name}] {} {}: {cause}. {why}. Next: {next}", key.code, key.subject),
        "environment": name,
        "platform": env.platform,
        "at": clock::utc(at),
        "code": key.code,
        "subject": key.subject,
        "severity": if *broken { Value::from("broken") } else { Value::from("degraded") },
        "reason": reason,
        "why": why,
        "cause": cause,
        "evidence": evidence,
        "trace": trace,
        "next": next,
        "more": printed::ours(&format!("cargo xtask explain {}", key.code)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_leave_this_machine_encrypted_only() {
        for good in [
            "https://hooks.example.com/T0/B0/token",
            "http://127.0.0.1:9/x",
            "http://[::1]:9/x",
            "http://localhost:9/x?token=1",
        ] {
            assert!(Webhook::new(good).is_ok(), "{good}");
        }
        for bad in [
            "http://hooks.example.com/token-1",
            "http://127.0.0.1.example.com/token-1",
            "http://localhost.example.com/token-1",
            "ftp://127.0.0.1/token-1",
            "token-1",
        ] {
            let error = Webhook::new(bad).expect_err(bad);
            assert_eq!(error.code, Code::Usage);
            assert!(!error.to_string().contains("token-1"), "{error}");
        }
    }

    #[test]
    fn its_token_is_not_shown() {
        let hook = Webhook::new("https://user:secret@hooks.example.com/T0/token?key=abc")
            .expect("an address");
        assert_eq!(format!("{hook:?}"), "Webhook(https://hooks.example.com)");
    }

    #[tokio::test]
    async fn what_cannot_be_delivered_is_said_without_the_token() {
        let hook = Webhook::new("http://127.0.0.1:1/token-1?key=abc").expect("an address");
        let why = hook.send(&json!({})).await.expect_err("nobody listens");
        assert!(why.starts_with("http://127.0.0.1"), "{why}");
        assert!(!why.contains("token-1") && !why.contains("abc"), "{why}");
    }
}
