//! How connections to a server that the user runs are encrypted: `sslmode` and `sslrootcert`, in libpq's words for
//! every type that has them.

use serde::{Deserialize, Serialize};

use super::rules::Rules;
use crate::endpoint::Tls;
use crate::error::Result;

/// `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// They are not.
    Disable,
    /// They are if the server can.
    Prefer,
    /// They are, whoever the server is.
    Require,
    /// They are, and the server's certificate is checked.
    VerifyFull,
}

/// What a component's settings say of it.
pub struct Ssl<'a> {
    /// Whether the user runs the server.
    pub external: bool,
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`: a file of the certificates that sign the server's, in PEM.
    pub root: Option<&'a str>,
    /// The mode where the profile says nothing.
    pub default: SslMode,
    /// The modes that servers of the type cannot have, each with the reason.
    pub unfit: &'static [(SslMode, &'static str)],
}

impl Ssl<'_> {
    /// How connections are encrypted; the path is the profile's.
    pub fn tls(&self) -> Tls {
        if !self.external {
            return Tls::Disable;
        }
        match self.mode {
            SslMode::Disable => Tls::Disable,
            SslMode::Prefer => Tls::Prefer,
            SslMode::Require => Tls::Require,
            SslMode::VerifyFull => Tls::VerifyFull {
                ca: self.root.unwrap_or_default().into(),
            },
        }
    }

    /// Checks both keys.
    ///
    /// # Errors
    /// They do not fit the server or each other, or the file has no certificate.
    pub fn check(&self, rules: &Rules<'_>) -> Result<()> {
        let verifies = self.mode == SslMode::VerifyFull;
        if !self.external && (self.mode != self.default || self.root.is_some()) {
            let key = match self.root {
                Some(_) => "sslrootcert",
                None => "sslmode",
            };
            return Err(rules.for_external(key));
        }
        if let Some((_, why)) = self.unfit.iter().find(|(mode, _)| *mode == self.mode) {
            let hint = format!("set {}=verify-full", rules.key("sslmode"));
            return Err(rules.invalid("sslmode", why).hint(hint));
        }
        match self.root {
            None if verifies => Err(rules
                .invalid(
                    "sslmode",
                    "`verify-full` wants the certificates to verify with",
                )
                .hint(format!(
                    "name a file with them, in PEM: {}",
                    rules.key("sslrootcert")
                ))),
            Some(_) if !verifies => Err(rules
                .invalid("sslrootcert", "only `verify-full` checks certificates")
                .hint(format!("set {}=verify-full", rules.key("sslmode")))),
            Some(path) => rules.pem("sslrootcert", path),
            None => Ok(()),
        }
    }
}
