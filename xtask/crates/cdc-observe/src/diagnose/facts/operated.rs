//! What only clusters have: an operator that may be waiting, and nodes that may be in trouble, or have
//! another image under a name than is meant by it.
//!
//! That the operator ignores a change cannot be seen at its resource, only in the operator's log:
//! the lock that a change did not get. That log counts only while something of the operator's does
//! not work. Of images, only those are judged that this machine's engine built, or that the profile
//! does not name.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{self as k8s, Pod};
use kube::Api;
use kube::api::{ListParams, LogParams};
use kube::core::DynamicObject;

use super::{Component, Known, Node, limited};
use crate::components::{OPERATOR, service};
use crate::environment::{Environment, targets};
use crate::error::{Code, Error, Result};
use crate::platform::Platform;
use crate::platform::kubernetes::forward::is_ready;
use crate::readiness::{State, Status};
use crate::up::{cluster, image};
use crate::wait::Limit;

/// What runs under an operator that waits.
const OPERATED: [&str; 2] = ["kafka", "connect"];
/// The operator waits for a pod for five minutes.
const LATELY_S: i64 = 300;
/// Lines of its log that are read.
const LINES: i64 = 2_000;
const FORBIDDEN: u16 = 403;

/// The changes that the operator passed over, by component, as its log tells them.
pub(super) type Ignored = BTreeMap<String, Vec<String>>;

/// Asks the operator's log; none where there is no such operator.
pub(super) async fn ignored(env: &Environment, limit: &Limit) -> Option<Known<Ignored>> {
    if !has_operator(env) {
        return None;
    }
    let asked = LogParams {
        since_seconds: Some(LATELY_S),
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    let read = async {
        let logs = cluster::logs(env, OPERATOR, &asked).await?;
        let log: String = logs.into_iter().map(|(_, text)| text).collect();
        let each = OPERATED.iter().filter(|name| !env.is_external(name));
        let each = each.filter_map(|name| {
            let target = targets(&env.profile, name).into_iter().next()?;
            let space = target.namespace.unwrap_or_default();
            let resource = format!("{}({space}/{})", target.resource.kind, target.name);
            let lines = passed_over(&log, &resource);
            Some(((*name).to_owned(), lines)).filter(|(_, lines)| !lines.is_empty())
        });
        Ok::<_, Error>(each.collect())
    };
    Some(limited(limit, read).await)
}

/// Whether the operator has a pod that works; none where there is no such operator.
pub(super) async fn operator(env: &Environment, limit: &Limit) -> Option<Known<Status>> {
    if !has_operator(env) {
        return None;
    }
    let asked = async {
        let pods = cluster::listed(env, OPERATOR).await?;
        let seen = working(&pods, Timestamp::now());
        if seen.state != State::Failed || pods.is_empty() {
            return Ok::<_, Error>(seen);
        }
        // After a node's restart it is at work half a minute before its probe looks again.
        let leads = env.operator_leads(&BTreeMap::new()).await;
        Ok(match leads.state {
            State::Current => leads,
            _ => seen,
        })
    };
    Some(limited(limit, asked).await)
}

/// The nodes in trouble; none where there is no cluster, or only its namespaces may be looked at.
pub(super) async fn nodes(env: &Environment, limit: &Limit) -> Option<Known<Vec<Node>>> {
    if env.platform == Platform::Host {
        return None;
    }
    let asked = async {
        let api: Api<k8s::Node> = Api::all(env.link()?.cluster.client.clone());
        match api.list(&ListParams::default()).await {
            Ok(nodes) => Ok(Some(nodes.items.iter().filter_map(in_trouble).collect())),
            Err(kube::Error::Api(refusal)) if refusal.code == FORBIDDEN => Ok(None),
            Err(error) => Err(service(&error)),
        }
    };
    limited(limit, asked).await.transpose()
}

/// What is wrong with a node, by the first of its conditions that tells.
fn in_trouble(node: &k8s::Node) -> Option<Node> {
    let conditions = node.status.as_ref()?.conditions.iter().flatten();
    let told = conditions.into_iter().find(|it| match it.type_.as_str() {
        "Ready" => it.status != "True",
        "DiskPressure" | "MemoryPressure" | "PIDPressure" => it.status == "True",
        _ => false,
    })?;
    Some(Node {
        name: node.metadata.name.clone().unwrap_or_default(),
        condition: told.type_.clone(),
        message: told.message.clone().unwrap_or_default(),
    })
}

fn has_operator(env: &Environment) -> bool {
    env.platform != Platform::Host && OPERATED.iter().any(|name| !env.is_external(name))
}

/// Its bundle's probe looks at it ten seconds after its start and then each half minute, whatever it
/// does meanwhile.
const MAY_BEGIN_FOR: SignedDuration = SignedDuration::from_secs(60);

fn working(pods: &[Pod], now: Timestamp) -> Status {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap_or_default();
    match pods.first() {
        None => Status::failed("there is no pod of it"),
        Some(_) if pods.iter().any(is_ready) => Status::current("its pod is ready"),
        Some(first) => match pods.iter().find(|pod| begins(pod, now)) {
            Some(pod) => Status::in_progress(format!("pod {} has just begun", name(pod))),
            None => Status::failed(format!("pod {} is not ready", name(first))),
        },
    }
}

/// Whether its containers run for the first time, and not for long.
fn begins(pod: &Pod, now: Timestamp) -> bool {
    let containers = pod.status.iter().flat_map(|it| &it.container_statuses);
    let mut containers = containers.flatten().peekable();
    containers.peek().is_some()
        && containers.all(|container| {
            let running = container.state.as_ref().and_then(|it| it.running.as_ref());
            let since = running.and_then(|it| it.started_at.as_ref());
            container.restart_count == 0
                && since.is_some_and(|since| now.duration_since(since.0) < MAY_BEGIN_FOR)
        })
}

/// Whether the operator's word is needed: what works needs no explanation.
pub(super) fn is_needed(components: &[Component]) -> bool {
    let mut operated = components
        .iter()
        .filter(|it| !it.external && OPERATED.contains(&it.name.as_str()));
    operated.any(|it| it.status.state != State::Current)
}

/// The lines that tell of changes of a resource that were passed over, since something was last done for
/// it. That its lock was not had for its timer or for a connector is no change of its own.
fn passed_over(log: &str, resource: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let about = format!(" {resource}: ");
    for line in log.lines() {
        let Some((before, said)) = line.split_once(&about) else {
            continue;
        };
        if said.starts_with("reconciled") || said.starts_with("Failed to reconcile") {
            lines.clear();
        } else if said.contains("Failed to acquire lock") && before.ends_with("(watch)") {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Whether the workers run what their image's name means; none where nobody here knows that: an image
/// that the profile names, or that another machine built.
pub(super) async fn image(env: &Arc<Environment>, limit: &Limit) -> Option<Known<Status>> {
    let own = env.profile.connect.image.is_none() && !env.is_external("connect");
    if env.platform == Platform::Host || !own {
        return None;
    }
    limited(limit, run_by_workers(env)).await.transpose()
}

async fn run_by_workers(env: &Arc<Environment>) -> Result<Option<Status>> {
    let pods = cluster::listed(env, "connect")
        .await?
        .into_iter()
        .map(|pod| {
            let object = serde_json::to_value(pod).and_then(serde_json::from_value);
            object.map(Arc::<DynamicObject>::new)
        });
    let pods: Vec<_> = pods
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::new(Code::Service, error.to_string()))?;
    match image::is_run(env, &pods).await {
        // A cluster of one's own runs without this machine's engine.
        Err(_) if env.platform == Platform::Kubernetes => Ok(None),
        seen => seen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESOURCE: &str = "KafkaConnect(kafka/my-connect-cluster)";

    /// As Strimzi writes them.
    fn line(cause: &str, said: &str) -> String {
        format!(
            "2026-11-21 03:24:45 INFO  AbstractOperator:265 - Reconciliation #7({cause}) {RESOURCE}: {said}"
        )
    }

    #[test]
    fn an_operator_works_when_one_of_its_pods_is_ready() {
        let pod = |ready: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "operator-1" },
                "status": { "conditions": [{ "type": "Ready", "status": ready }] },
            }))
            .expect("a pod")
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().expect("a time");
        let working = |pods: &[Pod]| super::working(pods, now);
        assert_eq!(working(&[]).state, State::Failed);
        assert_eq!(working(&[Pod::default()]).state, State::Failed);
        assert!(
            working(&[pod("False")])
                .message
                .contains("operator-1 is not ready")
        );
        assert_eq!(working(&[pod("False"), pod("True")]).state, State::Current);
        let began = |at: &str, restarts: i32| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "operator-2" },
                "status": { "containerStatuses": [{
                    "name": "c", "image": "i", "imageID": "", "ready": false,
                    "restartCount": restarts, "state": { "running": { "startedAt": at } },
                }] },
            }))
            .expect("a pod")
        };
        let soon = working(&[pod("False"), began("2026-01-01T00:00:05Z", 0)]);
        assert_eq!(soon.state, State::InProgress);
        assert_eq!(soon.message, "pod operator-2 has just begun");
        let long = working(&[began("2025-12-31T23:59:59Z", 0)]);
        assert_eq!(long.state, State::Failed);
        let again = working(&[began("2026-01-01T00:00:05Z", 1)]);
        assert_eq!(again.state, State::Failed);
    }

    #[test]
    fn a_node_is_in_trouble_by_its_conditions() {
        let node = |conditions: serde_json::Value| -> k8s::Node {
            serde_json::from_value(serde_json::json!({
                "metadata": { "name": "n" },
                "status": { "conditions": conditions },
            }))
            .expect("a node")
        };
        let condition = |kind: &str, status: &str| {
            serde_json::json!({ "type": kind, "status": status, "message": "m",
                "lastHeartbeatTime": null, "lastTransitionTime": null })
        };
        let told = |conditions| in_trouble(&node(conditions)).map(|it| it.condition);
        let sound = [
            condition("DiskPressure", "False"),
            condition("Ready", "True"),
        ];
        assert_eq!(told(serde_json::json!(sound)), None);
        for (kind, status) in [
            ("Ready", "False"),
            ("Ready", "Unknown"),
            ("DiskPressure", "True"),
        ] {
            let conditions = [
                condition("MemoryPressure", "Unknown"),
                condition(kind, status),
            ];
            assert_eq!(
                told(serde_json::json!(conditions)).as_deref(),
                Some(kind),
                "{status}"
            );
        }
    }

    #[test]
    fn a_change_counts_as_passed_over_until_something_is_done() {
        const LOCK: &str =
            "Failed to acquire lock lock::kafka::KafkaConnect::my-connect-cluster within 10000ms.";
        let waits = [
            line("watch", "KafkaConnect my-connect-cluster will be checked"),
            line("watch", "Reconciliation is in progress"),
        ];
        let none = Vec::<String>::new();
        assert_eq!(passed_over(&waits.join("\n"), RESOURCE), none);
        // Its timer and its connectors find the lock taken, too.
        let others = [line("timer", LOCK), line("connector-watch", LOCK)];
        assert_eq!(passed_over(&others.join("\n"), RESOURCE), none);
        let mut log = vec![line("watch", LOCK)];
        assert_eq!(passed_over(&log.join("\n"), RESOURCE), log);
        assert_eq!(
            passed_over(&log.join("\n"), "Kafka(kafka/my-cluster)"),
            none
        );
        log.push(line("timer", "reconciled"));
        assert_eq!(passed_over(&log.join("\n"), RESOURCE), none);
    }
}
