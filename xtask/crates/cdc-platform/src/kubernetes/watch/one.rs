//! A wait for one object by its name, where a watch of its whole kind would show this tool more
//! than it needs: of Secrets it reads only those that it uses.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::pending;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::watch_object;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Pauses;
use super::table::{Refusal, refusal};
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait;

/// Waits until the object is as `evaluate` wants it, and returns it.
///
/// # Errors
/// `GateFailed` and `GateTimeout`, as [`wait::until`].
pub async fn one<K>(
    api: Api<K>,
    name: &str,
    deadline: Duration,
    progress: &Progress,
    evaluate: impl Fn(Option<&K>) -> Status,
) -> Result<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let seen: Mutex<Option<Result<Option<K>, Refusal>>> = Mutex::default();
    let (sender, mut changes) = watch::channel(0);
    let follow = async {
        let mut events = pin!(watch_object(api, name).backoff(Pauses(Pauses::FIRST)));
        while let Some(event) = events.next().await {
            let event = event.map_err(|error| refusal(&error));
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(event);
            sender.send_modify(|version: &mut u64| *version = version.wrapping_add(1));
        }
        pending::<Infallible>().await
    };
    let look = || {
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            None => Status::unknown("not listed yet"),
            Some(Ok(object)) => evaluate(object.as_ref()),
            Some(Err(refusal)) => refusal.status(),
        }
    };
    let what = format!("{} {name}", K::kind(&()));
    let waits = wait::until_changed(&what, deadline, progress, &mut changes, || async { look() });
    tokio::select! {
        done = waits => done.map(drop)?,
        never = follow => match never {},
    }
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    seen.and_then(Result::ok)
        .flatten()
        .ok_or_else(|| Error::new(Code::Service, format!("{what} was deleted meanwhile")))
}
