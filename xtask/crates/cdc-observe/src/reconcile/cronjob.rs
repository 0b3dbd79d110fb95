//! The objects that run a schedule in the cluster of its pipeline. Pure: what stands in them comes from outside.
//!
//! A pod reaches services as this machine does, through port-forwards of the API server: one way for all clusters, and
//! no network policy in between. So its rights are to look for pods and to forward to them, in the pipeline's
//! namespaces alone. Passwords are files of a Secret that the user makes of this machine's state: none is printed, and
//! the pod may read no Secret through the API but those of Kafka's own login, where Kafka asks for one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::schedule::Schedule;
use crate::error::{Code, Error, Result};

/// Where the image has the folders `profiles`, `manifests` and `images` of the repository.
pub const ROOT: &str = "/opt/cdc";
/// The program in the image.
pub const PROGRAM: &str = "/usr/local/bin/xtask";
const STATE: &str = "/var/lib/cdc/state";
const KUBECONFIG: &str = "/etc/cdc";
/// Where a pod finds who it is.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Whom it runs as: any that is not root.
const USER: u32 = 65_532;
/// The longest name of a CronJob, whose Jobs have a longer one.
const LONGEST: usize = 52;

/// What the objects are made of.
#[derive(Clone, Debug)]
pub struct CronJob {
    /// The profile's name, which is its file's in the image.
    pub profile: String,
    /// Where the CronJob is.
    pub namespace: String,
    /// Where components are that it reaches.
    pub namespaces: BTreeSet<String>,
    /// Secrets that it reads through the API in its own namespace.
    pub reads: Vec<String>,
    /// The context that the environment is made with.
    pub context: String,
    /// The image.
    pub image: String,
    /// The words behind the program's name.
    pub arguments: Vec<String>,
    /// When it runs.
    pub schedule: Schedule,
    /// Files of the environment's state, below it.
    pub files: Vec<String>,
    /// Variables that are secret.
    pub variables: Vec<&'static str>,
}

/// The name of a profile's objects.
pub fn name(profile: &str) -> String {
    let plain = profile.to_lowercase().replace(['_', '.'], "-");
    let name: String = format!("cdc-reconcile-{plain}")
        .chars()
        .take(LONGEST)
        .collect();
    name.trim_end_matches('-').to_owned()
}

/// The name of the Secret that has the variables.
pub fn variables_name(profile: &str) -> String {
    format!("{}-env", name(profile))
}

/// The key of a Secret that a file of the state is.
pub fn key(file: &str) -> String {
    file.replace('/', "_")
}

impl CronJob {
    /// The objects, in the order in which they are applied.
    ///
    /// # Errors
    /// A CronJob cannot have this schedule.
    pub fn objects(&self) -> Result<Vec<Value>> {
        let (expression, zone) = expression(&self.schedule)?;
        let mut objects = vec![self.object("v1", "ServiceAccount", &self.namespace, json!({}))];
        for namespace in &self.namespaces {
            objects.extend(self.rights(namespace));
        }
        objects.push(self.object(
            "v1",
            "ConfigMap",
            &self.namespace,
            json!({ "data": { "kubeconfig": self.kubeconfig().to_string() } }),
        ));
        let spec = json!({
            "schedule": expression,
            "timeZone": zone,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": { "spec": {
                // What differs still differs a moment later: the next run shows whether it does.
                "backoffLimit": 0,
                "template": {
                    "metadata": { "labels": self.labels() },
                    "spec": self.pod(),
                },
            } },
        });
        objects.push(self.object(
            "batch/v1",
            "CronJob",
            &self.namespace,
            json!({ "spec": spec }),
        ));
        Ok(objects)
    }

    fn object(&self, version: &str, kind: &str, namespace: &str, rest: Value) -> Value {
        let mut object = json!({
            "apiVersion": version,
            "kind": kind,
            "metadata": {
                "name": name(&self.profile),
                "namespace": namespace,
                "labels": self.labels(),
            },
        });
        if let (Some(object), Value::Object(rest)) = (object.as_object_mut(), rest) {
            object.extend(rest);
        }
        object
    }

    fn labels(&self) -> Value {
        json!({ "app.kubernetes.io/name": "cdc-reconcile", "app.kubernetes.io/instance": name(&self.profile) })
    }

    /// What the pod may do in a namespace: what a port-forward needs.
    fn rights(&self, namespace: &str) -> [Value; 2] {
        let rule = |resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [""], "resources": resources, "verbs": verbs });
        let mut rules = vec![
            rule(&["services"], &["get"]),
            rule(&["pods"], &["get", "list"]),
            // Over a WebSocket it is a `get` to API servers, and to newer ones a `create`.
            rule(&["pods/portforward"], &["get", "create"]),
        ];
        if namespace == self.namespace && !self.reads.is_empty() {
            let mut secrets = rule(&["secrets"], &["get"]);
            secrets["resourceNames"] = json!(self.reads);
            rules.push(secrets);
        }
        let group = "rbac.authorization.k8s.io";
        let version = format!("{group}/v1");
        let name = name(&self.profile);
        let binding = json!({
            "roleRef": { "apiGroup": group, "kind": "Role", "name": name },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": self.namespace }],
        });
        [
            self.object(&version, "Role", namespace, json!({ "rules": rules })),
            self.object(&version, "RoleBinding", namespace, binding),
        ]
    }

    /// The environment's context, as the pod's own account.
    fn kubeconfig(&self) -> Value {
        let named = |kind: &str, value: Value| json!([{ "name": self.context, kind: value }]);
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": named("cluster", json!({
                "server": "https://kubernetes.default.svc",
                "certificate-authority": format!("{ACCOUNT}/ca.crt"),
            })),
            "users": named("user", json!({ "tokenFile": format!("{ACCOUNT}/token") })),
            "contexts": named("context", json!({ "cluster": self.context, "user": self.context })),
        })
    }

    fn pod(&self) -> Value {
        let name = name(&self.profile);
        let variable = |name: &str, value: &str| json!({ "name": name, "value": value });
        let items: Vec<Value> = self
            .files
            .iter()
            .map(|file| json!({ "key": key(file), "path": file }))
            .collect();
        let mut container = json!({
            "name": "reconcile",
            "image": self.image,
            "command": [PROGRAM],
            "args": self.arguments.iter().map(|it| escaped(it)).collect::<Vec<_>>(),
            "env": [
                // The tool finds its folders beside this one.
                variable("CARGO_MANIFEST_DIR", &format!("{ROOT}/xtask")),
                variable("XDG_STATE_HOME", STATE),
                variable("XDG_CACHE_HOME", "/tmp"),
                variable("HOME", "/tmp"),
                variable("KUBECONFIG", &format!("{KUBECONFIG}/kubeconfig")),
            ],
            "resources": {
                "requests": { "cpu": "100m", "memory": "128Mi" },
                "limits": { "memory": "512Mi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
            "volumeMounts": [
                { "name": "kubeconfig", "mountPath": KUBECONFIG, "readOnly": true },
                { "name": "state", "mountPath": format!("{STATE}/cdc-xtask/{}", self.profile), "readOnly": true },
                { "name": "tmp", "mountPath": "/tmp" },
            ],
        });
        if !self.variables.is_empty() {
            let secret = variables_name(&self.profile);
            container["envFrom"] = json!([{ "secretRef": { "name": secret } }]);
        }
        json!({
            "serviceAccountName": name,
            "restartPolicy": "Never",
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [container],
            "volumes": [
                { "name": "kubeconfig", "configMap": { "name": name } },
                // 0440
                { "name": "state", "secret": { "secretName": name, "defaultMode": 288, "items": items } },
                { "name": "tmp", "emptyDir": {} },
            ],
        })
    }
}

/// An argument in which Kubernetes replaces nothing.
fn escaped(argument: &str) -> String {
    argument.replace("$(", "$$(")
}

/// The schedule and the time zone of a CronJob.
///
/// # Errors
/// It says what no CronJob can.
fn expression(schedule: &Schedule) -> Result<(String, String)> {
    let cannot = |what: String| {
        Error::new(Code::Usage, what).hint("give the times as five fields: --cron \"0 */6 * * *\"")
    };
    match schedule {
        Schedule::Every(every) => match every_as_cron(*every) {
            Some(text) => Ok((text, "Etc/UTC".into())),
            None => Err(cannot(format!(
                "a CronJob cannot run every {every:?}: minutes must divide an hour, and hours a day"
            ))),
        },
        Schedule::Cron(cron, zone) => {
            let text = cron.to_string();
            let fields: Vec<&str> = text.split(' ').collect();
            let five = match fields.as_slice() {
                ["0", five @ ..] if five.len() == 5 => five,
                five if five.len() == 5 || text.starts_with('@') => five,
                _ => return Err(cannot("a CronJob knows no seconds".into())),
            };
            // Days of the week are 0 to 6 there, and what is more than ranges, steps and names is unknown.
            let weekday = five.get(4).unwrap_or(&"").to_uppercase();
            let days = five.get(2).unwrap_or(&"").to_uppercase();
            let is_odd = five.join(" ").contains(['#', '+'])
                || weekday.contains('7')
                || weekday.ends_with('L')
                || days.contains(['L', 'W']);
            if is_odd {
                return Err(cannot(format!(
                    "Kubernetes does not understand `{text}`: no 7, L, W, # and +"
                )));
            }
            let zone = match zone.name() {
                Some("UTC") => "Etc/UTC".to_owned(),
                Some(name) => name.to_owned(),
                None => {
                    return Err(cannot(format!("the time zone `{zone}` has no name"))
                        .hint("name it: --time-zone Europe/Berlin"));
                }
            };
            Ok((five.join(" "), zone))
        }
    }
}

/// An interval that starts again with each hour or day.
fn every_as_cron(every: Duration) -> Option<String> {
    let is_whole = every.as_millis().is_multiple_of(60_000);
    let minutes = is_whole.then_some(every.as_secs() / 60)?;
    match minutes {
        1 => Some("* * * * *".into()),
        2..60 if 60_u64.is_multiple_of(minutes) => Some(format!("*/{minutes} * * * *")),
        60 => Some("0 * * * *".into()),
        61..1440 if minutes.is_multiple_of(60) && 1440_u64.is_multiple_of(minutes) => {
            Some(format!("0 */{} * * *", minutes / 60))
        }
        1440 => Some("0 0 * * *".into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_that_cron_cannot_say_are_refused() {
        let every = |seconds| Schedule::Every(Duration::from_secs(seconds));
        for (seconds, want) in [
            (60, "* * * * *"),
            (900, "*/15 * * * *"),
            (3_600, "0 * * * *"),
            (21_600, "0 */6 * * *"),
            (86_400, "0 0 * * *"),
        ] {
            let found = expression(&every(seconds)).expect("a schedule");
            assert_eq!(found, (want.to_owned(), "Etc/UTC".to_owned()));
        }
        for seconds in [1, 30, 90, 7 * 60, 5 * 3_600, 2 * 86_400] {
            let error = expression(&every(seconds)).expect_err("cron cannot");
            assert_eq!(error.code, Code::Usage);
        }
    }

    #[test]
    fn expressions_are_those_that_kubernetes_reads() {
        let cron = |text: &str| {
            let cron = Box::new(text.parse().expect("an expression"));
            expression(&Schedule::Cron(cron, super::super::schedule::Zone::utc()))
        };
        for (text, want) in [
            ("0 3 * * *", "0 3 * * *"),
            ("0 0 3 * * MON-FRI", "0 3 * * MON-FRI"),
            ("@daily", "@daily"),
            ("*/5 1,2 * JUL *", "*/5 1,2 * JUL *"),
        ] {
            assert_eq!(cron(text).expect(text).0, want);
        }
        for text in [
            "*/10 * * * * *",
            "0 0 L * *",
            "0 0 * * FRI#2",
            "0 0 * * 7",
            "0 0 15W * *",
        ] {
            assert!(cron(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_those_of_objects() {
        assert_eq!(name("My_shop.v1"), "cdc-reconcile-my-shop-v1");
        assert!(name(&"a-".repeat(100)).len() <= LONGEST);
        assert_eq!(escaped("a$(b) $c"), "a$$(b) $c");
    }
}
