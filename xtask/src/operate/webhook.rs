//! Reporting to people who are not looking: one POST of JSON.
//!
//! The address may carry a token: it is never printed whole and never written, and what is reported goes over TLS
//! unless it stays on this machine.

use std::fmt;

use serde_json::Value;

use super::outside::Outside;
use crate::error::Result;

/// Who gets the alerts.
#[derive(Clone)]
pub struct Webhook(Outside);

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
        let example =
            "an address such as https://alerts.example.com/hook; plain http only to this machine";
        Outside::new("--alert-webhook", address, true, example).map(Webhook)
    }

    /// Where it is, without path, user and query.
    pub fn place(&self) -> String {
        self.0.place()
    }

    /// Sends a body, again where that may help; else says why it was not taken.
    ///
    /// # Errors
    /// The reason, in which the address does not stand.
    pub async fn send(&self, body: &Value) -> Result<(), String> {
        // What it answers may repeat the token.
        let post = |http: &reqwest::Client| http.post(self.0.url().clone()).json(body);
        self.0.send(post, false).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::Code;

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
