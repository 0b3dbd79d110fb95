//! Looks at one object, as the watches show it.
//!
//! Pods are looked at from the second second on: the operators' own first looks come after 10 to 15
//! s, which made half of the way to the first row. Where Strimzi goes on reporting NotReady while
//! every pod is ready, or has missed a change, it is asked to look again after five seconds, since
//! it looks by itself only every two minutes.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event as CoreEvent, PersistentVolumeClaim, Pod};
use kube::api::{ApiResource, LogParams};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::table::Table;
use super::{Target, Watches};
use crate::clock;
use crate::kubernetes::{core_objects, said};
use crate::readiness::kubernetes::{
    self as readiness, Ages, LogOf, Missing, OperatorLog, Seen, Verdict,
};
use crate::readiness::{State, Status};
use crate::wait;

/// How many of a container's last lines explain its end.
const LOG_LINES: i64 = 20;
/// Evidence that takes longer is left out.
const EVIDENCE_WITHIN: Duration = Duration::from_secs(5);

/// How long an operator's opinion may stand that may be an old one, before it is asked for a new one;
/// twice as long each time after that.
const OLD_OPINION: Duration = Duration::from_secs(5);
/// How often it is asked: Strimzi looks by itself every 120 s, and what it then still says it means.
const ASKED_AT_MOST: u32 = 4;

/// Looks at one object.
pub struct Gate {
    client: Client,
    target: Target,
    object: Arc<Table>,
    pods: Option<Arc<Table>>,
    claims: Option<Arc<Table>>,
    events: Option<Arc<Table>>,
    sets: Option<Arc<Table>>,
    pools: Option<Arc<Table>>,
    changes: watch::Receiver<u64>,
    ages: Ages,
    begin: Instant,
    last: Option<Glance>,
    nudges: Nudges,
}

/// When an operator is to be asked for a new opinion.
#[derive(Default)]
struct Nudges {
    /// Since when its opinion may be an old one, or when it was asked last.
    since: Option<Instant>,
    /// How often it was asked about this opinion.
    asked: u32,
}

impl Nudges {
    /// Whether it is time to ask.
    fn is_due(&mut self, overtaken: bool, now: Instant) -> bool {
        if !overtaken {
            *self = Nudges::default();
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let due = self.asked < ASKED_AT_MOST
            && now.duration_since(since) >= OLD_OPINION * 2_u32.pow(self.asked);
        if due {
            self.since = Some(now);
            self.asked += 1;
        }
        due
    }
}

/// What a gate saw last, which stands until the watches see something else.
struct Glance {
    /// The watches' version.
    version: u64,
    at: Instant,
    seen: Arc<Seen>,
    /// What it means, once somebody asked. Never a failure: its evidence is gathered again.
    status: Option<Status>,
}

impl Gate {
    /// The object that it looks at.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it is time to ask the object's operator to look again: for what it says of the object, or
    /// because what it made of it is `changed` since.
    pub fn is_overtaken(&mut self, changed: bool) -> bool {
        if self.blind().is_some() {
            return false;
        }
        let overtaken = changed || readiness::overtaken(&self.seen());
        self.nudges.is_due(overtaken, Instant::now())
    }

    /// Says when to look again.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// The object as it was last seen.
    pub fn object(&self) -> Option<Arc<DynamicObject>> {
        self.object
            .read(|content| content.objects.get(&self.target.name).cloned())
    }

    /// The object's status now. Only a failure asks the cluster, for what explains it.
    pub async fn look(&mut self) -> Status {
        if let Some(status) = self.blind() {
            return status;
        }
        let seen = self.seen();
        if let Some(status) = self.last.as_ref().and_then(|last| last.status.clone()) {
            return status;
        }
        self.ages.now = self.begin.elapsed();
        let Verdict {
            mut status,
            log,
            missing,
        } = readiness::evaluate(&seen, &mut self.ages);
        if status.state != State::Failed {
            if let Some(last) = &mut self.last {
                last.status = Some(status.clone());
            }
            return status;
        }
        if let Some(missing) = missing
            && self.there(&missing).await
        {
            // Events outlive their cause: the kubelet has not tried again yet.
            return Status {
                state: State::InProgress,
                message: format!("{} (the {} is there now)", status.message, missing.kind),
                evidence: Vec::new(),
                ..status
            };
        }
        if let Some(log) = log {
            status.evidence.extend(self.last_lines(&log).await);
        }
        status
    }

    /// As [`Gate::look`], but content once the object's pods have begun, ready or not.
    pub async fn begun(&mut self) -> Status {
        let status = self.look().await;
        let waits = matches!(status.state, State::InProgress | State::NotFound);
        match waits && readiness::started(&self.seen().pods) {
            true => Status::current("its containers have started"),
            false => status,
        }
    }

    /// The operator that alone keeps the object from being current, and does not say why but in its log.
    pub fn awaits_operator(&mut self) -> Option<&'static OperatorLog> {
        readiness::awaits_operator(&self.seen())
    }

    /// The object's pods.
    pub fn pods(&mut self) -> Vec<Arc<DynamicObject>> {
        self.seen().pods.clone()
    }

    /// The object's pods that the kubelet lets pause before it starts them again.
    pub fn paused(&mut self) -> Vec<Arc<DynamicObject>> {
        let seen = self.seen();
        let paused = seen.pods.iter().filter(|pod| readiness::paused(pod));
        paused.cloned().collect()
    }

    /// What can be said while a watch shows nothing yet.
    pub(super) fn blind(&self) -> Option<Status> {
        let others = [
            &self.pods,
            &self.claims,
            &self.events,
            &self.sets,
            &self.pools,
        ];
        let mut tables = std::iter::once(&self.object).chain(others.into_iter().flatten());
        tables.find_map(|table| {
            table.read(|content| match (&content.trouble, content.listed) {
                (Some(refusal), false) if refusal.code == 404 => {
                    let absent = "its kind is not served by the cluster yet";
                    Some(Status::not_found(absent))
                }
                (Some(refusal), _) => Some(refusal.status()),
                (None, false) => Some(Status::unknown("not listed yet")),
                (None, true) => None,
            })
        })
    }

    /// What the watches hold. A wait asks some ten times a second.
    pub(super) fn seen(&mut self) -> Arc<Seen> {
        // Before the tables: what comes meanwhile is seen the next time.
        let version = *self.changes.borrow();
        let stands =
            |last: &&Glance| last.version == version && last.at.elapsed() < wait::AT_LEAST_EVERY;
        if let Some(last) = self.last.as_ref().filter(stands) {
            return Arc::clone(&last.seen);
        }
        let seen = Arc::new(self.gather());
        self.last = Some(Glance {
            version,
            at: Instant::now(),
            seen: Arc::clone(&seen),
            status: None,
        });
        seen
    }

    fn gather(&self) -> Seen {
        let object = self.object();
        let all = |table: &Option<Arc<Table>>| table.as_ref().map_or_else(Vec::new, |it| it.all());
        let selector = object.as_deref().and_then(readiness::pods_of);
        let ours = |objects: Vec<Arc<DynamicObject>>| match &selector {
            Some(selector) => objects
                .into_iter()
                .filter(|object| readiness::selects(selector, object))
                .collect(),
            None => Vec::new(),
        };
        let pods = all(&self.pods);
        Seen {
            brokers: pods
                .iter()
                .filter(|pod| readiness::is_broker(pod))
                .cloned()
                .collect(),
            pods: ours(pods),
            sets: ours(all(&self.sets)),
            pools: all(&self.pools)
                .into_iter()
                .filter(|pool| readiness::pool_of(pool, &self.target.name))
                .collect(),
            claims: all(&self.claims),
            events: all(&self.events),
            now: i64::try_from(clock::now_ms() / 1000).unwrap_or(i64::MAX),
            object,
        }
    }

    async fn there(&self, missing: &Missing) -> bool {
        let api = core_objects(&self.client, missing.kind, &missing.namespace);
        // Metadata only: nobody here needs to read a Secret. No answer leaves the failure as it is.
        let found = timeout(EVIDENCE_WITHIN, api.get_metadata_opt(&missing.name)).await;
        matches!(found, Ok(Ok(Some(_))))
    }

    /// The last lines of the container's previous run, or of its first.
    async fn last_lines(&self, of: &LogOf) -> Vec<String> {
        let api: Api<Pod> = Api::namespaced(self.client.clone(), &of.namespace);
        let mut why = String::new();
        for previous in [true, false] {
            let asked = LogParams {
                container: Some(of.container.clone()),
                previous,
                tail_lines: Some(LOG_LINES),
                ..LogParams::default()
            };
            match timeout(EVIDENCE_WITHIN, api.logs(&of.pod, &asked)).await {
                Ok(Ok(text)) if !text.trim().is_empty() => {
                    return text.lines().map(str::to_owned).collect();
                }
                Ok(Ok(_)) => why = "it wrote nothing".into(),
                Ok(Err(error)) => why = said(&error),
                Err(_) => why = "no answer".into(),
            }
        }
        vec![format!("no log of container {}: {why}", of.container)]
    }
}

impl Watches {
    /// A gate on one object, whose watches run from now on.
    pub fn gate(&self, target: Target) -> Gate {
        let space = target.namespace.clone();
        let needs = readiness::needs(&target.resource.group, &target.resource.kind);
        let core = |wanted: bool, resource: ApiResource| {
            wanted.then(|| self.table(&resource, space.as_deref()))
        };
        // Strimzi serves its own kinds in the same versions.
        let version = &target.resource.version;
        let sets = GroupVersionKind::gvk("core.strimzi.io", version, "StrimziPodSet");
        let pools = GroupVersionKind::gvk("kafka.strimzi.io", version, "KafkaNodePool");
        Gate {
            client: self.client.clone(),
            object: self.table(&target.resource, space.as_deref()),
            pods: core(needs.pods, ApiResource::erase::<Pod>(&())),
            claims: core(needs.pods, ApiResource::erase::<PersistentVolumeClaim>(&())),
            events: core(needs.pods, ApiResource::erase::<CoreEvent>(&())),
            sets: core(needs.sets, ApiResource::from_gvk(&sets)),
            pools: core(needs.pools, ApiResource::from_gvk(&pools)),
            changes: self.changes.subscribe(),
            target,
            ages: Ages::default(),
            begin: Instant::now(),
            last: None,
            nudges: Nudges::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_operator_that_keeps_its_opinion_is_asked_four_times_and_not_for_ever() {
        let mut nudges = Nudges::default();
        let begin = Instant::now();
        let mut asked = Vec::new();
        for second in 0..600 {
            if nudges.is_due(true, begin + Duration::from_secs(second)) {
                asked.push(second);
            }
        }
        assert_eq!(asked, [5, 15, 35, 75]);
        // Another opinion is another matter.
        assert!(!nudges.is_due(false, begin + Duration::from_secs(600)));
        assert!(!nudges.is_due(true, begin + Duration::from_secs(601)));
        assert!(nudges.is_due(true, begin + Duration::from_secs(606)));
    }
}
