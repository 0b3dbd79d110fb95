//! How clients beside this tool reach a Kafka that the user runs: Connect's workers and their connectors, and whatever
//! reads topics itself. The password stands in no setting, but in files and Secrets that only its readers can open.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::Environment;
use crate::clients::kafka::Mechanism;
use crate::endpoint::Tls;
use crate::error::{Error, Result};
use crate::platform::Secret;
use crate::profile::schema::Sasl;

/// What a Kafka that the user runs wants of its clients beyond an address.
pub struct Access {
    /// The file of the certificates that sign the brokers', where connections are encrypted.
    pub ca: Option<PathBuf>,
    /// As whom they log in, if at all.
    pub login: Option<Login>,
}

/// As whom clients log in.
pub struct Login {
    /// How.
    pub sasl: Sasl,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
}

impl Environment {
    /// What the user's Kafka wants; none where it takes anybody over unencrypted connections, or where the tool runs it.
    pub fn kafka_access(&self) -> Option<Access> {
        let at = self.kafka();
        let ca = match at.tls {
            Tls::VerifyFull { ca } => Some(ca),
            Tls::Disable | Tls::Prefer | Tls::Require => None,
        };
        let login = self.profile.kafka.sasl.map(|sasl| Login {
            sasl,
            user: at.user,
            password: at.password,
        });
        (ca.is_some() || login.is_some()).then_some(Access { ca, login })
    }
}

/// Certificates, in PEM.
///
/// # Errors
/// The file cannot be read.
pub(super) fn read(ca: &Path) -> Result<String> {
    std::fs::read_to_string(ca).map_err(|error| Error::io("read", ca, &error))
}

impl Access {
    /// The certificates that sign the brokers', in PEM.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn authority(&self) -> Result<Option<String>> {
        self.ca.as_deref().map(read).transpose()
    }

    /// `security.protocol`.
    pub fn protocol(&self) -> &'static str {
        match (&self.ca, &self.login) {
            (Some(_), Some(_)) => "SASL_SSL",
            (Some(_), None) => "SSL",
            (None, _) => "SASL_PLAINTEXT",
        }
    }

    /// The settings of a client in Java, which finds the certificates and [`Login::jaas`] there.
    pub fn properties(&self, ca: &str, jaas: &str) -> IndexMap<&'static str, String> {
        let mut all = IndexMap::from([("security.protocol", self.protocol().to_owned())]);
        if self.ca.is_some() {
            all.insert("ssl.truststore.type", "PEM".into());
            all.insert("ssl.truststore.location", ca.into());
        }
        if let Some(login) = &self.login {
            all.insert("sasl.mechanism", login.mechanism().name().into());
            all.insert("sasl.jaas.config", jaas.into());
        }
        all
    }
}

impl Login {
    /// `sasl.mechanism`.
    pub fn mechanism(&self) -> Mechanism {
        match self.sasl {
            Sasl::Plain => Mechanism::Plain,
            Sasl::ScramSha256 => Mechanism::ScramSha256,
            Sasl::ScramSha512 => Mechanism::ScramSha512,
        }
    }

    /// `sasl.jaas.config`: the login as Kafka's `JaasConfig` reads it, by the rules of Java's `StreamTokenizer`.
    pub fn jaas(&self) -> Secret {
        let module = match self.sasl {
            Sasl::Plain => "plain.PlainLoginModule",
            Sasl::ScramSha256 | Sasl::ScramSha512 => "scram.ScramLoginModule",
        };
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        Secret::new(format!(
            "org.apache.kafka.common.security.{module} required username=\"{}\" password=\"{}\";",
            quoted(&self.user),
            quoted(self.password.expose())
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_any_characters_is_one_text() {
        let login = Login {
            sasl: Sasl::ScramSha512,
            user: "$ConnectionString".into(),
            password: Secret::new(r#"a\b"c';${d}"#),
        };
        assert_eq!(
            login.jaas().expose(),
            r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="$ConnectionString" password="a\\b\"c';${d}";"#
        );
    }
}
