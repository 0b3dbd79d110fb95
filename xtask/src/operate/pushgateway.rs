//! Handing metrics to a Pushgateway, where Prometheus fetches them.

use std::fmt;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Url};

use super::outside::{Outside, has_login};
use crate::error::{Code, Error, Result};

const OPTION: &str = "--pushgateway";
const EXAMPLE: &str = "an address such as http://pushgateway.example.com:9091; with a password only https, \
    or http to this machine";
/// The type of Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A Pushgateway.
#[derive(Clone)]
pub struct Pushgateway(Outside);

impl fmt::Debug for Pushgateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pushgateway({})", self.0.place())
    }
}

/// What becomes of the metrics that the gateway has of the same group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They go.
    Replaced,
    /// Those of other names stay.
    Kept,
}

impl Pushgateway {
    /// The one at this address. Nothing is sent yet.
    ///
    /// # Errors
    /// It is no address, or one that would send a password over the network unencrypted.
    pub fn new(address: &str) -> Result<Self> {
        let outside = Outside::new(OPTION, address, false, EXAMPLE)?;
        if outside.url().cannot_be_a_base() {
            return Err(Error::new(Code::Usage, format!("{OPTION}: invalid URL")).hint(EXAMPLE));
        }
        Ok(Pushgateway(outside))
    }

    /// Whether its address has a password, so that it must not be printed.
    pub fn has_login(&self) -> bool {
        has_login(self.0.url())
    }

    /// Where it is, without path, user and query.
    pub fn place(&self) -> String {
        self.0.place()
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.0.url().clone();
        let below = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{below}{path}"));
        url
    }

    /// Hands it metrics for a path of its own, else says why it did not take them.
    ///
    /// # Errors
    /// The reason, in which no password stands.
    pub async fn push(&self, path: &str, text: &str, others: Others) -> Result<(), String> {
        let method = match others {
            Others::Replaced => Method::PUT,
            Others::Kept => Method::POST,
        };
        let url = self.url(path);
        let request = |http: &reqwest::Client| {
            http.request(method.clone(), url.clone())
                .header(CONTENT_TYPE, TEXT)
                .body(text.to_owned())
        };
        self.0.send(request, true).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_may_lie_below_a_path_and_its_password_is_not_shown() {
        let gateway = Pushgateway::new("https://ops:geheim@metrics.example.com/push/").unwrap();
        assert_eq!(
            gateway.url("/metrics/job/a").as_str(),
            "https://ops:geheim@metrics.example.com/push/metrics/job/a"
        );
        assert!(gateway.has_login());
        assert_eq!(
            format!("{gateway:?}"),
            "Pushgateway(https://metrics.example.com)"
        );
        let gateway = Pushgateway::new("http://pushgateway:9091").unwrap();
        assert_eq!(
            gateway.url("/metrics/job/a@base64/YQ==").as_str(),
            "http://pushgateway:9091/metrics/job/a@base64/YQ=="
        );
        assert!(!gateway.has_login());
    }

    #[test]
    fn a_password_goes_encrypted_only() {
        for bad in [
            "http://ops:geheim@metrics.example.com",
            "ftp://metrics.example.com",
            "metrics.example.com:9091",
            "geheim",
        ] {
            let error = Pushgateway::new(bad).expect_err(bad);
            assert_eq!(error.code, Code::Usage);
            assert!(!error.to_string().contains("geheim"), "{error}");
        }
        assert!(Pushgateway::new("http://ops:geheim@127.0.0.1:9091").is_ok());
    }

    #[tokio::test]
    async fn what_cannot_be_delivered_is_said_without_the_password() {
        let gateway = Pushgateway::new("http://ops:geheim@127.0.0.1:1").unwrap();
        let why = gateway.push("/metrics/job/a", "a 1\n", Others::Replaced);
        let why = why.await.expect_err("nobody listens");
        assert!(why.starts_with("http://127.0.0.1:1: "), "{why}");
        assert!(why.contains("refused") && !why.contains("geheim"), "{why}");
    }
}
