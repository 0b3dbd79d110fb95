//! The lower half of `up`'s plan on clusters: the cluster itself, Connect's image, and every object.
//!
//! Only what must wait does: the worker for its image, a connector for its tables. Everything else is
//! applied at once, so that the operators work side by side.
//!
//! Where Kafka asks who connects, the target waits for the authority's certificate and Connect for
//! its user: the kubelet starts a pod that wants either too early again after ever longer pauses.

mod release;
mod seen;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use kube::core::DynamicObject;

use self::seen::{HandedOn, Seen, handed};
use super::gates::{self, Starts};
use super::{ClusterOptions, image, operators};
use crate::components::{Manifests, Stage, kafka, of};
use crate::endpoint::MASK;
use crate::environment::{Environment, STRIMZI_DEPLOYMENT};
use crate::error::{Code, Error, Result};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::Platform;
use crate::platform::kind::{self, Ensured, Kind};
use crate::platform::kubernetes::{Applied, Change, Cluster, ObjectRef, Options, Owned, said};
use crate::profile::Profile;
use crate::profile::component::Space;
use crate::profile::parts;
use crate::render::Templates;
use crate::render::objects::Object;

/// Whether passwords stand in rendered objects or are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// As they are, for the cluster.
    Secrets,
    /// Masked, for people.
    Masked,
}

/// Every object of the environment but the operators'.
///
/// # Errors
/// A template is wrong, or the image's files cannot be read.
pub fn objects(env: &Environment, show: Show) -> Result<Vec<Object>> {
    let authority = match show {
        Show::Secrets => env.kafka_ca(),
        Show::Masked => env.kafka_asks_for_login().then(|| UNKNOWN_CA.into()),
    };
    super::objects::render(&Manifests {
        env,
        on_kind: env.platform == Platform::Kind,
        image: &image::reference(env)?,
        authority: authority.as_deref(),
        shown: &|password| match show {
            Show::Secrets => password,
            Show::Masked => MASK.to_owned(),
        },
    })
}

/// What stands for the certificate of Kafka's own authority before Kafka's operator has made it.
const UNKNOWN_CA: &str = "(as soon as Kafka's operator has made it)\n";

/// When an object is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
enum When {
    /// At once.
    First,
    /// When Kafka's own authority is known, whom the target's servers trust.
    Target,
    /// When the workers' image is where it can be run.
    Worker,
    /// When the connector's tables are there.
    Connector(String),
}

fn when(env: &Environment, kind: &str, name: &str) -> When {
    match kind {
        "KafkaConnect" => When::Worker,
        "KafkaConnector" => When::Connector(name.to_owned()),
        "Secret" if name == TRUSTED => When::Target,
        // A pod that mounts a Secret which is not there is looked at again after minutes.
        _ if is_target(env, kind, name) => When::Target,
        _ => When::First,
    }
}

/// Whether an object is the servers of a component that changes arrive at.
fn is_target(env: &Environment, kind: &str, name: &str) -> bool {
    let mut targets = env
        .running()
        .map(of)
        .filter(|it| it.stage() == Stage::Target);
    targets.any(|it| {
        let objects = it.objects(&env.profile);
        let servers = objects.last();
        servers.is_some_and(|(_, servers)| servers.kind == kind && servers.name == name)
    })
}

/// Whether an object is applied before anything else.
fn is_first(env: &Environment, object: &ObjectRef) -> bool {
    match when(env, &object.kind, &object.name) {
        When::First => true,
        When::Target => !env.kafka_asks_for_login(),
        When::Worker | When::Connector(_) => false,
    }
}

/// The Secret with Kafka's own authority in the target's namespace.
const TRUSTED: &str = "kafka-ca";

fn of_time(env: &Environment, objects: &[Object], wanted: &When) -> Vec<DynamicObject> {
    let at_stage = |object: &&DynamicObject| {
        let kind = object.types.as_ref().map_or("", |types| &types.kind);
        let name = object.metadata.name.as_deref().unwrap_or_default();
        when(env, kind, name) == *wanted
    };
    let objects = objects.iter().map(|object| &object.object);
    objects.filter(at_stage).cloned().collect()
}

/// Builds the plan.
///
/// # Errors
/// A template is wrong, or a cluster of the user's own has no place for Connect's image.
pub(super) fn plan(env: &Arc<Environment>, options: &ClusterOptions) -> Result<Plan> {
    let mut plan = Plan::default();
    let own = Arc::new(objects(env, Show::Secrets)?);
    let connected: &[&str] = match env.platform {
        Platform::Kind => {
            create(&mut plan, env);
            &["kind/cluster"]
        }
        Platform::Host | Platform::Kubernetes => &[],
    };
    let operators: Arc<OnceLock<Vec<DynamicObject>>> = Arc::default();
    let (at, found, bundle_dir) = (env.clone(), operators.clone(), options.bundle_dir.clone());
    let title = "fetch and verify the operators' manifests";
    plan.step("operators/bundles", title, &[], async move |progress| {
        let (objects, fetched) = operators::objects(&at, bundle_dir.as_deref(), &progress).await?;
        let count = objects.len();
        found.get_or_init(|| objects);
        Ok(if fetched.is_empty() {
            Outcome::Unchanged(format!("{count} objects"))
        } else {
            Outcome::Changed(format!("fetched and verified {}", fetched.join(", ")))
        })
    });
    let pushed = image::Pushed::default();
    let image = image::steps(&mut plan, env, connected, &pushed);
    let inventory = seen::inventory(&mut plan, env, connected);
    let (at, wanted) = (env.clone(), own.clone());
    let checked = HandedOn::<Seen>::default();
    let into = checked.clone();
    let remove = options.prune;
    plan.gate(
        "cluster/check",
        "permissions, room, what pods refer to",
        &["operators/bundles", "cluster/inventory"],
        async move |progress| {
            let mut objects = together(&operators, &wanted);
            objects.extend(trusted(&at)?);
            let first = |object: &ObjectRef| is_first(&at, object);
            let inventory = handed(&inventory)?;
            let (seen, outcome) =
                seen::check(&at, &objects, inventory, remove, first, &progress).await?;
            into.get_or_init(|| seen);
            Ok(outcome)
        },
    );
    let (at, seen) = (env.clone(), checked.clone());
    let title = "operators, databases, Kafka";
    plan.step(
        "cluster/apply",
        title,
        &["cluster/check"],
        async move |progress| {
            let cluster = &at.link()?.cluster;
            let first = &handed(&seen)?.first;
            let applied = cluster
                .apply_seen(first, &apply_options(&at), &progress)
                .await?;
            Ok(told(&applied))
        },
    );
    gates::operator(&mut plan, env, "cluster/apply");
    let target = target(&mut plan, env);
    let mut needs = vec!["cluster/apply"];
    needs.extend(image);
    if env.kafka_asks_for_login() {
        // A worker whose user the broker does not know yet ends, and is started again ever later.
        needs.push("kafka/ready");
    }
    let (at, wanted) = (env.clone(), own.clone());
    let work = async move |progress| {
        let workers = of_time(&at, &wanted, &When::Worker);
        let applied = apply(&at, &workers, &progress).await?;
        release::release(&at, applied).await
    };
    plan.step("connect/apply", "the workers", &needs, work);
    let starts: Starts = env
        .running()
        .map(|instance| {
            let applied = match of(instance).stage() {
                Stage::Target => target.as_str(),
                Stage::Mover => "connect/apply",
                Stage::Source | Stage::Log => "cluster/apply",
            };
            (instance.name.clone(), applied.to_owned())
        })
        .collect();
    gates::add(&mut plan, env, &starts, &own);
    image::proof(&mut plan, env, pushed);
    let connectors = env.profile.connector_names();
    let registered: Vec<String> = connectors.map(|name| format!("{name}/register")).collect();
    let mut needs: Vec<&str> = registered.iter().map(String::as_str).collect();
    needs.extend(["connect/apply", target.as_str()]);
    let at = env.clone();
    let work = async move |progress| prune(&at, &handed(&checked)?.left, remove, &progress).await;
    plan.step("cluster/prune", "what left the profile", &needs, work);
    Ok(plan)
}

/// Adds the steps after which the target is applied; the last of them is returned.
fn target(plan: &mut Plan, env: &Arc<Environment>) -> String {
    let mut reads = env.running().map(of);
    let target = reads.find(|it| it.stage() == Stage::Target);
    let (true, Some(target)) = (env.kafka_asks_for_login(), target) else {
        return "cluster/apply".into();
    };
    // All of them are applied together.
    let id = format!("{}/apply", target.name());
    let at = env.clone();
    let title = "the certificate of Kafka's own authority";
    plan.gate(
        "kafka/authority",
        title,
        &["cluster/apply"],
        async move |progress| {
            kafka::authority(&at, AUTHORITY_WITHIN, &progress).await?;
            Ok(Outcome::Unchanged("known".into()))
        },
    );
    let at = env.clone();
    let title = "the target, which trusts it";
    plan.step(&id, title, &["kafka/authority"], async move |progress| {
        let target = of_time(&at, &objects(&at, Show::Secrets)?, &When::Target);
        apply(&at, &target, &progress).await
    });
    id
}

/// The operator makes it before anything else, but its own image may have to be pulled.
const AUTHORITY_WITHIN: Duration = Duration::from_secs(600);

/// The Secret that the target mounts, with whatever is known of its content.
fn trusted(env: &Environment) -> Result<Vec<DynamicObject>> {
    if !env.kafka_asks_for_login() {
        return Ok(Vec::new());
    }
    let mut objects = objects(env, Show::Masked)?;
    objects.retain(|object| object.object.metadata.name.as_deref() == Some(TRUSTED));
    Ok(objects.into_iter().map(|object| object.object).collect())
}

/// The operators' objects and the environment's own.
fn together(operators: &OnceLock<Vec<DynamicObject>>, own: &[Object]) -> Vec<DynamicObject> {
    let mut all = operators.get().cloned().unwrap_or_default();
    all.extend(own.iter().map(|object| object.object.clone()));
    all
}

/// What the cluster has of this environment and the profile no longer wants.
///
/// # Errors
/// The server does not tell.
pub async fn left(
    env: &Environment,
    cluster: &Cluster,
    wanted: &[DynamicObject],
) -> Result<Vec<Owned>> {
    cluster
        .inventory(&env.name, &namespaces(env))
        .await?
        .left(wanted)
}

/// Where a component's pods are, or those of Kafka's operator, and the labels that find them.
pub fn pods<'a>(env: &'a Environment, component: &str) -> (&'a str, String) {
    let (space, labels) = match env.profile.component(component) {
        Some(instance) => of(instance).pods(),
        None => (Space::Kafka, format!("name={STRIMZI_DEPLOYMENT}")),
    };
    (env.profile.namespace(space), labels)
}

/// The pods of a component, as they are.
///
/// # Errors
/// The environment has no cluster, or the server refuses.
pub async fn listed(env: &Environment, component: &str) -> Result<Vec<Pod>> {
    let (namespace, selector) = pods(env, component);
    let api: Api<Pod> = Api::namespaced(env.link()?.cluster.client.clone(), namespace);
    let pods = api.list(&ListParams::default().labels(&selector)).await;
    let pods = pods.map_err(|error| Error::new(Code::Service, said(&error)))?;
    Ok(pods.items)
}

/// The logs of a component's pods, by pod. One that has not started has none, and says why.
///
/// # Errors
/// As [`listed`].
pub async fn logs(
    env: &Environment,
    component: &str,
    asked: &LogParams,
) -> Result<Vec<(String, String)>> {
    let (namespace, _) = pods(env, component);
    let api: Api<Pod> = Api::namespaced(env.link()?.cluster.client.clone(), namespace);
    let mut logs = Vec::new();
    for pod in listed(env, component).await? {
        let name = pod.metadata.name.unwrap_or_default();
        let text = api.logs(&name, asked).await;
        logs.push((name, text.unwrap_or_else(|error| said(&error))));
    }
    Ok(logs)
}

/// The namespaces that the environment uses.
pub fn namespaces(env: &Environment) -> [String; 2] {
    let spaces = &env.profile.kubernetes;
    [
        spaces.kafka_namespace.clone(),
        spaces.database_namespace.clone(),
    ]
}

async fn prune(
    env: &Environment,
    left: &[Owned],
    remove: bool,
    progress: &Progress,
) -> Result<Outcome> {
    if left.is_empty() {
        return Ok(Outcome::Unchanged("nothing".into()));
    }
    let names: Vec<String> = left.iter().map(|owned| owned.object.to_string()).collect();
    let names = names.join(", ");
    if !remove {
        return Ok(Outcome::Unchanged(format!(
            "left alone: {names}; cargo xtask up --yes removes it"
        )));
    }
    let cluster = &env.link()?.cluster;
    cluster.remove(left, REMOVED_WITHIN, progress).await?;
    Ok(Outcome::Changed(format!("removed {names}")))
}

/// How long an operator may take to clean up behind an object.
pub const REMOVED_WITHIN: Duration = Duration::from_secs(180);

fn create(plan: &mut Plan, env: &Arc<Environment>) {
    let at = env.clone();
    let work = async move |progress| {
        let docker = at.docker().await?;
        let kind = Kind::find(&kind_source(&at), &progress).await?;
        let spec = kind_spec(&at);
        let config = kind_config(&at.templates, &spec)?;
        let ensured = kind::ensure(&kind, docker, &spec, &config, &progress).await?;
        // One that runs already was connected before the plan began.
        if at.link().is_err() {
            let cluster = Cluster::connect(&kind::context(&spec.name)).await?;
            at.attach(cluster).await?;
        }
        Ok(match ensured {
            Ensured::Created => Outcome::Changed(format!("created {}", spec.name)),
            Ensured::Started => Outcome::Changed(format!("started {}", spec.name)),
            Ensured::Reused => Outcome::Unchanged(format!("{} is there", spec.name)),
        })
    };
    plan.step("kind/cluster", "the Kind cluster", &[], work);
}

/// Where Kind's own command comes from.
pub fn kind_source(env: &Environment) -> kind::Source {
    kind::Source {
        version: env.profile.versions.of(&parts::KIND).to_owned(),
        root: env.root.clone(),
        cache: env.dirs.cache.clone(),
    }
}

/// The name of the environment's Kind cluster.
pub fn kind_name(env: &Environment) -> String {
    env.profile.kind_name(&env.name)
}

/// The Kind cluster that the profile asks for.
pub fn kind_spec(env: &Environment) -> kind::Spec {
    kind::Spec {
        name: kind_name(env),
        node_image: kind::node_image(env.profile.versions.of(&parts::KIND_NODE)),
        nodes: env.profile.kind.nodes,
        ports: kind_ports(&env.profile),
    }
}

/// The configuration of a Kind cluster, as Kind reads it.
///
/// # Errors
/// The template is wrong.
pub fn kind_config(templates: &Templates, spec: &kind::Spec) -> Result<String> {
    templates.text(kind::TEMPLATE, &spec.context())
}

/// The ports of this machine that lead into the Kind cluster.
pub fn kind_ports(profile: &Profile) -> Vec<kind::PortMapping> {
    profile
        .host_ports()
        .into_iter()
        .map(|(name, port)| kind::PortMapping {
            name,
            host: port.host,
            node: port.node,
        })
        .collect()
}

fn apply_options(env: &Environment) -> Options {
    Options {
        force: env.force,
        ..Options::new(&env.name)
    }
}

async fn apply(
    env: &Environment,
    objects: &[DynamicObject],
    progress: &Progress,
) -> Result<Outcome> {
    let cluster = &env.link()?.cluster;
    let applied = cluster
        .apply(objects, &apply_options(env), progress)
        .await?;
    Ok(told(&applied))
}

/// What an apply did, for people.
fn told(applied: &Applied) -> Outcome {
    if applied.changed() {
        Outcome::Changed(format!(
            "{} created, {} changed, {} as they were",
            applied.count(Change::Created),
            applied.count(Change::Configured),
            applied.count(Change::Unchanged) + applied.count(Change::Kept),
        ))
    } else {
        Outcome::Unchanged(format!("{} objects as they were", applied.objects.len()))
    }
}

/// Has the workers' resource as the profile wants it; the operator replaces their pods.
///
/// # Errors
/// A template is wrong, or the server refuses.
pub async fn apply_workers(env: &Environment, progress: &Progress) -> Result<Outcome> {
    let workers = of_time(env, &objects(env, Show::Secrets)?, &When::Worker);
    release::release(env, apply(env, &workers, progress).await?).await
}

/// Has the connector's resource as the profile wants it; the operator submits it.
///
/// # Errors
/// The server refuses it.
pub(super) async fn register(
    env: &Environment,
    own: &[Object],
    name: String,
    progress: &Progress,
) -> Result<Outcome> {
    let objects = of_time(env, own, &When::Connector(name));
    apply(env, &objects, progress).await
}
