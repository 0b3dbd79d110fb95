//! Components as profiles know them: types with their settings, and what follows from these alone.
//!
//! A type registers a [`Type`]; its settings are a struct of its own that answers as [`Spec`]. Nothing in this
//! file names a type.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::Node;
use super::decode;
use super::parts::Part;
use super::rules::Rules;
use super::schema::{Password, PlatformChoice, Profile};
use crate::endpoint::Tls;
use crate::error::Result;

/// A type of component.
pub struct Type {
    /// Its name, which is also its key in a profile and its folder in `manifests/`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What people call it for short, beside its name.
    pub short: &'static str,
    /// What connectors of it have in common; none where no connector reads it. A source is there where a
    /// connector reads it, any other type unless the profile leaves it out.
    pub source: Option<Source>,
    /// What writes to it; none where no connector does.
    pub sink: Option<Sink>,
    /// It reads the topics itself: flows that name no sink arrive there, in columns of its own types.
    pub reads_topics: Option<&'static ColumnTypes>,
    /// What it uses that has a version.
    pub parts: &'static [&'static Part],
    /// Whether one that is called as the type has a port of Kind's node, below `kind.node_ports`.
    pub has_node_port: bool,
    /// Reads a component's settings; the path is that of its keys.
    pub decode: fn(&Node, &str, &str) -> Result<Arc<dyn Spec>>,
}

impl Debug for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Type {
    /// Whether people mean it by this word.
    pub fn is_called(&self, word: &str) -> bool {
        word == self.name || word == self.short
    }
}

/// What a profile must know of the connectors that read a type.
pub struct Source {
    /// The form of a table's name, for people.
    pub table: &'static str,
    /// The keys that each of its connectors has and no other connector may share.
    pub keys: &'static [&'static str],
    /// Whether its events carry a position that orders them, which `keep: latest` needs.
    pub has_positions: bool,
    /// Whether its tables have columns, which a flow need not name then.
    pub has_columns: bool,
    /// Whether a table of it may be an outbox, whose rows are events.
    pub has_outbox: bool,
    /// Whether its connectors can read some of their tables again while they stream.
    pub rereads: bool,
    /// Whether a canary's key is a number, which is negative then.
    pub numbers_canaries: bool,
    /// Its plugin.
    pub plugin: &'static Part,
    /// How the name of the plugin's class ends.
    pub class: &'static str,
    /// What the name of the topic begins with in which its connectors keep the tables' definitions; none
    /// where the log has them.
    pub history: Option<&'static str>,
    /// The setting in which a connector's configuration may name another user.
    pub user: &'static str,
    /// The one with the password.
    pub password: &'static str,
}

/// What a profile must know of the connectors that write to a type.
pub struct Sink {
    /// Their plugin.
    pub plugin: &'static Part,
}

/// The types that the columns of a flow's table may have.
pub struct ColumnTypes {
    /// Checks one.
    pub check: fn(&str) -> Result<(), WrongType>,
    /// Whether a column of it may be NULL.
    pub is_nullable: fn(&str) -> bool,
    /// Whether it has a least and a greatest value.
    pub has_bounds: fn(&str) -> bool,
    /// Whether it holds texts.
    pub is_text: fn(&str) -> bool,
    /// Whether a canary's key can be of it: an integer that may be negative and holds its number, a text, a UUID.
    pub is_canary_key: fn(&str) -> bool,
}

/// What is wrong with a column's type, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongType {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// All types.
pub type Types = &'static [&'static Type];

/// Decodes settings as `T`.
///
/// # Errors
/// An unknown key, a missing key or a wrong type, at its place.
pub fn decode<T: DeserializeOwned + Named + Spec>(
    node: &Node,
    name: &str,
    path: &str,
) -> Result<Arc<dyn Spec>> {
    let mut spec: T = decode::decode_at(node, path)?;
    spec.set_name(name);
    Ok(Arc::new(spec))
}

/// Settings that know whose they are.
pub trait Named {
    /// Takes the component's name over.
    fn set_name(&mut self, name: &str);
}

/// A component of a profile.
#[derive(Clone)]
pub struct Instance {
    /// Its name; its type's where the profile gives none.
    pub name: String,
    /// Its type.
    pub kind: &'static Type,
    /// Where its keys are in the profile: `postgres`, or `components.warehouse`.
    pub path: String,
    /// Its settings.
    pub spec: Arc<dyn Spec>,
}

impl Instance {
    /// Whether the user runs it.
    pub fn is_external(&self) -> bool {
        self.spec.external().is_some()
    }
}

/// A program of this machine that runs a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Why the component is left out without it; `{path}` stands for where its keys are. None has another
    /// way to run it.
    pub without: Option<&'static str>,
}

/// A port of this machine, and what it leads to in a Kind cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The key that gives it.
    pub key: &'static str,
    /// Of this machine, on its loopback address.
    pub host: u16,
    /// Of the node.
    pub node: u16,
}

/// Who logs in at a component.
#[derive(Clone, Copy, Debug)]
pub struct Accounts<'a> {
    /// Whom the tool itself logs in as; empty for nobody.
    pub user: &'a str,
    /// Their password; none generates one.
    pub password: Option<&'a Password>,
    /// Whom connectors log in as, where the type lets them be users of their own.
    pub connector: Option<ConnectorAccount<'a>>,
}

/// Whom connectors log in as.
#[derive(Clone, Copy, Debug)]
pub struct ConnectorAccount<'a> {
    /// The user whom the profile names.
    pub user: Option<&'a str>,
    /// Their password; none generates one.
    pub password: Option<&'a Password>,
    /// Whether a server of the user's own without a password takes anybody.
    pub anybody: bool,
}

/// A password of a component beside its accounts'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Completes the component's name: `key` makes `<name>-key`.
    pub suffix: String,
    /// Whether only clusters have it.
    pub on_clusters: bool,
}

/// An object on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// `apiVersion`.
    pub api: &'static str,
    /// `kind`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl ObjectName {
    /// A StatefulSet of a database.
    pub fn stateful_set(name: &str) -> (Space, Self) {
        let object = ObjectName {
            api: "apps/v1",
            kind: "StatefulSet",
            name: name.to_owned(),
        };
        (Space::Database, object)
    }
}

/// Which of the two namespaces something is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// That of Kafka and Connect.
    Kafka,
    /// That of the databases.
    Database,
}

impl Profile {
    /// The namespace's name.
    pub fn namespace(&self, space: Space) -> &str {
        match space {
            Space::Kafka => &self.kubernetes.kafka_namespace,
            Space::Database => &self.kubernetes.database_namespace,
        }
    }
}

/// What follows from a component's settings alone.
pub trait Spec: Any + Debug + Send + Sync {
    /// The component's name.
    fn name(&self) -> &str;

    /// Address of a server that the tool does not run.
    fn external(&self) -> Option<&str> {
        None
    }

    /// Whether that address is of a form of the type's own, which it checks itself. It is `host:port` otherwise.
    fn has_own_addresses(&self) -> bool {
        false
    }

    /// How connections to a server that the tool does not run are encrypted; a path is the profile's.
    fn tls(&self) -> Tls {
        Tls::Disable
    }

    /// A program in PATH that runs it on `host` where it is there.
    fn program(&self) -> Option<Program> {
        None
    }

    /// Whether it answers over HTTP.
    fn is_http(&self) -> bool {
        false
    }

    /// Its ports of this machine on `host`, with the keys that give them; the first is its clients'.
    fn ports(&self) -> Vec<(&'static str, u16)>;

    /// Its ports of this machine that lead into a Kind cluster.
    fn host_ports(&self, profile: &Profile) -> Vec<Port> {
        let _ = profile;
        Vec::new()
    }

    /// Checks what the types of its settings cannot.
    ///
    /// # Errors
    /// The first rule that is broken, at the place of the value that breaks it.
    fn check(&self, rules: &Rules<'_>) -> Result<()>;

    /// Where pods find it, where the tool runs it: its service, the namespace, and the port.
    fn service(&self, profile: &Profile) -> (String, Space, u16);

    /// The pod that is asked instead of the service, which leads to any.
    fn first_pod(&self) -> Option<String> {
        None
    }

    /// The pods that are asked one by one, each with its shard; none where the service leads to the only one.
    fn servers(&self) -> Vec<(u16, String)> {
        Vec::new()
    }

    /// Who logs in at it; none where nobody does.
    fn accounts(&self) -> Option<Accounts<'_>> {
        None
    }

    /// Passwords of its own beside those of its accounts.
    fn keys(&self, profile: &Profile) -> Vec<Key> {
        let _ = profile;
        Vec::new()
    }

    /// The objects that it is made of on a cluster, in the order in which they are waited for.
    fn objects(&self, profile: &Profile) -> Vec<(Space, ObjectName)>;

    /// Those of its objects that serve its clients, where others of them come later.
    fn serving(&self, profile: &Profile) -> Option<Vec<(Space, ObjectName)>> {
        let _ = profile;
        None
    }

    /// What it uses that has a version, where the tool runs it, on a platform.
    fn versions(&self, platform: PlatformChoice) -> Vec<&'static Part> {
        let _ = platform;
        Vec::new()
    }
}

impl Profile {
    /// The component of this name.
    pub fn component(&self, name: &str) -> Option<&Instance> {
        self.components.get(name)
    }

    /// The component of this name, or what the profile says of a type of which it has none.
    pub fn any(&self, name: &str) -> Option<&Instance> {
        let mut idle = self.idle.iter();
        let idle = || idle.find(|it| it.name == name);
        self.components.get(name).or_else(idle)
    }

    /// The settings of a type, with which component they are of: of the one that has this name, or of the
    /// first of the type.
    pub fn first<T: Spec>(&self) -> Option<&T> {
        self.components.values().find_map(Instance::get)
    }
}

impl Instance {
    /// Its settings as those of a type.
    pub fn get<T: Spec>(&self) -> Option<&T> {
        let spec: &dyn Any = &*self.spec;
        spec.downcast_ref()
    }
}

impl Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct(self.kind.name)
            .field("name", &self.name)
            .field("spec", &self.spec)
            .finish()
    }
}
