//! A loaded profile on its platform: the one value that everything above the platform works with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use bollard::Docker;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

pub mod access;
pub mod blocked;
mod link;
mod login;
mod operator_log;
mod passwords;
mod process;
mod sources;

pub use link::{Link, STRIMZI_DEPLOYMENT, connector, strimzi, targets};
pub use login::text;
pub use login::{AUTHORITY, CERTIFICATE, USER as KAFKA_USER};
pub use sources::CA;

use crate::clients::connect::Connect;
use crate::endpoint::Tls;
use crate::error::{Code, Error, Result};
use crate::platform::host::Dirs;
use crate::platform::kubernetes::Cluster;
use crate::platform::{Endpoint, Platform, docker};
use crate::profile::component::Instance;
use crate::profile::rules::beside;
use crate::profile::schema::{Connector, PlatformChoice};
use crate::profile::{Loaded, Node, Profile};
use crate::render::Templates;
use crate::wait::Patience;
use passwords::Passwords;

/// A source that the profile has and this run leaves out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Component.
    pub component: String,
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
    /// Programs of components that are in PATH, by their names.
    pub programs: BTreeMap<&'static str, PathBuf>,
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

/// Where components answer, by name, without logins.
pub type Addresses = BTreeMap<String, Endpoint>;

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
    /// A directory, a secret or an authority's file cannot be used.
    pub fn new(root: &Path, loaded: Loaded, platform: Platform, mode: Secrets) -> Result<Self> {
        let dirs = Dirs::of(&loaded.name)?;
        if mode == Secrets::Create {
            dirs.create()?;
        }
        let passwords = Passwords::of(&loaded.profile, &dirs, platform, mode)?;
        let mut programs = BTreeMap::new();
        let mut left_out = Vec::new();
        let mut profile = loaded.profile;
        let own: Vec<Instance> = profile.components.values().cloned().collect();
        for instance in own {
            let Some(program) = instance.spec.program() else {
                continue;
            };
            match which::which(program.name) {
                Ok(path) => drop(programs.insert(program.name, path)),
                Err(_) => {
                    let here = platform == Platform::Host && !instance.is_external();
                    if let (true, Some(reason)) = (here, program.without) {
                        let component = instance.name;
                        profile = profile.without(&component);
                        left_out.push(LeftOut {
                            reason: reason.replace("{path}", &instance.path),
                            component,
                        });
                    }
                }
            }
        }
        let env = Environment {
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
            programs,
            dirs,
            passwords,
        };
        if let Tls::VerifyFull { ca } = env.kafka().tls {
            env.set_kafka_ca(access::read(&ca)?);
        }
        Ok(env)
    }

    /// The platform as a profile would choose it.
    pub fn platform_choice(&self) -> PlatformChoice {
        match self.platform {
            Platform::Host => PlatformChoice::Host,
            Platform::Kind => PlatformChoice::Kind,
            Platform::Kubernetes => PlatformChoice::Kubernetes,
        }
    }

    /// The components that this tool runs, in the order of the profile: the one answer to "does this run here".
    pub fn running(&self) -> impl Iterator<Item = &Instance> {
        let components = self.profile.components.values();
        components.filter(|instance| !instance.is_external())
    }

    /// The component of this name that this tool runs.
    pub fn runs(&self, name: &str) -> Option<&Instance> {
        self.running().find(|instance| instance.name == name)
    }

    /// Where a component answers the others.
    pub fn inside(&self, name: &str) -> Endpoint {
        at(&self.inside, name)
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
            let what = format!("environment `{}` has no cluster", self.name);
            Error::new(Code::Platform, what)
        })
    }

    /// A component's address for people: on a cluster the service's, since forwards end with the
    /// command.
    pub fn shown(&self, component: &str) -> String {
        let mut endpoint = match self.platform {
            Platform::Host => at(self.reach(), component),
            Platform::Kind | Platform::Kubernetes => self.inside(component),
        };
        let found = self.profile.component(component);
        endpoint.tls = found.map_or(Tls::Disable, |it| self.tls(it));
        match found.is_some_and(|it| it.spec.is_http()) {
            true => endpoint.url(),
            false => endpoint.address(),
        }
    }

    /// A component as this tool reaches it, with its login. A server of the user's own for which no
    /// password is set may be asked without credentials, where it refuses an empty one.
    pub fn endpoint(&self, component: &str) -> Endpoint {
        let mut endpoint = at(self.reach(), component);
        let instance = self.profile.component(component);
        endpoint.tls = instance.map_or(Tls::Disable, |it| self.tls(it));
        let Some(accounts) = instance.and_then(|it| it.spec.accounts()) else {
            return endpoint;
        };
        let password = self.password(component);
        let anybody = accounts.connector.is_some_and(|it| it.anybody);
        match anybody && password.expose().is_empty() {
            true => endpoint,
            false => endpoint.login(accounts.user, password),
        }
    }

    /// How connections to a component are encrypted, from here.
    fn tls(&self, of: &Instance) -> Tls {
        match of.spec.tls() {
            Tls::VerifyFull { ca } => Tls::VerifyFull {
                ca: self.root.join(ca),
            },
            tls => tls,
        }
    }

    /// Every server of a component, shard by shard: one, or where there are several each of them.
    pub fn servers(&self, component: &str) -> Vec<(u16, Endpoint)> {
        let any = self.endpoint(component);
        let each = self
            .link
            .get()
            .map_or(&[][..], |link| link.servers(component));
        if each.is_empty() {
            return vec![(0, any)];
        }
        let login = |endpoint: &Endpoint| endpoint.clone().login(&any.user, any.password.clone());
        each.iter()
            .map(|(shard, endpoint)| (*shard, login(endpoint)))
            .collect()
    }

    /// How long a component may take to be ready. A slow machine under load takes several times the
    /// usual few seconds; a cluster may pull images first.
    pub fn patience(&self) -> Patience {
        Patience::local(match self.platform {
            Platform::Host => Duration::from_secs(120),
            Platform::Kind | Platform::Kubernetes => Duration::from_secs(600),
        })
    }

    /// The broker.
    pub fn kafka(&self) -> Endpoint {
        self.endpoint(&self.profile.kafka.name)
    }

    /// The Connect worker's REST interface.
    pub fn connect(&self) -> Endpoint {
        self.endpoint(&self.profile.connect.name)
    }

    /// The Docker engine. It is connected once.
    ///
    /// # Errors
    /// No engine answers.
    pub async fn docker(&self) -> Result<&Docker> {
        self.engine.get_or_try_init(docker::connect).await
    }

    /// Where a file is that a key of an instance names: beside the profile, or in a folder of its type's manifests.
    pub fn named_file(&self, instance: &str, key: &str, folder: &str, file: &str) -> PathBuf {
        let manifests = self.templates.root();
        let instance = self.profile.any(instance);
        let key = instance.map(|it| format!("{}.{key}", it.path));
        let found = key.and_then(|key| beside(&self.tree, &key, file, manifests));
        let kind = instance.map_or("", |it| it.kind.name);
        found.unwrap_or_else(|| manifests.join(kind).join(folder).join(file))
    }

    /// Whether the user runs this component.
    pub fn is_external(&self, component: &str) -> bool {
        self.external(component).is_some()
    }

    /// The address of a component that the user runs.
    pub fn external(&self, component: &str) -> Option<&str> {
        self.profile.component(component)?.spec.external()
    }

    /// Where a component's keys are: `postgres`, or `components.shop`.
    pub fn path<'a>(&'a self, component: &'a str) -> &'a str {
        let found = self.profile.component(component);
        found.map_or(component, |it| it.path.as_str())
    }

    /// A client of the Connect worker.
    pub fn connect_client(&self) -> Connect {
        Connect::new(self.connect())
    }

    /// The connectors of a component with their names.
    pub fn connectors(&self, of: &str) -> impl Iterator<Item = (&String, &Connector)> {
        let connectors = self.profile.connectors.iter();
        connectors.filter(move |(_, connector)| connector.source == of)
    }

    /// What every template may name: the profile's own keys without passwords, and the endpoints.
    pub fn context(&self) -> Value {
        let mut context = self.tree.to_json();
        for instance in self.profile.components.values() {
            let path = format!("/{}", instance.path.replace('.', "/"));
            if let Some(section) = context.pointer_mut(&path).and_then(Value::as_object_mut) {
                section.shift_remove("password");
                section.shift_remove("connector_password");
            }
        }
        let endpoints = self.inside.iter();
        context["endpoints"] = endpoints
            .map(|(name, endpoint)| (name.clone(), json!(endpoint.address())))
            .collect();
        context
    }

    /// What a component's own templates may name beside: its settings under its type's name, as if it had
    /// no name of its own, and `name`.
    pub fn context_of(&self, component: &str) -> Value {
        let mut context = self.context();
        if let Some(instance) = self.profile.component(component) {
            let path = format!("/{}", instance.path.replace('.', "/"));
            context[instance.kind.name] = context.pointer(&path).cloned().unwrap_or_default();
        }
        context["name"] = json!(component);
        context
    }
}

fn at(addresses: &Addresses, name: &str) -> Endpoint {
    let found = addresses.get(name).cloned();
    found.unwrap_or_else(|| Endpoint::loopback(0))
}

/// Where the platform has its components answer each other.
fn addresses(platform: Platform, profile: &Profile) -> Addresses {
    let components = profile.components.values();
    components
        .map(|it| {
            let endpoint = match (it.spec.external(), platform) {
                (Some(address), _) => Endpoint::parse(address),
                (None, Platform::Host) => {
                    let ports = it.spec.ports();
                    Endpoint::loopback(ports.first().map_or(0, |(_, port)| *port))
                }
                (None, Platform::Kind | Platform::Kubernetes) => {
                    let (service, space, port) = it.spec.service(profile);
                    let namespace = profile.namespace(space);
                    Endpoint::parse(&format!("{service}.{namespace}.svc:{port}"))
                }
            };
            (it.name.clone(), endpoint)
        })
        .collect()
}
