//! The component types, one folder each: what a profile says of one (`settings`), how it is run, what proves
//! that it works, what it needs before changes can flow. `ALL` is the only list of them, `OPERATORS` that of
//! what runs them on clusters.

pub mod clickhouse;
pub mod columns;
mod component;
pub mod connect;
pub mod console;
pub mod dialect;
pub mod kafka;
pub mod mongodb;
pub mod mysql;
mod operator;
pub mod position;
pub mod postgres;
pub mod projections;
pub mod slots;
pub mod source;
mod sql;
pub mod sqlserver;
pub mod target;
mod truststore;

use std::any::Any;
use std::path::Path;

use serde_json::Value;

use self::source::Source;
use self::target::Target;

/// Rows that a JDBC sink writes to a database of the environment.
pub use postgres::jdbc_sink::Rows as SinkRows;

pub use component::{Component, Kept, Lock, Manifests, PodSet, Replaced, Seeded, Stage};
pub use operator::Operator;

use self::clickhouse::settings::ClickhouseSettings;
use self::mongodb::settings::MongodbSettings;
use self::mysql::settings::MysqlSettings;
use self::position::Position;
use self::postgres::settings::PostgresSettings;
use self::sqlserver::settings::SqlserverSettings;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::component::{Instance, Spec, Type, Types};
use crate::profile::schema::{Connect, Connector, Flow, Kafka, Versions};
use crate::profile::{self, Loaded, Profile, Selection, backbone};

/// A registered type: what profiles know of it, and the settings that are a component of it.
struct Registered {
    kind: &'static Type,
    component: fn(&dyn Spec) -> Option<&dyn Component>,
    /// What an offset of its connectors means; none of another type's.
    position: fn(&Value) -> Option<Position>,
    /// See [`Component::lock`].
    lock: fn(&Versions) -> Option<Lock>,
}

const fn registered<T: Component>(
    kind: &'static Type,
    position: fn(&Value) -> Option<Position>,
) -> Registered {
    Registered {
        kind,
        component: component::<T>,
        position,
        lock: T::lock,
    }
}

fn component<T: Component>(spec: &dyn Spec) -> Option<&dyn Component> {
    let spec: &dyn Any = spec;
    spec.downcast_ref::<T>().map(|it| it as &dyn Component)
}

/// Every type, in the order in which components are listed.
static ALL: [Registered; 7] = [
    registered::<Kafka>(&backbone::KAFKA, |_| None),
    registered::<Connect>(&backbone::CONNECT, |_| None),
    registered::<PostgresSettings>(&postgres::settings::TYPE, postgres::source::position),
    registered::<MongodbSettings>(&mongodb::settings::TYPE, mongodb::source::position),
    registered::<MysqlSettings>(&mysql::settings::TYPE, mysql::source::position),
    registered::<SqlserverSettings>(&sqlserver::settings::TYPE, sqlserver::source::position),
    registered::<ClickhouseSettings>(&clickhouse::settings::TYPE, |_| None),
];

/// Every operator; those of the databases that changes are read from come last. One may run several types.
pub static OPERATORS: [&Operator; 3] = [
    &kafka::operator::STRIMZI,
    &clickhouse::operator::ALTINITY,
    &postgres::operator::CLOUDNATIVE_PG,
];

/// The lock files of all types.
pub fn locks(versions: &Versions) -> Vec<Lock> {
    let locks = ALL.iter().filter_map(|it| (it.lock)(versions));
    locks.collect()
}

/// The types, for who loads a profile.
pub static TYPES: Types = &KINDS;

static KINDS: [&Type; ALL.len()] = {
    let mut kinds = [ALL[0].kind; ALL.len()];
    let mut at = 1;
    while at < kinds.len() {
        kinds[at] = ALL[at].kind;
        at += 1;
    }
    kinds
};

/// Loads a profile with the types that there are.
///
/// # Errors
/// See [`profile::load`].
pub fn load(root: &Path, selection: &Selection) -> Result<Loaded> {
    profile::load(root, selection, TYPES)
}

/// What stands for the operator of Kafka and Connect beside the components' names.
pub const OPERATOR: &str = "operator";

/// A profile's component as one.
#[expect(
    clippy::expect_used,
    reason = "a profile's types are those of the registry, which decoded its settings"
)]
pub fn of(instance: &Instance) -> &dyn Component {
    ALL.iter()
        .find_map(|it| (it.component)(&*instance.spec))
        .expect("a registered type")
}

/// The components of an environment, the user's own among them, in the order in which changes travel.
pub fn travelled(env: &Environment) -> Vec<&dyn Component> {
    let mut all: Vec<&dyn Component> = env.profile.components.values().map(of).collect();
    all.sort_by_key(|component| component.stage());
    all
}

/// The component of this name.
///
/// # Errors
/// There is none; with the nearest name, or why this run leaves it out.
pub fn named<'a>(env: &'a Environment, name: &str) -> Result<&'a dyn Component> {
    if let Some(instance) = env.profile.component(name) {
        return Ok(of(instance));
    }
    let error = Error::new(
        Code::NotUp,
        format!("{name} does not run in `{}`", env.name),
    );
    if let Some(left) = env.left_out.iter().find(|left| left.component == name) {
        return Err(error.detail(left.reason.clone()));
    }
    fits(&env.profile, name)?;
    Err(error.detail("no connector of the profile uses it"))
}

/// Checks that a name may be one of a profile's components: those of types that it does not use may.
///
/// # Errors
/// It may not; with the nearest name, or those of its type.
pub fn fits(profile: &Profile, name: &str) -> Result<()> {
    let own = || profile.components.keys().map(String::as_str);
    known(name, own())?;
    let mut of_type = profile.components.values();
    match of_type.any(|it| it.kind.name == name) && profile.component(name).is_none() {
        true => Err(nameless(profile, name)),
        false => Ok(()),
    }
}

/// Checks that a name may be one of a profile's components, and that the component is capable of something:
/// one that the profile does not use, too.
///
/// # Errors
/// See [`fits`]; or it is not, with what to do instead.
pub fn able(
    profile: &Profile,
    name: &str,
    can: impl FnOnce(&dyn Component) -> Result<()>,
) -> Result<()> {
    fits(profile, name)?;
    profile.any(name).map_or(Ok(()), |it| can(of(it)))
}

/// The error for the name of a type whose components have names of their own.
fn nameless(profile: &Profile, kind: &str) -> Error {
    let names = profile.components.values();
    let names = names.filter(|it| it.kind.name == kind);
    let names: Vec<String> = names.map(|it| format!("`{}`", it.name)).collect();
    Error::new(Code::Usage, format!("there is no component `{kind}`"))
        .hint(format!("did you mean {}?", names.join(" or ")))
}

/// Checks that a name may be a component's: the types are, and a profile's own.
///
/// # Errors
/// It is none; with the nearest name.
fn known<'a>(name: &str, own: impl Iterator<Item = &'a str>) -> Result<&'a str> {
    let mut names: Vec<&str> = types().collect();
    let own: Vec<&str> = own.filter(|name| !names.contains(name)).collect();
    names.extend(own);
    let found = names.iter().find(|known| **known == name);
    found.copied().ok_or_else(|| {
        let error = Error::new(Code::Usage, format!("there is no component `{name}`"));
        error.meant(
            name,
            names.iter().copied(),
            format!("components: {}", names.join(", ")),
        )
    })
}

/// The type that a connector's class reads; none of a sink, and of a class that is not known.
pub fn read_by_class(class: &str) -> Option<&'static Type> {
    let mut kinds = ALL.iter().map(|it| it.kind);
    kinds.find(|kind| {
        let source = kind.source.as_ref();
        source.is_some_and(|source| class.ends_with(source.class))
    })
}

/// The name of a type for people.
pub fn title(kind: &str) -> &'static str {
    let mut kinds = ALL.iter().map(|it| it.kind);
    let found = kinds.find(|it| it.name == kind);
    found.map_or("the source", |it| it.title)
}

/// The names of all types.
pub fn types() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|it| it.kind.name)
}

/// What the component that a connector reads answers as its source.
#[expect(
    clippy::expect_used,
    reason = "loading a profile refuses connectors that read no source"
)]
pub fn source<'a>(env: &'a Environment, connector: &Connector) -> &'a dyn Source {
    let read = env.read_by(connector).map(of);
    read.and_then(Component::source).expect("a source")
}

/// What the component that a flow reads answers as its source; none of a flow without a connector.
pub fn flow_source<'a>(env: &'a Environment, flow: &Flow) -> Option<&'a dyn Source> {
    let connector = env.profile.connectors.get(&flow.connector)?;
    Some(source(env, connector))
}

/// What the component that a flow arrives at answers as its target.
///
/// # Errors
/// The profile has none.
pub fn target<'a>(env: &'a Environment, flow: &Flow) -> Result<&'a dyn Target> {
    if let Some(target) = env.profile.written(flow).and_then(|it| of(it).target()) {
        return Ok(target);
    }
    let found = reading_targets(env).next();
    found.ok_or_else(|| {
        let what = format!("no component of `{}` is a target of flows", env.name);
        Error::new(Code::Usage, what)
    })
}

/// The targets that read the topics themselves.
pub fn reading_targets(env: &Environment) -> impl Iterator<Item = &dyn Target> {
    let components = env.profile.components.values().map(of);
    let targets = components.filter(|it| it.stage() == Stage::Target);
    targets.filter_map(Component::target)
}

/// A typed error of a client as the user reads it.
pub fn service(error: impl std::error::Error) -> Error {
    Error::new(Code::Service, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_exact_and_typos_are_answered() {
        let known = |name: &str| known(name, ["shop"].into_iter());
        assert_eq!(known("kafka").expect("known"), "kafka");
        assert_eq!(known("shop").expect("the profile's own"), "shop");
        let error = known("shopp").expect_err("unknown");
        assert!(error.hint.expect("a hint").contains("`shop`"));
        let error = known("konnect").expect_err("unknown");
        assert_eq!(error.code, Code::Usage);
        assert!(error.hint.expect("a hint").contains("`connect`"));
        assert!(known("kaf").is_err());
    }

    #[test]
    fn a_source_is_named_by_its_type_or_a_short_form() {
        let meant = |word: &str| {
            let sources = ALL.iter().filter(|it| it.kind.source.is_some());
            let mut sources = sources.filter(|it| it.kind.is_called(word));
            sources.next().map(|it| it.kind.name)
        };
        assert_eq!(meant("postgres"), Some("postgres"));
        assert_eq!(meant("mongodb"), Some("mongodb"));
        assert_eq!(meant("mongo"), Some("mongodb"));
        assert_eq!(meant("kafka"), None);
    }
}
