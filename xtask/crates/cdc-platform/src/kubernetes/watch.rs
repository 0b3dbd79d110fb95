//! Sees what changes in a cluster: one watch per kind and namespace, shared by everything that
//! waits in a run.
//!
//! A watch that ends is taken up where it was, or listed again where that is no longer possible
//! (410); a server that does not answer is asked again after a growing pause. Gates look at what
//! the watches hold, which costs no request, each time that anything has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};
use kube::api::ApiResource;
use kube::core::{DynamicObject, GroupVersionKind, TypeMeta};
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;

mod gate;
mod one;
mod replaced;
mod table;

pub use gate::Gate;
pub use one::one;

use super::objects;
use table::Table;

/// An object that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its kind.
    pub resource: ApiResource,
    /// Its namespace; none for what belongs to the cluster.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// An object of a kind.
    pub fn new(resource: ApiResource, namespace: Option<&str>, name: impl Into<String>) -> Self {
        Target {
            resource,
            namespace: namespace.map(str::to_owned),
            name: name.into(),
        }
    }

    /// An object in a namespace, by its `group/version` (or `v1`) and kind.
    pub fn of(api_version: &str, kind: &str, namespace: &str, name: impl Into<String>) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let kind = GroupVersionKind::gvk(group, version, kind);
        Target::new(ApiResource::from_gvk(&kind), Some(namespace), name)
    }
}

/// The watches of a run. They end when it is dropped.
pub struct Watches {
    client: Client,
    tables: Mutex<HashMap<Scope, Arc<Table>>>,
    changes: watch::Sender<u64>,
    tasks: Mutex<JoinSet<()>>,
}

/// What a watch is of: a kind, in one namespace or in all.
type Scope = (ApiResource, Option<String>);

/// The events of a kind, listed again after each error: a watch that is merely resumed says nothing
/// before the next change, so that nobody would know when what is held is true again. `Init`, which
/// comes before the server was asked, is left out.
fn all_events(
    api: Api<DynamicObject>,
) -> impl Stream<Item = watcher::Result<Event<DynamicObject>>> + Send {
    stream::unfold(None, move |watch| {
        let api = api.clone();
        async move {
            let mut watch =
                watch.unwrap_or_else(|| watch_objects(api, watcher::Config::default()).boxed());
            loop {
                match watch.next().await? {
                    Ok(Event::Init) => {}
                    Ok(event) => return Some((Ok(event), Some(watch))),
                    Err(error) => return Some((Err(error), None)),
                }
            }
        }
    })
}

/// The pauses before a server is asked again: soon, as a gate waits behind it.
#[derive(Clone)]
struct Pauses(Duration);

impl Pauses {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(2);
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Pauses::LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = Pauses::FIRST;
    }
}

impl Watches {
    /// No watch yet: each begins when something asks for its kind.
    pub fn new(client: Client) -> Self {
        Watches {
            client,
            tables: Mutex::default(),
            changes: watch::Sender::new(0),
            tasks: Mutex::default(),
        }
    }

    /// The table of a kind in a namespace, of a watch that runs from now on.
    fn table(&self, resource: &ApiResource, namespace: Option<&str>) -> Arc<Table> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (resource.clone(), namespace.map(str::to_owned));
        if let Some(table) = tables.get(&key) {
            return Arc::clone(table);
        }
        let table = Arc::new(Table::default());
        let api = objects(&self.client, resource, namespace);
        let (into, changes) = (Arc::clone(&table), self.changes.clone());
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let types = TypeMeta {
            api_version: resource.api_version.clone(),
            kind: resource.kind.clone(),
        };
        tasks.spawn(async move {
            let events = all_events(api).backoff(Pauses(Pauses::FIRST));
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                let partial = matches!(event, Ok(Event::InitApply(_)));
                into.write(|content| content.take(event, &types));
                if !partial {
                    changes.send_modify(|version| *version = version.wrapping_add(1));
                }
            }
        });
        tables.insert(key, Arc::clone(&table));
        table
    }
}
