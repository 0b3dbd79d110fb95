//! What connectors log in with at their sources: one answer for manifests, mounts, grants and facts.

use super::Environment;
use crate::endpoint::Tls;
use crate::error::Result;
use crate::platform::{Endpoint, Platform};
use crate::profile::component::Instance;
use crate::profile::logins::Login;
use crate::profile::schema::Connector;

/// A server's authority beside the password, where workers on a cluster mount both.
pub const CA: &str = "ca.crt";

impl Environment {
    /// The component that a connector reads.
    pub fn read_by(&self, connector: &Connector) -> Option<&Instance> {
        self.profile.components.get(&connector.source)
    }

    /// Whom the connectors of a component log in as, at the address at which they reach it.
    pub fn connector_endpoint(&self, of: &Instance) -> Endpoint {
        let mut endpoint = self.as_connector(of, self.inside(&of.name));
        endpoint.tls = match (self.tls(of), self.platform) {
            // Where the workers mount it.
            (Tls::VerifyFull { .. }, Platform::Kind | Platform::Kubernetes) => Tls::VerifyFull {
                ca: format!("/mnt/{}/{CA}", of.connector_secret()).into(),
            },
            (tls, _) => tls,
        };
        endpoint
    }

    /// The certificates that a component's server is recognised by, in PEM; none where none are needed.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn authority_of(&self, of: &Instance) -> Result<Option<String>> {
        match self.tls(of) {
            Tls::VerifyFull { ca } => super::access::read(&ca).map(Some),
            Tls::Disable | Tls::Prefer | Tls::Require => Ok(None),
        }
    }

    /// The user that a connector logs in as: its own configuration may name another one.
    pub fn connector_user(&self, connector: &Connector) -> String {
        let Some(of) = self.read_by(connector) else {
            return String::new();
        };
        let setting = of.kind.source.as_ref().map_or("", |source| source.user);
        let named = connector.config.get(setting).map(String::as_str);
        named.unwrap_or(of.connector_login().user()).to_owned()
    }

    /// Whether any connector of a component logs in as a user that the tool makes, and whom.
    pub fn own_connector_user<'a>(&self, of: &'a Instance) -> Option<&'a str> {
        match of.connector_login() {
            Login::Own(user) => {
                let mut connectors = self.connectors(&of.name);
                let reads = connectors.any(|(_, it)| self.connector_user(it) == user);
                let writes = self.profile.sinks_of(&of.name).next().is_some();
                (reads || writes).then_some(user)
            }
            Login::Shared(_) | Login::Nobody => None,
        }
    }

    /// The directory of the password of a component's connectors, as the workers' `strimzidir` provider
    /// reads it.
    pub fn connector_password_dir(&self, of: &Instance) -> String {
        match self.platform {
            Platform::Host => {
                let name = match of.connector_login() {
                    Login::Own(_) => of.connector_secret(),
                    Login::Shared(_) | Login::Nobody => of.name.clone(),
                };
                crate::platform::host::secrets::dir(&self.dirs, &name)
                    .display()
                    .to_string()
            }
            // Where the workers mount it.
            Platform::Kind | Platform::Kubernetes => format!("/mnt/{}", of.connector_secret()),
        }
    }

    /// Whether any connector reads a component or writes to it.
    pub fn is_joined(&self, component: &Instance) -> bool {
        let name = &component.name;
        self.connectors(name).next().is_some() || self.profile.sinks_of(name).next().is_some()
    }

    /// What proves that a connector runs, for people.
    pub fn runs_as(&self, connector: &Connector) -> &'static str {
        match connector.slot {
            Some(_) => "tasks run, slot active",
            None => "tasks run",
        }
    }

    /// Where a component answers this tool, with its connectors' login.
    pub fn endpoint_as_connector(&self, name: &str) -> Endpoint {
        let endpoint = self.endpoint(name);
        match self.profile.component(name) {
            Some(of) => self.as_connector(of, endpoint),
            None => endpoint,
        }
    }

    /// An endpoint of a component with its connectors' login.
    fn as_connector(&self, of: &Instance, endpoint: Endpoint) -> Endpoint {
        endpoint.login(of.connector_login().user(), self.connector_password(of))
    }
}
