//! The image of Connect's workers on clusters: built here, then loaded into Kind's nodes or pushed to
//! a registry. A profile may name an image of its own instead.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::core::DynamicObject;

use crate::components::connect;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::image::{self, ConnectImage, build, load, push};
use crate::plan::{Outcome, Plan, Progress};
use crate::platform::host::artifacts::maven;
use crate::platform::kubernetes::watch::Target;
use crate::platform::{Platform, kind};
use crate::profile::backbone::{CONNECT_CLUSTER, STRIMZI};
use crate::profile::parts;
use crate::readiness::kubernetes::{WantedImage, pulled};
use crate::readiness::{State, Status};

/// What the image is made of.
///
/// # Errors
/// A plugin's version has no digest.
pub fn recipe(env: &Environment) -> Result<ConnectImage> {
    let versions = &env.profile.versions;
    let registry = env.profile.connect.registry.clone();
    Ok(ConnectImage {
        repository: registry.unwrap_or_else(|| image::REPOSITORY.to_owned()),
        version: versions.of(&parts::DEBEZIUM).to_owned(),
        base: ConnectImage::base(versions.of(&parts::STRIMZI), versions.of(&parts::KAFKA)),
        source: env.root.join("images/connect"),
        plugins: connect::image_plugins(env)?,
    })
}

/// The name that the workers run: the profile's own, or the one that follows from what is in it.
///
/// # Errors
/// See [`recipe`]; the Dockerfile cannot be read.
pub fn reference(env: &Environment) -> Result<String> {
    match &env.profile.connect.image {
        Some(image) => Ok(image.clone()),
        None => recipe(env)?.reference(),
    }
}

/// Refuses where the profile names an image of its own: it is built elsewhere.
///
/// # Errors
/// It does.
pub fn refuse_own(env: &Environment) -> Result<()> {
    let Some(image) = &env.profile.connect.image else {
        return Ok(());
    };
    let what = format!("the profile names an image of its own, {image}: there is nothing to build");
    Err(Error::new(Code::ProfileInvalid, what).hint("unset connect.image"))
}

/// What a push put into the registry, once it has.
pub type Pushed = Arc<OnceLock<push::Pushed>>;

/// Adds the steps that bring the image where the workers run; the last of them is returned. None
/// where the profile names an image.
pub fn steps(
    plan: &mut Plan,
    env: &Arc<Environment>,
    connected: &[&str],
    pushed: &Pushed,
) -> Option<&'static str> {
    let connect = &env.profile.connect;
    if connect.image.is_some() {
        return None;
    }
    let built = build(plan, env);
    if connect.registry.is_some() {
        return Some(push(plan, env, built, pushed));
    }
    let mut needs = connected.to_vec();
    needs.push(built);
    Some(load(plan, env, &needs))
}

/// Adds the step that builds the image, and returns it.
pub fn build(plan: &mut Plan, env: &Arc<Environment>) -> &'static str {
    let at = env.clone();
    let work = async move |progress| build_step(&at, &progress).await;
    plan.step("image/build", "Connect's image", &[], work);
    "image/build"
}

/// Adds the step that pushes what was `built` to the profile's registry, and returns it.
pub fn push(plan: &mut Plan, env: &Arc<Environment>, built: &str, pushed: &Pushed) -> &'static str {
    let (at, into) = (env.clone(), pushed.clone());
    let work = async move |progress| {
        let docker = at.docker().await?;
        let pushed = push::push(docker, &reference(&at)?, &progress).await?;
        let digest = &into.get_or_init(|| pushed).digest;
        Ok(Outcome::Unchanged(format!("the registry has {digest}")))
    };
    plan.step("image/push", "push it", &[built], work);
    "image/push"
}

/// Adds the step that has the image on every node, and returns it.
pub fn load(plan: &mut Plan, env: &Arc<Environment>, needs: &[&str]) -> &'static str {
    let at = env.clone();
    let work = async move |progress| load_step(&at, &progress).await;
    plan.step("image/load", "load it into the nodes", needs, work);
    "image/load"
}

/// Adds the gate that proves that the workers run what was pushed, where something is pushed.
pub(super) fn proof(plan: &mut Plan, env: &Arc<Environment>, pushed: Pushed) {
    let connect = &env.profile.connect;
    if connect.image.is_some() || connect.registry.is_none() {
        return;
    }
    let at = env.clone();
    let title = "the workers run the pushed digest";
    plan.gate(
        "connect/image",
        title,
        &["connect/ready", "image/push"],
        async move |progress| {
            let wanted = wanted(&at, &pushed).await?;
            let none = BTreeSet::new();
            let said = run_by_workers(&at, &wanted, &none, PROVEN_WITHIN, &progress).await?;
            Ok(Outcome::Unchanged(said))
        },
    );
}

/// What the workers are to run: what was pushed in this run, or what the engine has.
///
/// # Errors
/// The engine does not have it, or a node does not answer.
pub async fn wanted(env: &Environment, pushed: &Pushed) -> Result<WantedImage> {
    let digests = match pushed.get() {
        Some(pushed) => [pushed.digest.clone()].into(),
        None => identities(env).await?,
    };
    Ok(run_as(env, reference(env)?, digests))
}

/// Whether these pods run what the image's name means to the engine; none where the engine does not
/// have it. Nodes, which may know it by digests of their own, are asked only where it seems another one.
///
/// # Errors
/// The engine or a node does not answer.
pub(crate) async fn is_run(
    env: &Environment,
    pods: &[Arc<DynamicObject>],
) -> Result<Option<Status>> {
    let reference = reference(env)?;
    let digests = match load::identities(env.docker().await?, &reference, &[]).await {
        Ok(digests) => digests,
        Err(error) if error.code == Code::NotUp => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut wanted = run_as(env, reference, digests);
    let seen = pulled(pods, &wanted);
    if seen.state != State::Failed {
        return Ok(Some(seen));
    }
    wanted.digests = identities(env).await?;
    Ok(Some(pulled(pods, &wanted)))
}

fn run_as(env: &Environment, reference: String, digests: BTreeSet<String>) -> WantedImage {
    WantedImage {
        container: format!("{CONNECT_CLUSTER}-connect"),
        reference,
        digests,
        pods: usize::from(env.profile.connect.replicas),
    }
}

/// Waits until the workers run the image, proven by its digest. Pods that are `going` (by uid) say
/// nothing about it.
///
/// # Errors
/// They run another one, or none in time.
pub async fn run_by_workers(
    env: &Environment,
    wanted: &WantedImage,
    going: &BTreeSet<String>,
    deadline: Duration,
    progress: &Progress,
) -> Result<String> {
    let workers = Target::of(
        STRIMZI,
        "KafkaConnect",
        &env.profile.kubernetes.kafka_namespace,
        CONNECT_CLUSTER,
    );
    let stays = |pod: &&Arc<DynamicObject>| {
        let uid = pod.metadata.uid.as_ref();
        !uid.is_some_and(|uid| going.contains(uid))
    };
    let judge = |pods: &[Arc<DynamicObject>]| {
        let pods: Vec<_> = pods.iter().filter(stays).cloned().collect();
        pulled(&pods, wanted)
    };
    let what = "the workers run the image";
    let watches = &env.link()?.watches;
    watches
        .replaced(what, workers, judge, deadline, progress)
        .await
}

/// The workers are ready before: this is one look, unless a roll is under way.
const PROVEN_WITHIN: Duration = Duration::from_secs(300);

/// Builds the image, unless it is there, and inspects it.
///
/// # Errors
/// A plugin cannot be had, the build fails, or the image is not what the workers need.
pub async fn build_step(env: &Environment, progress: &Progress) -> Result<Outcome> {
    let plugin = env.profile.versions.of(&parts::MAVEN_PLUGIN);
    let image = recipe(env)?;
    maven::fetch(&connect::plugins(env)?, plugin, &env.dirs.cache, progress).await?;
    let docker = env.docker().await?;
    let built = build::fit(docker, &image, &env.dirs.cache, progress).await?;
    Ok(if built.new {
        Outcome::Changed(format!("built {}", built.reference))
    } else {
        Outcome::Unchanged(format!("{} is there", built.reference))
    })
}

/// Has the image on every node of the environment's Kind cluster, and proves it.
///
/// # Errors
/// There is no such cluster, or a node refuses the image.
pub async fn load_step(env: &Environment, progress: &Progress) -> Result<Outcome> {
    let docker = env.docker().await?;
    let nodes = kind::nodes(docker, &env.profile.kind_name(&env.name)).await?;
    let loaded = load::load(docker, &reference(env)?, &nodes, progress).await?;
    let sent: u64 = loaded.iter().filter_map(|node| node.sent).sum();
    Ok(if sent == 0 {
        Outcome::Unchanged(format!("on {} nodes", loaded.len()))
    } else {
        Outcome::Changed(format!(
            "{} to {} nodes",
            crate::report::text::bytes(sent),
            loaded.iter().filter(|node| node.sent.is_some()).count()
        ))
    })
}

/// The digests by which nodes may name the image: the engine's, a registry's, and the nodes' own.
///
/// # Errors
/// The engine does not have it, or a node does not answer.
async fn identities(env: &Environment) -> Result<BTreeSet<String>> {
    let docker = env.docker().await?;
    let nodes = match env.platform {
        Platform::Kind => kind::nodes(docker, &env.profile.kind_name(&env.name)).await?,
        Platform::Host | Platform::Kubernetes => Vec::new(),
    };
    load::identities(docker, &reference(env)?, &nodes).await
}
