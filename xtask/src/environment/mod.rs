//! A loaded profile on its platform: the one value that everything above the platform works with.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use bollard::Docker;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

mod altinity;
mod clickhouse;
mod link;
mod login;
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
use crate::platform::host::{Dirs, daemon, secrets};
use crate::platform::kubernetes::Cluster;
use crate::platform::{Endpoint, Platform, Secret, docker};
use crate::profile::logins::{Login, connector_secret};
use crate::profile::schema::{Connector, KafkaSecurity, Password, Source};
use crate::profile::{Loaded, Node, Profile};
use crate::readiness::Status;
use crate::render::{Templates, kubernetes};

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

/// The passwords of the components that have one.
struct Passwords {
    postgres: Secret,
    mongodb: Secret,
    /// The connectors' own users; empty where they have none.
    postgres_connector: Secret,
    mongodb_connector: Secret,
    /// The key that MongoDB's members share.
    mongodb_key: Secret,
    clickhouse: Secret,
    /// The user that ClickHouse's operator makes for itself; empty on `host`.
    clickhouse_operator: Secret,
    /// Users of a broker that asks who connects; empty for one that does not.
    kafka_connect: Secret,
    kafka_clickhouse: Secret,
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
            kafka,
            postgres,
            mongodb,
            clickhouse,
            ..
        } = &loaded.profile;
        let user = |name| match kafka.security {
            KafkaSecurity::Scram => password(name, &None, &None),
            KafkaSecurity::Plain => Ok(Secret::new("")),
        };
        let connector = |source, fixed| match loaded.profile.connector_login(source) {
            Login::Own(_) => password(connector_secret(source), fixed, &None),
            Login::Shared(_) | Login::Nobody => Ok(Secret::new("")),
        };
        let passwords = Passwords {
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
        };
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

    /// What keeps a component from answering, as its platform sees it: a process that has ended, a
    /// resource that is not current. None where nothing speaks against asking it.
    pub async fn obstacle(&self, component: &str) -> Option<Status> {
        if self.is_external(component) {
            return None;
        }
        match self.platform {
            Platform::Host => daemon::ended(&self.dirs, component),
            Platform::Kind | Platform::Kubernetes => match self.link.get() {
                Some(link) => link.obstacle(&self.profile, component).await,
                None => Some(Status::unknown("the cluster is not there")),
            },
        }
    }

    /// As [`Environment::obstacle`], but without what a component needs for nobody's requests.
    pub async fn hindrance(&self, component: &str) -> Option<Status> {
        match self.link.get() {
            Some(link) if !self.is_external(component) => {
                link.hindrance(&self.profile, component).await
            }
            _ => self.obstacle(component).await,
        }
    }

    /// Ends waits of others for a component that are in vain by now, and says what it did. Strimzi looks
    /// every two minutes, and not at all at a change that came while it was busy; a kubelet pauses for
    /// up to five. For waits of commands that change something.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn hasten(&self, component: &str) -> Result<Option<String>> {
        match self.link.get() {
            Some(link) if !self.is_external(component) => {
                link.hasten(&self.profile, component).await
            }
            _ => Ok(None),
        }
    }

    /// What keeps a component's pods from starting; none once they have, whatever becomes of them.
    pub async fn beginning(&self, component: &str) -> Option<Status> {
        let link = self.link.get()?;
        link.beginning(&self.profile, component).await
    }

    /// Why the operator will not submit a connector to Connect, where an operator does: Connect itself
    /// knows nothing of one whose configuration it refused.
    pub async fn refused_connector(&self, name: &str) -> Option<Status> {
        let link = self.link.get()?;
        link.refused_connector(&self.profile, name).await
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
