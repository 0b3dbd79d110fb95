//! Why a ClickHouse installation stays `InProgress` although its pods are ready: Altinity's operator logs in
//! to ClickHouse as a user of its own, and until it can it reports nothing but that. Its log tells.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::platform::kubernetes::Cluster;
use crate::profile::Profile;

/// Its name: of its Deployment, its pods' label, and its container beside the one with the metrics.
const OPERATOR: &str = "clickhouse-operator";
/// It tries again within minutes.
const LATELY_S: i64 = 600;
const LINES: i64 = 500;
/// How often its log is read while somebody waits, and how long that may take.
const AGAIN: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_secs(5);

/// What was read last.
#[derive(Default)]
pub(super) struct Waits(Mutex<Option<(Instant, Option<String>)>>);

impl Waits {
    /// Why the operator waits; none if its log does not tell, or cannot be read.
    pub(super) async fn why(&self, cluster: &Cluster, profile: &Profile) -> Option<String> {
        let mut last = self.0.lock().await;
        if let Some((at, said)) = &*last
            && at.elapsed() < AGAIN
        {
            return said.clone();
        }
        let read = timeout(WITHIN, log(cluster, profile)).await;
        let said = read.ok().flatten().and_then(|log| refused_login(&log));
        *last = Some((Instant::now(), said.clone()));
        said
    }
}

async fn log(cluster: &Cluster, profile: &Profile) -> Option<String> {
    let namespace = &profile.kubernetes.database_namespace;
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
    let labels = ListParams::default().labels(&format!("app={OPERATOR}"));
    let pod = api.list(&labels).await.ok()?.items.into_iter().next()?;
    let asked = LogParams {
        container: Some(OPERATOR.into()),
        since_seconds: Some(LATELY_S),
        tail_lines: Some(LINES),
        ..LogParams::default()
    };
    api.logs(&pod.metadata.name?, &asked).await.ok()
}

/// The login that the operator has tried in vain since it last had what it wanted of a host.
fn refused_login(log: &str) -> Option<String> {
    let mut refused = None;
    for line in log.lines() {
        if line.contains("Reconcile Host completed") || line.contains("reconcile completed") {
            refused = None;
        } else if let Some((_, rest)) = line.split_once("FAILED connect(") {
            // `http://user:***@host:8123) for SQL: ...`
            let login = rest.split(')').next().unwrap_or_default();
            let login = login.split_once("://").map_or(login, |(_, rest)| rest);
            refused = login.split_once('@').or(refused);
        }
    }
    let (user, host) = refused?;
    let user = user.split(':').next().unwrap_or_default();
    Some(format!(
        "its operator cannot log in to {host} as {user} (kubectl logs deployment/{OPERATOR} -c {OPERATOR})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Altinity's operator 0.25.6 writes it.
    const LINE: &str = "E1129 11:53:51.226646       1 connection.go:197] QueryContext():FAILED connect(\
        http://clickhouse_operator:***@chi-clickhouse-my-cluster-0-0.database.svc.cluster.local:8123) \
        for SQL: SELECT version()";

    #[test]
    fn a_login_that_failed_is_told_until_the_host_was_had() {
        let said = refused_login(LINE).expect("told");
        assert!(
            said.contains("as clickhouse_operator")
                && said.contains("chi-clickhouse-my-cluster-0-0.database")
                && !said.contains("***"),
            "{said}"
        );
        let done =
            "I1129 11:58:48.132826 1 x.go:918] f():Host:0-0:Reconcile Host completed. Host: 0-0";
        assert_eq!(refused_login(&format!("{LINE}\n{done}")), None);
        assert_eq!(
            refused_login("W1129 f():Setting option SetWaitUntilReady"),
            None
        );
    }

    #[test]
    #[ignore = "needs the recorded statuses: CDC_TEST_CAPTURES or ../shared/data"]
    fn the_recorded_log_tells_of_the_login_while_the_host_is_in_progress() {
        let data = std::env::var("CDC_TEST_CAPTURES")
            .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").into());
        let log = std::fs::read_to_string(format!("{data}/captures/altinity-0.25.6/operator.log"))
            .expect("the recorded log");
        assert_eq!(refused_login(&log), None, "in the end it was had");
        let waiting: Vec<&str> = log
            .lines()
            .take_while(|it| !it.contains("11:58:48"))
            .collect();
        let said = refused_login(&waiting.join("\n")).expect("told");
        assert!(said.contains("as clickhouse_operator"), "{said}");
    }
}
