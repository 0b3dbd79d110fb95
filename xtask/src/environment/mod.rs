//! A loaded profile on its platform: the one value that everything above the platform works with.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use bollard::Docker;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

mod altinity;
mod blocked;
mod clickhouse;
mod link;
mod login;
mod passwords;
mod process;
mod sources;

pub use clickhouse::{CLUSTER as CLICKHOUSE_CLUSTER, Server as ClickhouseServer};

pub use link::{Link, connector, strimzi, targets};
pub(crate) use login::text;
pub use login::{AUTHORITY, CERTIFICATE, USER as KAFKA_USER};

use crate::clients::clickhouse::Clickhouse;
use crate::clients::connect::Connect;
use crate::clients::mongodb::{Mongodb, MongodbError};
use crate::clients::postgres::{Postgres, PostgresError};
use crate::error::{Code, Error, Result};
use crate::platform::host::Dirs;
use crate::platform::kubernetes::Cluster;
use crate::platform::{Endpoint, Platform, docker};
use crate::profile::schema::{Connector, PlatformChoice, Source};
use crate::profile::{Loaded, Node, Profile};
use crate::render::{Templates, kubernetes};
use passwords::Passwords;

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
    /// Where components run.
    pub platform: Platform,
    /// Whether what is applied to a cluster takes fields over that other managers own.
    pub force: bool,
    /// Where components answer each other; templates and connectors name these.
    inside: Addresses,
    /// The connection to the cluster, once there is one.
    link: OnceLock<Link>,
    /// The connection to the Docker engine, once something asked for it.
    engine: OnceCell<Docker>,
    kafka_login: Mutex<login::KafkaLogin>,
    passwords: Passwords,
}

/// Where components answer, without logins.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// The broker.
    pub kafka: Endpoint,
    /// The Connect worker's REST interface.
    pub connect: Endpoint,
    /// The relational source.
    pub postgres: Endpoint,
    /// The document source.
    pub mongodb: Endpoint,
    /// The target's HTTP interface.
    pub clickhouse: Endpoint,
}

impl Addresses {
    /// Those that this tool runs itself.
    fn own(&mut self, profile: &Profile) -> Vec<&mut Endpoint> {
        [
            (&mut self.kafka, profile.kafka.external.is_none()),
            (&mut self.connect, true),
            (&mut self.postgres, profile.postgres.external.is_none()),
            (&mut self.mongodb, profile.mongodb.external.is_none()),
            (&mut self.clickhouse, profile.clickhouse.external.is_none()),
        ]
        .into_iter()
        .filter_map(|(endpoint, own)| own.then_some(endpoint))
        .collect()
    }
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
    pub fn new(root: &Path, loaded: Loaded, platform: Platform, mode: Secrets) -> Result<Self> {
        let dirs = Dirs::of(&loaded.name)?;
        if mode == Secrets::Create {
            dirs.create()?;
        }
        let passwords = Passwords::of(&loaded.profile, &dirs, platform, mode)?;
        let mongod_binary = which::which("mongod").ok();
        let mut left_out = Vec::new();
        let mut profile = loaded.profile;
        if platform == Platform::Host
            && profile.uses(Source::Mongodb)
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
            platform,
            force: false,
            inside: addresses(platform, &profile),
            link: OnceLock::new(),
            engine: OnceCell::new(),
            kafka_login: Mutex::default(),
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

    /// The platform as a profile would choose it.
    pub fn platform_choice(&self) -> PlatformChoice {
        match self.platform {
            Platform::Host => PlatformChoice::Host,
            Platform::Kind => PlatformChoice::Kind,
            Platform::Kubernetes => PlatformChoice::Kubernetes,
        }
    }

    /// Where components answer each other.
    pub fn inside(&self) -> &Addresses {
        &self.inside
    }

    /// Where components answer this tool. On a cluster nothing answers before it is attached.
    fn reach(&self) -> &Addresses {
        self.link.get().map_or(&self.inside, |link| &link.reach)
    }

    /// Connects the environment with the cluster that it runs on. A second call changes nothing.
    ///
    /// # Errors
    /// There are no free ports.
    pub async fn attach(&self, cluster: Cluster) -> Result<()> {
        let link = Link::open(cluster, &self.profile, &self.inside).await?;
        self.link.get_or_init(|| link);
        Ok(())
    }

    /// The connection to the cluster.
    ///
    /// # Errors
    /// There is none: the environment is on `host`, or its cluster was not attached.
    pub fn link(&self) -> Result<&Link> {
        self.link.get().ok_or_else(|| {
            Error::new(
                Code::Platform,
                format!("environment `{}` has no cluster", self.name),
            )
        })
    }

    /// A component's address for people: on a cluster the service's, since forwards end with the
    /// command.
    pub fn shown(&self, component: &str) -> String {
        let at = match self.platform {
            Platform::Host => self.reach(),
            Platform::Kind | Platform::Kubernetes => &self.inside,
        };
        match component {
            "kafka" => at.kafka.address(),
            "connect" => at.connect.url(),
            "postgres" => at.postgres.address(),
            "mongodb" => at.mongodb.address(),
            _ => at.clickhouse.url(),
        }
    }

    /// The broker.
    pub fn kafka(&self) -> Endpoint {
        self.reach().kafka.clone()
    }

    /// The Connect worker's REST interface.
    pub fn connect(&self) -> Endpoint {
        self.reach().connect.clone()
    }

    /// The relational source.
    pub fn postgres(&self) -> Endpoint {
        let user = &self.profile.postgres.user;
        let endpoint = self.reach().postgres.clone();
        endpoint.login(user, self.passwords.postgres.clone())
    }

    /// The document source. A member of the user's own for which no password is set is asked
    /// without credentials: MongoDB refuses a login with an empty password.
    pub fn mongodb(&self) -> Endpoint {
        let endpoint = self.reach().mongodb.clone();
        if self.passwords.mongodb.expose().is_empty() {
            return endpoint;
        }
        endpoint.login(&self.profile.mongodb.user, self.passwords.mongodb.clone())
    }

    /// The target.
    pub fn clickhouse(&self) -> Endpoint {
        let user = &self.profile.clickhouse.user;
        let endpoint = self.reach().clickhouse.clone();
        endpoint.login(user, self.passwords.clickhouse.clone())
    }

    /// The Docker engine. It is connected once.
    ///
    /// # Errors
    /// No engine answers.
    pub async fn docker(&self) -> Result<&Docker> {
        self.engine.get_or_try_init(docker::connect).await
    }

    /// Whether the user runs this component.
    pub fn is_external(&self, component: &str) -> bool {
        self.external(component).is_some()
    }

    /// The address of a component that the user runs.
    pub fn external(&self, component: &str) -> Option<&str> {
        let external = match component {
            "kafka" => &self.profile.kafka.external,
            "postgres" => &self.profile.postgres.external,
            "mongodb" => &self.profile.mongodb.external,
            "clickhouse" => &self.profile.clickhouse.external,
            _ => &None,
        };
        external.as_deref()
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
                section.shift_remove("connector_password");
            }
        }
        context["endpoints"] = json!({
            "kafka": self.inside.kafka.address(),
            "connect": self.inside.connect.address(),
            "postgres": self.inside.postgres.address(),
            "mongodb": self.inside.mongodb.address(),
            "clickhouse": self.inside.clickhouse.address(),
        });
        context
    }
}

/// Where the platform has its components answer each other.
fn addresses(platform: Platform, profile: &Profile) -> Addresses {
    let Profile {
        kafka,
        connect,
        postgres,
        mongodb,
        clickhouse,
        ..
    } = profile;
    match platform {
        Platform::Host => Addresses {
            kafka: at(kafka.external.as_deref(), kafka.port),
            connect: Endpoint::loopback(connect.port),
            postgres: at(postgres.external.as_deref(), postgres.port),
            mongodb: at(mongodb.external.as_deref(), mongodb.port),
            clickhouse: at(clickhouse.external.as_deref(), clickhouse.port),
        },
        Platform::Kind | Platform::Kubernetes => {
            let pods = kubernetes::endpoints(profile);
            Addresses {
                kafka: Endpoint::parse(&pods.kafka),
                connect: Endpoint::parse(&pods.connect),
                postgres: Endpoint::parse(&pods.postgres),
                mongodb: Endpoint::parse(&pods.mongodb),
                clickhouse: Endpoint::parse(&pods.clickhouse),
            }
        }
    }
}

fn at(external: Option<&str>, port: u16) -> Endpoint {
    match external {
        Some(address) => Endpoint::parse(address),
        None => Endpoint::loopback(port),
    }
}
