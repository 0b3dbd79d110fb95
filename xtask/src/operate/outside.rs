//! Services beside the pipeline that something is sent to: a webhook, a Pushgateway.
//!
//! Their addresses may carry a password or a token: an address is never printed whole and never written.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Url};

use crate::error::{Code, Error, Result, reason};
use crate::report::text::one_line;
use crate::wait;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pauses between tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// So many characters of an answer are shown.
const SHOWN: usize = 200;

/// A service's address, and what calls it.
#[derive(Clone)]
pub(super) struct Outside {
    http: Client,
    url: Url,
}

impl Outside {
    /// The service at this address, which was given as this option. Nothing is sent yet.
    ///
    /// # Errors
    /// It is no address of HTTP, or one that would send over the network unencrypted what must not be: `private` is
    /// what is sent, a password always.
    pub(super) fn new(option: &str, address: &str, private: bool, example: &str) -> Result<Self> {
        let usage = |what: &str| {
            Error::new(Code::Usage, format!("{option}: {what}")).hint(example.to_owned())
        };
        let url = Url::parse(address).map_err(|_| usage("invalid URL"))?;
        let has_login = has_login(&url);
        match url.scheme() {
            "https" => {}
            "http" if is_here(&url) || !(private || has_login) => {}
            "http" if private => return Err(usage("plain http is for this machine only")),
            "http" => {
                return Err(usage("plain http with a password is for this machine only"));
            }
            _ => return Err(usage("only http and https can be called")),
        }
        crate::tls::install();
        // A redirect could lead to where nobody wanted it to go.
        let http = Client::builder()
            .user_agent("cdc-xtask")
            .timeout(PATIENCE)
            .redirect(Policy::none())
            .build()
            .map_err(|error| Error::new(Code::Service, format!("no HTTP client: {error}")))?;
        Ok(Outside { http, url })
    }

    /// Its address.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Where it is, without path, user and query.
    pub(super) fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}"));
        format!("{}://{host}{}", self.url.scheme(), port.unwrap_or_default())
    }

    /// Sends a request, again where that may help; else says why it was not taken. What the service answers is
    /// said where it `explains` itself.
    pub(super) async fn send(
        &self,
        request: impl Fn(&Client) -> RequestBuilder,
        explains: bool,
    ) -> Result<(), String> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let (why, again) = match request(&self.http).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    let again = status.is_server_error() || status.as_u16() == 429;
                    let mut why = format!("{} answered {status}", self.place());
                    if explains && let Ok(text) = answer.text().await {
                        let text: String = text.trim().chars().take(SHOWN).collect();
                        why += &format!(": {}", one_line(&text));
                    }
                    (why, again)
                }
                Err(error) => {
                    let why = match error.is_timeout() {
                        true => format!("no answer within {} s", PATIENCE.as_secs()),
                        false => reason(&error.without_url()),
                    };
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

/// Whether an address has a user or a password.
pub(super) fn has_login(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn is_here(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    loopback || host == "localhost"
}
