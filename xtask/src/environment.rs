//! A loaded profile on its platform: the one value that everything above the platform works with.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::clients::clickhouse::Clickhouse;
use crate::clients::connect::Connect;
use crate::clients::mongodb::{Mongodb, MongodbError};
use crate::clients::postgres::{Postgres, PostgresError};
use crate::error::Result;
use crate::platform::host::{Dirs, secrets};
use crate::platform::{Endpoint, Secret};
use crate::profile::schema::{Connector, Password, Source};
use crate::profile::{Loaded, Node, Profile};
use crate::render::Templates;

/// A source that the profile has and this run leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Component.
    pub component: &'static str,
    /// Why, and what would bring it in.
    pub reason: String,
}

/// A profile made concrete.
pub struct Environment {
    /// The profile's name.
    pub name: String,
    /// The repository.
    pub root: PathBuf,
    /// What runs: the profile without what was left out.
    pub profile: Profile,
    /// The merged tree with origins.
    pub tree: Node,
    /// What was left out.
    pub left_out: Vec<LeftOut>,
    /// Where state and artifacts live.
    pub dirs: Dirs,
    /// The manifests.
    pub templates: Templates,
    /// `clickhouse` in PATH; none uses the embedded engine.
    pub clickhouse_binary: Option<PathBuf>,
    /// `mongod` in PATH.
    pub mongod_binary: Option<PathBuf>,
    passwords: Passwords,
}

/// The passwords of the components that have one.
struct Passwords {
    postgres: Secret,
    mongodb: Secret,
    clickhouse: Secret,
}

/// Whether passwords that do not exist yet are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// Generate what is missing.
    Create,
    /// Change nothing.
    Existing,
}

impl Environment {
    /// Makes a loaded profile concrete on this machine. With [`Secrets::Create`] the environment's
    /// directories and passwords exist afterwards.
    ///
    /// # Errors
    /// A directory or secret cannot be used.
    pub fn new(root: &Path, loaded: Loaded, mode: Secrets) -> Result<Self> {
        let dirs = Dirs::of(&loaded.name)?;
        if mode == Secrets::Create {
            dirs.create()?;
        }
        // Nobody gave a service of the user's own the password that would be generated for it.
        let none = Password(String::new());
        let password = |component, fixed: &Option<Password>, external: &Option<String>| {
            let fixed = fixed.as_ref().or(external.as_ref().map(|_| &none));
            match mode {
                Secrets::Create => secrets::ensure(&dirs, component, fixed),
                Secrets::Existing => secrets::existing(&dirs, component, fixed),
            }
        };
        let Profile {
            postgres,
            mongodb,
            clickhouse,
            ..
        } = &loaded.profile;
        let passwords = Passwords {
            postgres: password("postgres", &postgres.password, &postgres.external)?,
            mongodb: password("mongodb", &mongodb.password, &mongodb.external)?,
            clickhouse: password("clickhouse", &clickhouse.password, &clickhouse.external)?,
        };
        let mongod_binary = which::which("mongod").ok();
        let mut left_out = Vec::new();
        let mut profile = loaded.profile;
        if profile.uses(Source::Mongodb)
            && profile.mongodb.external.is_none()
            && mongod_binary.is_none()
        {
            left_out.push(LeftOut {
                component: "mongodb",
                reason: "no `mongod` in PATH: its connector and flows are left out \
                         (install MongoDB, or set mongodb.external=host:port)"
                    .into(),
            });
            profile = profile.without(Source::Mongodb);
        }
        Ok(Environment {
            name: loaded.name,
            root: root.to_owned(),
            profile,
            tree: loaded.tree,
            left_out,
            templates: Templates::new(root.join("manifests")),
            clickhouse_binary: which::which("clickhouse").ok(),
            mongod_binary,
            dirs,
            passwords,
        })
    }

    /// The broker.
    pub fn kafka(&self) -> Endpoint {
        at(
            self.profile.kafka.external.as_deref(),
            self.profile.kafka.port,
        )
    }

    /// The Connect worker's REST interface.
    pub fn connect(&self) -> Endpoint {
        Endpoint::loopback(self.profile.connect.port)
    }

    /// The relational source.
    pub fn postgres(&self) -> Endpoint {
        let spec = &self.profile.postgres;
        at(spec.external.as_deref(), spec.port).login(&spec.user, self.passwords.postgres.clone())
    }

    /// The document source. A member of the user's own for which no password is set is asked
    /// without credentials: MongoDB refuses a login with an empty password.
    pub fn mongodb(&self) -> Endpoint {
        let spec = &self.profile.mongodb;
        let endpoint = at(spec.external.as_deref(), spec.port);
        if self.passwords.mongodb.expose().is_empty() {
            return endpoint;
        }
        endpoint.login(&spec.user, self.passwords.mongodb.clone())
    }

    /// The target.
    pub fn clickhouse(&self) -> Endpoint {
        let spec = &self.profile.clickhouse;
        at(spec.external.as_deref(), spec.port).login(&spec.user, self.passwords.clickhouse.clone())
    }

    /// A session at the relational source.
    ///
    /// # Errors
    /// It does not answer or refuses the login.
    pub async fn postgres_session(&self) -> Result<Postgres, PostgresError> {
        Postgres::connect(&self.postgres(), &self.profile.postgres.database).await
    }

    /// A client of the document source.
    ///
    /// # Errors
    /// Its address is unusable.
    pub fn mongodb_client(&self) -> Result<Mongodb, MongodbError> {
        Mongodb::new(&self.mongodb())
    }

    /// A client of the target, in the profile's database.
    pub fn clickhouse_client(&self) -> Clickhouse {
        Clickhouse::new(self.clickhouse(), &self.profile.clickhouse.database)
    }

    /// A client of the Connect worker.
    pub fn connect_client(&self) -> Connect {
        Connect::new(self.connect())
    }

    /// The connectors with their names.
    pub fn connectors(&self, source: Source) -> impl Iterator<Item = (&String, &Connector)> {
        self.profile
            .connectors
            .iter()
            .filter(move |(_, connector)| connector.source == source)
    }

    /// What every template may name: the profile's own keys without passwords, and the endpoints.
    pub fn context(&self) -> Value {
        let mut context = self.tree.to_json();
        for component in ["postgres", "mongodb", "clickhouse"] {
            if let Some(section) = context.get_mut(component).and_then(Value::as_object_mut) {
                section.shift_remove("password");
            }
        }
        let endpoint = |endpoint: &Endpoint| endpoint.address();
        context["endpoints"] = json!({
            "kafka": endpoint(&self.kafka()),
            "connect": endpoint(&self.connect()),
            "postgres": endpoint(&self.postgres()),
            "mongodb": endpoint(&self.mongodb()),
            "clickhouse": endpoint(&self.clickhouse()),
        });
        context
    }
}

fn at(external: Option<&str>, port: u16) -> Endpoint {
    match external {
        Some(address) => Endpoint::parse(address),
        None => Endpoint::loopback(port),
    }
}
