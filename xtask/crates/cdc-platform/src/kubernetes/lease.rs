//! A lease in the cluster (`coordination.k8s.io`): one holder at a time, wherever it runs, and another
//! one after it has gone without a word.
//!
//! It takes `get`, `create` and `update` on `leases` in its namespace. That a holder is gone is seen
//! by its not renewing for as long as it promised, on the watcher's own clock: clocks may differ.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use tokio::task::JoinHandle;

use super::Cluster;
use crate::error::{Code, Error, Result};
use crate::wait;

/// For how long a lease holds after it was renewed.
pub const HOLDS: Duration = Duration::from_secs(15);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(4);

/// A lease and who wants or has it.
#[derive(Clone)]
struct Place {
    api: Api<Lease>,
    name: String,
    holder: String,
}

/// A lease that this run wants.
pub struct Wanted {
    place: Place,
    /// What errors call it.
    title: String,
    /// The version of the other's lease, and since when it is this one.
    seen: Option<(String, Instant)>,
}

/// What came of wanting it.
pub enum Claim {
    /// It is ours.
    Ours(Box<Held>),
    /// Somebody else has it.
    Theirs {
        /// Who.
        holder: String,
        /// Whether it was renewed lately, by this machine's clock: it is worth no wait then.
        fresh: bool,
    },
}

/// A lease that is held. It is renewed until this is dropped.
pub struct Held {
    place: Place,
    until: Arc<Mutex<Instant>>,
    renewal: JoinHandle<()>,
}

impl Wanted {
    /// A lease of this name, for a holder whose name nobody else has.
    pub fn new(cluster: &Cluster, namespace: &str, name: &str, holder: &str) -> Self {
        Wanted {
            place: Place {
                api: Api::namespaced(cluster.client.clone(), namespace),
                name: name.to_owned(),
                holder: holder.to_owned(),
            },
            title: format!("Lease {namespace}/{name}"),
            seen: None,
        }
    }

    /// Takes it if nobody has it, or if who had it did not renew it while this was asked again and
    /// again.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn claim(&mut self) -> Result<Claim> {
        let asked = Instant::now();
        let Place { api, name, holder } = &self.place;
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| self.refused(&error))?;
        let Some(mut lease) = found else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(spec(holder, 0)),
            };
            let made = api.create(&PostParams::default(), &lease).await;
            return self.taken(made, asked);
        };
        let spec_now = lease.spec.clone().unwrap_or_default();
        let other = spec_now
            .holder_identity
            .filter(|it| !it.is_empty() && it != holder);
        if let Some(holder) = other {
            let version = lease.metadata.resource_version.clone().unwrap_or_default();
            let since = match &self.seen {
                Some((seen, since)) if *seen == version => *since,
                _ => asked,
            };
            self.seen = Some((version, since));
            let promised = spec_now.lease_duration_seconds.unwrap_or(0).max(0);
            let promised = Duration::from_secs(u64::from(promised.unsigned_abs()));
            if since.elapsed() < promised {
                let age = spec_now.renew_time.map(|at| age(&at));
                let fresh = age.is_some_and(|age| age < promised);
                return Ok(Claim::Theirs { holder, fresh });
            }
        }
        let changes = spec_now.lease_transitions.unwrap_or(0).saturating_add(1);
        lease.spec = Some(spec(holder, changes));
        // With the version that was read: of two who try, one is refused.
        let taken = api.replace(name, &PostParams::default(), &lease).await;
        self.taken(taken, asked)
    }

    fn taken(&self, result: kube::Result<Lease>, asked: Instant) -> Result<Claim> {
        match result {
            Ok(_) => Ok(Claim::Ours(Box::new(Held::new(self, asked)))),
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Claim::Theirs {
                holder: "somebody who was faster".into(),
                fresh: true,
            }),
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn refused(&self, error: &kube::Error) -> Error {
        match error {
            kube::Error::Api(status) if status.code == 403 => Error::new(
                Code::Platform,
                format!("{}: not permitted", self.title),
            )
            .detail(status.message.clone())
            .hint("allow get, create and update on leases.coordination.k8s.io in this namespace"),
            error => Error::new(Code::Service, format!("{}: {error}", self.title)),
        }
    }
}

impl Held {
    fn new(wanted: &Wanted, asked: Instant) -> Self {
        let until = Arc::new(Mutex::new(asked + HOLDS));
        let (place, ends) = (wanted.place.clone(), until.clone());
        let renewal = tokio::spawn(async move {
            loop {
                wait::pause(RENEWED).await;
                let asked = Instant::now();
                let renewed = tokio::time::timeout(RENEWED, place.renew(true)).await;
                let mut until = ends.lock().unwrap_or_else(PoisonError::into_inner);
                match renewed {
                    Ok(Ok(true)) => *until = asked + HOLDS,
                    // Another run has it: there is nothing to renew.
                    Ok(Ok(false)) => {
                        *until = asked;
                        return;
                    }
                    // It is held for as long as it was promised, and asked for again.
                    Ok(Err(_)) | Err(_) => {}
                }
            }
        });
        Held {
            place: wanted.place.clone(),
            until,
            renewal,
        }
    }

    /// Whether it is still held. Where the server cannot be asked, not for longer than promised.
    pub fn holds(&self) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        Instant::now() < *until
    }

    /// Gives it back, so that the next one need not wait.
    pub async fn release(&self) {
        self.renewal.abort();
        // Unasked it ends by itself.
        let _ = tokio::time::timeout(RENEWED, self.place.renew(false)).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

impl Place {
    /// Renews the lease, or gives it back; says whether it was ours.
    async fn renew(&self, keep: bool) -> kube::Result<bool> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            return Ok(false);
        };
        let ours = |spec: &&mut LeaseSpec| spec.holder_identity.as_ref() == Some(&self.holder);
        let Some(spec) = lease.spec.as_mut().filter(ours) else {
            return Ok(false);
        };
        match keep {
            true => spec.renew_time = Some(now()),
            false => spec.holder_identity = None,
        }
        self.api
            .replace(&self.name, &PostParams::default(), &lease)
            .await?;
        Ok(true)
    }
}

fn spec(holder: &str, changes: i32) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
        acquire_time: Some(now()),
        renew_time: Some(now()),
        lease_transitions: Some(changes),
        ..LeaseSpec::default()
    }
}

fn now() -> MicroTime {
    MicroTime(Timestamp::now())
}

/// How old a time is; nothing if it is in the future.
fn age(at: &MicroTime) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(at.0)).unwrap_or_default()
}
