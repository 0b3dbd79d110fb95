//! An address plus credentials, as the platform resolves it.

use std::fmt;
use std::path::PathBuf;

/// What stands in output where a secret was.
pub const MASK: &str = "********";

/// A secret text. Neither `Debug` nor `Display` shows it; [`Secret::expose`] is easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself, for a protocol's login and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// How a connection is encrypted, in PostgreSQL's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// It is not.
    #[default]
    Disable,
    /// It is if the server can, whoever that is.
    Prefer,
    /// It is, whoever the server is.
    Require,
    /// It is, and the server's certificate has its name and is signed by an authority of this file.
    VerifyFull {
        /// Certificates in PEM.
        ca: PathBuf,
    },
}

/// Where a service answers, and as whom to log in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User; empty where the service knows no users.
    pub user: String,
    /// Password; empty where the service knows no users.
    pub password: Secret,
    /// How the connection is encrypted.
    pub tls: Tls,
}

impl Endpoint {
    /// A service without users.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Endpoint {
            host: host.into(),
            port,
            user: String::new(),
            password: Secret::new(""),
            tls: Tls::Disable,
        }
    }

    /// A service on this machine without users.
    pub fn loopback(port: u16) -> Self {
        Endpoint::new("127.0.0.1", port)
    }

    /// An address `host:port`, as a checked profile holds it. Of any other, such as a name that leads to several
    /// servers, `host` is the whole and `port` is 0.
    pub fn parse(address: &str) -> Self {
        let found = address.rsplit_once(':');
        let found = found.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = found.unwrap_or((address, 0));
        Endpoint::new(host, port)
    }

    /// Adds a login.
    #[must_use]
    pub fn login(mut self, user: &str, password: Secret) -> Self {
        user.clone_into(&mut self.user);
        self.password = password;
        self
    }

    /// `host:port`, or what else it was parsed from.
    pub fn address(&self) -> String {
        match self.port {
            0 => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }

    /// `http://host:port`, or `https://` where the connection is encrypted.
    pub fn url(&self) -> String {
        let scheme = match self.tls {
            Tls::Disable => "http",
            Tls::Prefer | Tls::Require | Tls::VerifyFull { .. } => "https",
        };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}
