//! One healer for each pipeline: on `host` by the system's own file lock, which ends with its process;
//! on clusters by a Lease, which ends when it is not renewed.
//!
//! It is another one than the environment's lock: other commands may work while a healer watches.
//!
//! A healer that ends or is interrupted gives the Lease back; only after a kill does the next one
//! wait for 15 s.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::platform::Platform;
use crate::platform::host::lock::{self, Lock};
use crate::platform::kubernetes::lease::{Claim, Held, Wanted};

/// How long the API server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Held by the one healer.
pub(super) enum Lease {
    /// This machine's.
    File(#[expect(dead_code, reason = "held until dropped")] Lock),
    /// The cluster's.
    Cluster(Box<Held>),
}

impl Lease {
    /// Whether it still is the only one.
    pub(super) fn holds(&self) -> bool {
        match self {
            Lease::File(_) => true,
            Lease::Cluster(held) => held.holds(),
        }
    }
}

/// Where a healer's lease is kept, so that it can be given back however the healer ends: a lease that
/// is merely dropped keeps the next one waiting.
#[derive(Default)]
pub struct Place(Mutex<Option<Arc<Lease>>>);

impl Place {
    pub(super) fn keep(&self, lease: &Arc<Lease>) {
        *self.kept() = Some(lease.clone());
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Arc<Lease>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the next healer begin at once.
    pub async fn leave(&self) {
        let lease = self.kept().take();
        if let Some(Lease::Cluster(held)) = lease.as_deref() {
            held.release().await;
        }
    }
}

/// What came of wanting it.
pub(super) enum Claimed {
    /// It is ours.
    Ours(Lease),
    /// Somebody else has it.
    Theirs {
        /// Who.
        who: String,
        /// Whether that one gave a sign of life lately.
        fresh: bool,
    },
}

/// Wants the lease of an environment.
pub(super) enum Candidate {
    /// On this machine.
    File,
    /// In the cluster.
    Cluster(Box<Wanted>),
}

impl Candidate {
    /// Of an environment.
    ///
    /// # Errors
    /// Its cluster is not connected.
    pub(super) fn of(env: &Environment) -> Result<Self> {
        if env.platform == Platform::Host {
            return Ok(Candidate::File);
        }
        let namespace = &env.profile.kubernetes.kafka_namespace;
        let name = format!("cdc-xtask-heal-{}", env.name);
        let machine = machine();
        // A process of this pid may be another one after a restart of the machine.
        let holder = format!(
            "{machine}/{}/{}",
            std::process::id(),
            crate::clock::now_ms()
        );
        let cluster = &env.link()?.cluster;
        Ok(Candidate::Cluster(Box::new(Wanted::new(
            cluster, namespace, &name, &holder,
        ))))
    }

    /// Takes the lease, if nobody has it.
    ///
    /// # Errors
    /// It cannot be asked for.
    pub(super) async fn claim(&mut self, env: &Environment, command: &str) -> Result<Claimed> {
        match self {
            Candidate::File => {
                let path = env.dirs.state.join("heal.lock");
                let theirs = |who: String| Claimed::Theirs { who, fresh: true };
                if let Some(who) = lock::owner(&path)? {
                    return Ok(theirs(who));
                }
                match lock::take(&path, command) {
                    Ok(lock) => Ok(Claimed::Ours(Lease::File(lock))),
                    Err(error) if error.code == Code::Locked => Ok(theirs(error.message)),
                    Err(error) => Err(error),
                }
            }
            Candidate::Cluster(wanted) => {
                let asked = tokio::time::timeout(PATIENCE, wanted.claim()).await;
                let silent = |_| Error::new(Code::Service, "the API server does not answer");
                Ok(match asked.map_err(silent)?? {
                    Claim::Ours(lease) => Claimed::Ours(Lease::Cluster(lease)),
                    Claim::Theirs { holder, fresh } => Claimed::Theirs { who: holder, fresh },
                })
            }
        }
    }
}

/// This machine's name, for people.
fn machine() -> String {
    let told = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let told = told.or_else(|| std::env::var("HOSTNAME").ok());
    told.map_or_else(|| "a machine".into(), |name| name.trim().to_owned())
}
