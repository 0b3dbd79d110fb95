//! The worker and its connectors.

use std::sync::Arc;

use futures_util::future::join_all;
use indexmap::IndexMap;

use super::{Connect, Connector, DeadLetters, Known, Place, Reset, Task, Wanted, limited};
use crate::clients::connect::{Info, Listed};
use crate::components::connect::{self, login};
use crate::components::position;
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;
use crate::files::read_if_there;
use crate::platform::host::lock;
use crate::profile::component::Instance;
use crate::wait::Limit;

/// Asks the worker, and for each connector its place and, on clusters, the operator.
pub(super) async fn gather(
    env: &Arc<Environment>,
    limit: &Limit,
) -> (Known<Connect>, Vec<Connector>) {
    let asked = async { ask(env).await.map_err(|error| error.message) };
    let (worker, listed) = match limited(limit, asked).await {
        Known::Seen((worker, listed)) => (Known::Seen(worker), Some(listed)),
        Known::Unknown(why) => (Known::Unknown(why), None),
    };
    let names = env.profile.connector_names();
    let known = |name: &String| env.profile.connector_names().any(|it| it == name);
    let others = listed.iter().flatten().map(|(name, _)| name);
    let all = names.chain(others.filter(|name| !known(name))).map(|name| {
        let seen = listed.as_ref().and_then(|listed| listed.get(name));
        connector(env, name.clone(), seen.cloned(), limit)
    });
    (worker, join_all(all).await)
}

async fn ask(env: &Environment) -> Result<(Connect, IndexMap<String, Listed>)> {
    let client = env.connect_client();
    let needed = connect::classes(env)?;
    let (listed, plugins) = tokio::join!(client.all(), client.plugins());
    let plugins = plugins.map_err(service)?;
    let (listed, rebalancing) = match listed {
        Err(error) if error.is_rebalance() => (IndexMap::new(), true),
        other => (other.map_err(service)?, false),
    };
    let worker = Connect {
        plugins: plugins.into_iter().map(|plugin| plugin.class).collect(),
        needed,
        rebalancing,
    };
    Ok((worker, listed))
}

async fn connector(
    env: &Environment,
    name: String,
    seen: Option<Listed>,
    limit: &Limit,
) -> Connector {
    let committed = match seen {
        Some(_) => Some(committed(env, &name, limit).await),
        None => None,
    };
    let (status, info) = match seen {
        Some(Listed { status, info }) => (Some(status), Some(info)),
        None => (None, None),
    };
    let rendered = connect::wanted_of(env, &name).ok();
    let drift = match (&rendered, &info) {
        (Some((_, wanted)), Some(info)) => connect::drift(&info.config, wanted),
        _ => Vec::new(),
    };
    let running = info
        .as_ref()
        .and_then(|info| info.config.get("connector.class"));
    let class = rendered
        .as_ref()
        .map(|(class, _)| class)
        .or(running)
        .cloned();
    Connector {
        class: class.unwrap_or_default(),
        drift,
        dead_letters: info.as_ref().and_then(letters),
        kind: info.map(|info| info.kind),
        state: status.as_ref().map(|it| it.connector.state.clone()),
        trace: status.as_ref().and_then(|it| it.connector.trace.clone()),
        tasks: status.map_or_else(Vec::new, |status| {
            let task = |(at, task): (u32, crate::readiness::connect::StateEntry)| Task {
                id: task.id.unwrap_or(at),
                state: task.state,
                trace: task.trace,
            };
            (0..).zip(status.tasks).map(task).collect()
        }),
        wanted: reads(env, &name).or_else(|| writes(env, &name)),
        refused: None,
        committed,
        heartbeat_age_ms: None,
        login_works: None,
        complaints: Vec::new(),
        reset: unfinished(env, &name),
        name,
    }
}

/// A reset of it that no command works on.
fn unfinished(env: &Environment, name: &str) -> Option<Reset> {
    let text = read_if_there(&env.dirs.reset(name)).ok().flatten()?;
    let is_worked_on = lock::owner(&env.dirs.lock()).is_ok_and(|it| it.is_some());
    // Of one that cannot be read the command itself says why.
    (!is_worked_on).then(|| serde_json::from_str(&text).unwrap_or_default())
}

/// What the profile says of a source connector.
fn reads(env: &Environment, name: &str) -> Option<Wanted> {
    let connector = env.profile.connectors.get(name)?;
    let read = env.read_by(connector);
    let user = env.connector_user(connector);
    Some(Wanted {
        component: connector.source.clone(),
        kind: read.map_or("", |read| read.kind.name),
        writes: false,
        slot: connector.slot.clone(),
        publication: connector.publication.clone(),
        tables: env.profile.captured(name).map(str::to_owned).collect(),
        own_user: read
            .and_then(|read| env.own_connector_user(read))
            .is_some_and(|own| own == user),
        password_key: login::password_key(env, name, connector),
        user,
    })
}

/// What the profile says of a sink.
fn writes(env: &Environment, name: &str) -> Option<Wanted> {
    let sink = env.profile.sinks.get(name)?;
    let written = env.profile.component(&sink.sink);
    let login = written.map(Instance::connector_login);
    // One in its configuration wins.
    let mut own_key = sink.config.keys().filter(|key| key.ends_with(".password"));
    let own_key = own_key
        .next()
        .map(|key| format!("connectors.{name}.config.{key}"));
    Some(Wanted {
        component: sink.sink.clone(),
        kind: written.map_or("", |written| written.kind.name),
        writes: true,
        slot: None,
        publication: None,
        tables: Vec::new(),
        own_user: login.is_some_and(|login| login.is_own()),
        password_key: own_key.or_else(|| written.and_then(login::key_of)),
        user: login.map_or("", |login| login.user()).to_owned(),
    })
}

/// Where a sink puts records aside. On a source the setting does nothing.
fn letters(info: &Info) -> Option<DeadLetters> {
    let topic = info.config.get("errors.deadletterqueue.topic.name")?;
    let has = info.kind == "sink" && !topic.is_empty();
    has.then(|| DeadLetters {
        topic: topic.clone(),
        records: None,
    })
}

async fn committed(env: &Environment, name: &str, limit: &Limit) -> Known<Place> {
    let client = env.connect_client();
    match limited(limit, client.offsets(name)).await {
        Known::Seen(offsets) => {
            let first = offsets.unwrap_or_default().offsets.into_iter().next();
            let offset = first.map_or(serde_json::Value::Null, |one| one.offset);
            let position = position::position(&offset);
            Known::Seen(Place { offset, position })
        }
        Known::Unknown(why) => Known::Unknown(why),
    }
}
