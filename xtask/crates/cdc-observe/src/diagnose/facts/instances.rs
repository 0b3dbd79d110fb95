//! What the profile's servers say of themselves, by the names of their instances.
//!
//! A type's facts are in a file of its own. Rules of that type take them as they are (`Facts::all`); general
//! rules ask through [`ServerFacts`].

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, join_all};
use indexmap::IndexMap;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Connector, Flow, Known, Log, TYPES, Wanted, limited, patience};
use crate::components::target::Drift;
use crate::environment::Environment;
use crate::profile::component::{Instance, Spec};
use crate::wait::Limit;

/// What a server says of itself, for rules that do not know its type.
#[async_trait]
pub trait ServerFacts: Erased + Any + Debug + Send + Sync {
    /// Its clock, in milliseconds since the epoch; none where it does not say.
    fn clock_ms(&self) -> Option<u64> {
        None
    }

    /// Its log, as far as it concerns a connector that reads it; none where it has none.
    fn log(&self, _connector: &str, _wanted: &Wanted) -> Option<Log> {
        None
    }

    /// For how many seconds nobody has read the log for a connector; none while somebody does, and where
    /// the server does not say.
    fn unread_s(&self, _wanted: &Wanted) -> Option<u64> {
        None
    }

    /// Asks once more for what does not agree with the connectors: their places were asked for at the same
    /// time.
    async fn confirm(
        &mut self,
        _env: &Environment,
        _own: &Instance,
        _connectors: &[Connector],
        _limit: &Limit,
    ) {
    }
}

/// What all of it can do beside, whatever its type.
pub trait Erased {
    /// The same once more.
    fn copy(&self) -> Box<dyn ServerFacts>;
    /// As JSON.
    fn json(&self) -> Value;
}

impl<T: ServerFacts + Clone + Serialize> Erased for T {
    fn copy(&self) -> Box<dyn ServerFacts> {
        Box::new(self.clone())
    }

    fn json(&self) -> Value {
        json!(self)
    }
}

impl Clone for Box<dyn ServerFacts> {
    fn clone(&self) -> Self {
        (**self).copy()
    }
}

impl Serialize for dyn ServerFacts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

/// How a type's facts are gathered.
#[async_trait]
pub(super) trait Gather: ServerFacts + Sized {
    /// The type's settings.
    type Own: Spec;

    /// Asks a server; the error is a reason for people.
    async fn ask(env: &Arc<Environment>, own: &Self::Own) -> Result<Self, String>;

    /// What is at the end of a flow that arrives there; none where that is not known.
    async fn row(_env: &Environment, _own: &Self::Own, _flow: &str) -> Option<Row> {
        None
    }
}

/// What is at a flow's end.
pub(super) struct Row {
    pub(super) errors: u64,
    pub(super) waiting: u64,
    pub(super) drift: Option<Drift>,
    pub(super) newest_error: Option<String>,
    pub(super) newest_ms: Option<u64>,
}

/// Facts of servers, by the names of their instances.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub struct Instances(IndexMap<String, Known<Box<dyn ServerFacts>>>);

impl Instances {
    /// What this instance said; none where its type says nothing.
    pub fn get(&self, name: &str) -> Option<&Known<Box<dyn ServerFacts>>> {
        self.0.get(name)
    }

    /// The instances of a type that answered.
    pub fn all<T: ServerFacts>(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().filter_map(|(name, known)| {
            let told: &dyn Any = &**known.seen()?;
            Some((name.as_str(), told.downcast_ref()?))
        })
    }

    /// Has an instance say this.
    pub fn insert<T: ServerFacts>(&mut self, name: &str, known: Known<T>) {
        let known = match known {
            Known::Seen(told) => Known::Seen(Box::new(told) as Box<dyn ServerFacts>),
            Known::Unknown(why) => Known::Unknown(why),
        };
        self.0.insert(name.to_owned(), known);
    }

    /// What an instance of a type said, to be changed.
    pub fn get_mut<T: ServerFacts>(&mut self, name: &str) -> Option<&mut T> {
        match self.0.get_mut(name)? {
            Known::Seen(told) => (&mut **told as &mut dyn Any).downcast_mut(),
            Known::Unknown(_) => None,
        }
    }

    /// See [`ServerFacts::confirm`].
    pub(super) async fn confirm(
        &mut self,
        env: &Environment,
        connectors: &[Connector],
        limit: &Limit,
    ) {
        let each = self.0.iter_mut().filter_map(|(name, known)| match known {
            Known::Seen(told) => {
                let own = env.profile.component(name)?;
                Some(told.confirm(env, own, connectors, limit))
            }
            Known::Unknown(_) => None,
        });
        join_all(each).await;
    }
}

/// What an instance said.
pub(super) struct Answer {
    instances: Instances,
    rows: Vec<(String, Row)>,
}

/// Asks an instance, where it is of the type.
pub(super) type Ask =
    for<'a> fn(&'a Arc<Environment>, &'a Instance, Limit) -> Option<BoxFuture<'a, Answer>>;

/// See [`Ask`].
pub(super) fn ask<'a, T: Gather>(
    env: &'a Arc<Environment>,
    instance: &'a Instance,
    limit: Limit,
) -> Option<BoxFuture<'a, Answer>> {
    let own = instance.get::<T::Own>()?;
    Some(Box::pin(async move {
        let limit = &limit;
        let flows = env.profile.flows_to(&instance.name);
        let rows = flows.map(|(flow, _)| async move {
            let row = limit.within(T::row(env, own, flow)).await;
            Some((flow.clone(), row.ok().flatten()?))
        });
        let (told, rows) = tokio::join!(limited(limit, T::ask(env, own)), join_all(rows));
        let mut instances = Instances::default();
        instances.insert(&instance.name, told);
        let rows = rows.into_iter().flatten().collect();
        Answer { instances, rows }
    }))
}

/// Asks every instance whose type says something.
pub(super) async fn gather(
    env: &Arc<Environment>,
    limit: &Limit,
) -> (Instances, Vec<(String, Row)>) {
    let each = env.profile.components.values().filter_map(|instance| {
        let limit = patience(env, &instance.name, limit);
        TYPES
            .iter()
            .find_map(|ask| ask(env, instance, limit.clone()))
    });
    let (mut all, mut rows) = (Instances::default(), Vec::new());
    for answer in join_all(each).await {
        all.0.extend(answer.instances.0);
        rows.extend(answer.rows);
    }
    (all, rows)
}

/// Writes what is at the flows' ends into their facts.
pub(super) fn fill(flows: &mut [Flow], rows: Vec<(String, Row)>) {
    for (name, row) in rows {
        if let Some(flow) = flows.iter_mut().find(|it| it.name == name) {
            flow.errors = Some(row.errors);
            flow.waiting = row.waiting;
            flow.drift = row.drift;
            flow.newest_error = row.newest_error;
            flow.newest_ms = row.newest_ms;
        }
    }
}
