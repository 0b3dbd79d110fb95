//! Objects from JSON, and clients.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};
use xtask::environment::{Environment, Secrets};
use xtask::plan::Progress;
use xtask::platform::Platform;
use xtask::platform::kubernetes::Cluster;
use xtask::platform::kubernetes::watch::{Gate, Target};
use xtask::profile::Selection;
use xtask::{error, wait};

/// Waits as a plan does.
pub trait Waits {
    /// Until the object is current.
    async fn current(
        self,
        what: &str,
        limit: Duration,
        progress: &Progress,
    ) -> error::Result<String>;
}

impl Waits for Gate {
    async fn current(
        self,
        what: &str,
        limit: Duration,
        progress: &Progress,
    ) -> error::Result<String> {
        let mut changes = self.changes();
        let gate = tokio::sync::Mutex::new(self);
        let look = || async { gate.lock().await.look().await };
        wait::until_changed(what, limit, progress, &mut changes, look).await
    }
}

/// A client of a kubeconfig's current context.
pub async fn client(kubeconfig: &str) -> Client {
    xtask::tls::install();
    let kubeconfig = kube::config::Kubeconfig::from_yaml(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    Client::try_from(config).unwrap()
}

pub fn api(client: &Client, version: &str, kind: &str, space: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match space {
        Some(space) => Api::namespaced_with(client.clone(), space, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

pub fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

/// Creates the object, in the namespace if it has one.
pub async fn create(client: &Client, space: Option<&str>, value: Value) -> DynamicObject {
    let object = object(value);
    let types = object.types.clone().unwrap();
    api(client, &types.api_version, &types.kind, space)
        .create(&PostParams::default(), &object)
        .await
        .unwrap()
}

pub async fn namespace(client: &Client, name: &str) {
    let made = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    create(client, None, made).await;
}

pub fn stateful_set(space: &str, name: &str) -> Target {
    Target::of("apps/v1", "StatefulSet", space, name)
}

/// A pod's template with one container.
pub fn template(labels: Value, container: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}})
}

/// A StatefulSet of one pod.
pub fn set(name: &str, container: Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": 1, "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "template": template(json!({"app": name}), container),
        },
    })
}

/// The default profile's environment on this cluster.
pub async fn environment(cluster: &Cluster) -> Arc<Environment> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let selection = Selection {
        profile: "clickhouse".into(),
        set: vec!["platform=kind".into()],
    };
    let loaded = xtask::components::load(root, &selection).unwrap();
    let env = Environment::new(root, loaded, Platform::Kind, Secrets::Existing).unwrap();
    env.attach(cluster.clone()).await.unwrap();
    Arc::new(env)
}
