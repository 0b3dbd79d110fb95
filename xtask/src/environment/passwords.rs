//! The environment's passwords: made, read, and handed to whom they are for.

use super::{Environment, Secrets};
use crate::error::Result;
use crate::platform::host::{Dirs, secrets};
use crate::platform::{Platform, Secret};
use crate::profile::Profile;
use crate::profile::logins::{Login, connector_secret};
use crate::profile::schema::{KafkaSecurity, Password, Source};
use crate::render::kubernetes;

/// The passwords of the components that have one.
pub(super) struct Passwords {
    pub(super) postgres: Secret,
    pub(super) mongodb: Secret,
    /// The connectors' own users; empty where they have none.
    pub(super) postgres_connector: Secret,
    pub(super) mongodb_connector: Secret,
    /// The key that MongoDB's members share.
    pub(super) mongodb_key: Secret,
    pub(super) clickhouse: Secret,
    /// The user that ClickHouse's operator makes for itself; empty on `host`.
    pub(super) clickhouse_operator: Secret,
    /// Users of a broker that asks who connects; empty for one that does not.
    pub(super) kafka_connect: Secret,
    pub(super) kafka_clickhouse: Secret,
}

impl Passwords {
    /// Those of a profile: its own, or what was generated before, or new ones.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn of(
        profile: &Profile,
        dirs: &Dirs,
        platform: Platform,
        mode: Secrets,
    ) -> Result<Self> {
        let password = |component, fixed: &Option<Password>, external: &Option<String>| {
            let fixed = fixed.as_ref().map(|Password(text)| text.as_str());
            // Nobody gave a service of the user's own the password that would be generated for it.
            let fixed = fixed.or(external.as_ref().map(|_| "")).map(Secret::new);
            match mode {
                Secrets::Create => secrets::ensure(dirs, component, fixed.as_ref()),
                Secrets::Existing => secrets::existing(dirs, component, fixed.as_ref()),
            }
        };
        let Profile {
            kafka,
            postgres,
            mongodb,
            clickhouse,
            ..
        } = profile;
        let user = |name| match kafka.security {
            KafkaSecurity::Scram => password(name, &None, &None),
            KafkaSecurity::Plain => Ok(Secret::new("")),
        };
        let connector = |source, fixed| match profile.connector_login(source) {
            Login::Own(_) => password(connector_secret(source), fixed, &None),
            Login::Shared(_) | Login::Nobody => Ok(Secret::new("")),
        };
        Ok(Passwords {
            postgres: password("postgres", &postgres.password, &postgres.external)?,
            mongodb: password("mongodb", &mongodb.password, &mongodb.external)?,
            postgres_connector: connector(Source::Postgres, &postgres.connector_password)?,
            mongodb_connector: connector(Source::Mongodb, &mongodb.connector_password)?,
            mongodb_key: password("mongodb-key", &None, &mongodb.external)?,
            clickhouse: password("clickhouse", &clickhouse.password, &clickhouse.external)?,
            clickhouse_operator: match platform {
                Platform::Host => Secret::new(""),
                _ => password("clickhouse-operator", &None, &None)?,
            },
            kafka_connect: user("kafka-connect")?,
            kafka_clickhouse: user("kafka-clickhouse")?,
        })
    }
}

impl Environment {
    /// The passwords as they go into a cluster's Secrets.
    pub fn cluster_passwords(&self) -> kubernetes::Passwords {
        let text = |secret: &Secret| secret.expose().to_owned();
        kubernetes::Passwords {
            postgres: text(&self.passwords.postgres),
            mongodb: text(&self.passwords.mongodb),
            postgres_connector: text(&self.connector_password(Source::Postgres)),
            mongodb_connector: text(&self.connector_password(Source::Mongodb)),
            mongodb_key: text(&self.passwords.mongodb_key),
            clickhouse: text(&self.passwords.clickhouse),
            clickhouse_operator: text(&self.passwords.clickhouse_operator),
            kafka_connect: text(&self.passwords.kafka_connect),
            kafka_clickhouse: text(&self.passwords.kafka_clickhouse),
        }
    }

    /// Every password of the environment. Nothing but a search for them may want all.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let own = &self.passwords;
        let mut all: Vec<String> = [
            &own.postgres,
            &own.mongodb,
            &own.postgres_connector,
            &own.mongodb_connector,
            &own.mongodb_key,
            &own.clickhouse,
            &own.clickhouse_operator,
            &own.kafka_connect,
            &own.kafka_clickhouse,
        ]
        .map(|secret| secret.expose().to_owned())
        .into();
        all.extend(self.kafka_login().password.map(|it| it.expose().to_owned()));
        all
    }
}
