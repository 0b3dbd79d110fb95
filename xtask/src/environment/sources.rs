//! What connectors log in with at their sources: one answer for manifests, mounts, grants and facts.

use super::Environment;
use crate::clients::mongodb::{Mongodb, MongodbError};
use crate::clients::postgres::{Postgres, PostgresError};
use crate::platform::{Endpoint, Platform, Secret};
use crate::profile::logins::{Login, component, connector_secret};
use crate::profile::schema::{Connector, Source};

impl Environment {
    /// Whom the connectors of a source log in as, at the address at which they reach it.
    pub fn connector_endpoint(&self, source: Source) -> Endpoint {
        let inside = self.inside();
        let endpoint = match source {
            Source::Postgres => &inside.postgres,
            Source::Mongodb => &inside.mongodb,
        };
        self.as_connector(source, endpoint.clone())
    }

    /// The user that a connector logs in as: its own configuration may name another one.
    pub fn connector_user(&self, connector: &Connector) -> String {
        let key = match connector.source {
            Source::Postgres => "database.user",
            Source::Mongodb => "mongodb.user",
        };
        let login = self.profile.connector_login(connector.source);
        let named = connector.config.get(key).map(String::as_str);
        named.unwrap_or(login.user()).to_owned()
    }

    /// Whether any connector of a source logs in as a user that the tool makes, and whom.
    pub fn own_connector_user(&self, source: Source) -> Option<&str> {
        match self.profile.connector_login(source) {
            Login::Own(user) => {
                let mut connectors = self.connectors(source);
                connectors
                    .any(|(_, connector)| self.connector_user(connector) == user)
                    .then_some(user)
            }
            Login::Shared(_) | Login::Nobody => None,
        }
    }

    /// The directory of the password of a source's connectors, as the workers' `strimzidir` provider
    /// reads it.
    pub fn connector_password_dir(&self, source: Source) -> String {
        match self.platform {
            Platform::Host => {
                let name = match self.profile.connector_login(source) {
                    Login::Own(_) => connector_secret(source),
                    Login::Shared(_) | Login::Nobody => component(source),
                };
                crate::platform::host::secrets::dir(&self.dirs, name)
                    .display()
                    .to_string()
            }
            Platform::Kind | Platform::Kubernetes => {
                crate::render::kubernetes::password_dir(source)
            }
        }
    }

    fn as_connector(&self, source: Source, endpoint: Endpoint) -> Endpoint {
        let login = self.profile.connector_login(source);
        endpoint.login(login.user(), self.connector_password(source))
    }

    pub(super) fn connector_password(&self, source: Source) -> Secret {
        let passwords = &self.passwords;
        let (own, shared) = match source {
            Source::Postgres => (&passwords.postgres_connector, &passwords.postgres),
            Source::Mongodb => (&passwords.mongodb_connector, &passwords.mongodb),
        };
        match self.profile.connector_login(source) {
            Login::Own(_) => own.clone(),
            Login::Shared(_) => shared.clone(),
            Login::Nobody => Secret::new(""),
        }
    }

    /// A session at the relational source as its connectors' user, from where this tool is.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn postgres_as_connector(&self) -> Result<Postgres, PostgresError> {
        let endpoint = self.as_connector(Source::Postgres, self.postgres());
        Postgres::connect(&endpoint, &self.profile.postgres.database).await
    }

    /// A client of the document source as its connectors' user, from where this tool is.
    ///
    /// # Errors
    /// Its address is unusable.
    pub fn mongodb_as_connector(&self) -> Result<Mongodb, MongodbError> {
        Mongodb::new(&self.as_connector(Source::Mongodb, self.mongodb()))
    }
}
