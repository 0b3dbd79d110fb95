//! `up`: bring the pipeline up, or prove that it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::json;

use super::context::{self, Choice};
use super::{cluster, doctor, naming, restart, stdout, up_prune};
use crate::cli::{Global, Ports, Up};
use crate::clock;
use crate::components;
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::files::write_atomic;
use crate::operate::leftovers;
use crate::plan;
use crate::plan::run::RunReport;
use crate::plan::{Action, Graph};
use crate::platform::Platform;
use crate::platform::host::daemon::{self, Found};
use crate::platform::host::prerequisites::Wanted;
use crate::platform::host::{Dirs, lock, ports};
use crate::printed;
use crate::profile::advisories::{Advisories, Vulnerable};
use crate::profile::combinations::InUse;
use crate::profile::{self, Loaded, Profile, pins};
use crate::report::{self, Output, Reporter};
use crate::up::{self, ClusterOptions};

pub(super) async fn run(global: &Global, args: &Up) -> Result<ExitCode> {
    let selection = context::selection(global);
    let mut loaded = context::load(&selection)?;
    let context::Chosen { platform, why } = context::choose_platform(&loaded).await?;
    up_prune::refuse(args, platform)?;
    let dirs = Dirs::of(&loaded.name)?;
    // Whatever can be wrong is found before anything is made.
    let env = Arc::new(Environment::new(
        &context::root(),
        loaded.clone(),
        platform,
        Secrets::Existing,
    )?);
    require(&env, &args.require)?;
    cluster::refuse_bad_versions(&env).await?;
    // Nothing of any environment was ever brought here: it may be a bare machine.
    if platform == Platform::Host && !args.dry_run && !dirs.cache.exists() {
        doctor::provide(&loaded, args.yes).await?;
    }
    plan_of(&env, args)?;
    if args.dry_run && platform != Platform::Host {
        let what = "on a cluster, `diff` shows what `up` would change";
        return Err(Error::new(Code::Usage, what).hint("cargo xtask diff"));
    }
    let vulnerable = vulnerable(&env)?;
    if args.dry_run {
        vulnerable.iter().for_each(|line| eprintln!("{line}"));
        return dry_run(global.output, &env, args.prune).await;
    }
    let cluster = cluster::find_patiently(&env).await?;
    if let Some(cluster) = &cluster {
        let first = context::remembered_platform(&dirs)?.is_none();
        cluster::confirm_first(cluster, &env, first, args.yes)?;
    }
    dirs.create()?;
    let _lock = lock::take(&dirs.lock(), "cargo xtask up")?;
    let taken = match platform {
        Platform::Host => taken_ports(&dirs, &loaded).await?,
        // Kind's own are looked at where the cluster is made.
        Platform::Kind | Platform::Kubernetes => Vec::new(),
    };
    if !taken.is_empty() {
        match args.ports {
            Ports::Profile => return Err(ports_error(&taken)),
            Ports::Auto => {
                choose_ports(&dirs, &loaded, &taken)?;
                loaded = context::load(&selection)?;
            }
        }
    }
    if let Some(cluster) = &cluster {
        cluster::adopt_passwords(cluster, &env, &dirs).await?;
    }
    let mut env = Environment::new(&context::root(), loaded, platform, Secrets::Create)?;
    env.force = args.force;
    let env = Arc::new(env);
    if let Some(cluster) = cluster {
        env.attach(cluster).await?;
    }
    let (graph, actions) = plan_of(&env, args)?;
    context::remember(&env.dirs, &selection, platform)?;

    let reporter = Reporter::choose(global.output);
    reporter.note(&why);
    if let Some(name) = naming::of(&global.profile)?.why() {
        reporter.note(&name);
    }
    if let Some(line) = vulnerable {
        reporter.note(&line);
    }
    for left_out in &env.left_out {
        reporter.note(&format!("{}: {}", left_out.component, left_out.reason));
    }
    for (name, _) in env
        .profile
        .flows
        .iter()
        .filter(|(_, flow)| flow.canary.is_none())
    {
        reporter.note(&format!("flow {name} is not proven: it has no canary"));
    }
    let report = plan::run(graph, actions, |graph, event| {
        reporter.on_event(graph, event)
    })
    .await;
    reporter.finish();
    if let Some(path) = &args.timeline {
        write_timeline(path, &report, &env)?;
    }
    finish(global.output, &env, report, args).await
}

/// One line about what runs and is known to be vulnerable.
fn vulnerable(env: &Environment) -> Result<Option<String>> {
    let advisories = Advisories::read(&env.root, &pins::keys(&env.tree))?;
    let used = InUse::of(&env.profile, env.platform_choice(), None);
    let phrases: Vec<String> = advisories
        .among(&used)
        .iter()
        .map(Vulnerable::phrase)
        .collect();
    Ok((!phrases.is_empty()).then(|| {
        format!(
            "known to be vulnerable: {}; next: {}",
            phrases.join(", "),
            printed::ours("cargo xtask versions")
        )
    }))
}

fn plan_of(env: &Arc<Environment>, args: &Up) -> Result<(Graph, Vec<Action>)> {
    let options = ClusterOptions {
        bundle_dir: args.bundle_dir.clone(),
        prune: args.yes,
    };
    up::plan(env, &options)?.build()
}

fn write_timeline(path: &Path, report: &RunReport, env: &Environment) -> Result<()> {
    let title = format!("up {} on {}", env.name, env.platform.name());
    let page = report::timeline::page(report, &title, &clock::utc(clock::now_ms()))?;
    write_atomic(path, page.as_bytes(), 0o644)
}

/// Prints the result; a failure becomes one error that holds all of them.
async fn finish(
    output: Output,
    env: &Environment,
    mut report: RunReport,
    args: &Up,
) -> Result<ExitCode> {
    if !report.errors.is_empty() && output == Output::Text {
        let coloured = report::is_coloured(&std::io::stderr());
        eprintln!("{}", report::summary::text(&report, "failed", coloured));
    }
    if let Some(error) = Error::together(std::mem::take(&mut report.errors)) {
        return Err(match error.hint {
            Some(_) => error,
            None => error
                .hint("fix the cause and run the same command again: finished steps stay finished"),
        });
    }
    let pruned = up_prune::run(env, args).await?;
    let mut summary = restart::summary(env, &report);
    summary["pruned"] = pruned.json();
    summary["endpoints"] = json!(endpoints(env));
    summary["left_out"] = json!(env.left_out);
    stdout::answer(output, summary, || {
        let coloured = stdout::palette().colour;
        let mut text = report::summary::text(&report, "ready", coloured) + "\n";
        for (component, address) in endpoints(env) {
            text += &format!("  {component:<11} {address}\n");
        }
        text += &pruned.text();
        text + &printed::ours("next: cargo xtask verify, cargo xtask status\n")
    })
}

/// The addresses of what runs, by component: on Kind those of this machine.
fn endpoints(env: &Environment) -> BTreeMap<&str, String> {
    let local: BTreeMap<String, u16> = match env.platform {
        Platform::Kind => env
            .profile
            .host_ports()
            .into_iter()
            .rev()
            .filter_map(|(key, port)| Some((key.strip_suffix(".port")?.to_owned(), port.host)))
            .collect(),
        Platform::Host | Platform::Kubernetes => BTreeMap::new(),
    };
    let address = |name: &str| match local.get(name) {
        Some(port) => format!("127.0.0.1:{port}"),
        None => env.shown(name),
    };
    let names = env.profile.components.keys();
    names.map(|name| (name.as_str(), address(name))).collect()
}

/// Refuses to leave out what `--require` names, and a profile of which no connector is left.
fn require(env: &Environment, required: &[String]) -> Result<()> {
    let mut connectors = env.profile.connector_names();
    if let (None, [first, ..]) = (connectors.next(), env.left_out.as_slice()) {
        let what = format!("nothing of `{}` is left: {}", env.name, first.reason);
        return Err(Error::new(Code::Missing, what).hint("cargo xtask doctor"));
    }
    for name in required {
        if let Some(left_out) = env.left_out.iter().find(|left| left.component == *name) {
            let what = format!("{name} is required, and there is {}", left_out.reason);
            return Err(Error::new(Code::Missing, what).hint("cargo xtask doctor"));
        }
        components::named(env, name)?;
    }
    Ok(())
}

async fn dry_run(output: Output, env: &Environment, prune: bool) -> Result<ExitCode> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for artifact in up::artifacts(env)? {
        if !artifact.dir(&env.dirs.cache).is_dir() {
            let size = report::text::bytes(artifact.bytes());
            lines.push((artifact.name.clone(), format!("would be fetched, {size}")));
        }
    }
    for engine in env
        .running()
        .filter_map(|it| components::of(it).engine(env))
    {
        if !engine.dir(&env.dirs.cache)?.is_dir() {
            lines.push((engine.name.clone(), "would be fetched".into()));
        }
    }
    for process in up::processes(env)? {
        let what = match daemon::find(&env.dirs, &process.component)? {
            Found::Running(record, _) if record.digest == process.digest() => {
                format!("runs as wanted, pid {}", record.pid)
            }
            Found::Running(record, _) => {
                let pid = record.pid;
                format!("would be restarted: pid {pid} has another configuration")
            }
            Found::Gone(_) => "would be started again".into(),
            Found::Never => "would be started".into(),
        };
        lines.push((process.component.clone(), what));
    }
    lines.push((
        "topics, tables, connectors".into(),
        "would be made where they are missing or differ".into(),
    ));
    if prune {
        let left = leftovers::find(env).await?.lines().into_iter();
        lines.extend(left.map(|it| (it, "would be removed".into())));
    }
    let map: IndexMap<_, _> = lines.iter().cloned().collect();
    let object = json!({ "dry_run": map, "left_out": env.left_out });
    stdout::answer(output, object, || {
        let lines = lines
            .iter()
            .map(|(name, what)| format!("{name:<28} {what}\n"));
        lines.collect()
    })
}

/// A port that the profile wants and another process has.
struct Taken {
    key: String,
    port: u16,
}

async fn taken_ports(dirs: &Dirs, loaded: &Loaded) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    for Wanted {
        component,
        key,
        port,
    } in wanted_ports(loaded)
    {
        let free = match daemon::find(dirs, &component)? {
            Found::Running(..) => true,
            Found::Never => ports::is_free(port),
            // A process that was killed a moment ago may hold its port a little longer.
            Found::Gone(_) => ports::becomes_free(port).await,
        };
        if !free {
            taken.push(Taken { key, port });
        }
    }
    Ok(taken)
}

/// The ports of what will run here.
fn wanted_ports(loaded: &Loaded) -> Vec<Wanted> {
    let profile = &loaded.profile;
    let ports = profile::all_ports(profile).into_iter();
    ports
        .filter(|port| runs(profile, &port.component))
        .collect()
}

/// Whether a component's program is there, where nothing else runs it.
fn runs(profile: &Profile, component: &str) -> bool {
    let program = profile
        .component(component)
        .and_then(|it| it.spec.program());
    program.is_none_or(|it| it.without.is_none() || which::which(it.name).is_ok())
}

fn ports_error(taken: &[Taken]) -> Error {
    let list = taken.iter().map(|Taken { key, port }| {
        let owner = ports::owner(*port);
        format!("port {port} ({key}) belongs to {owner}")
    });
    let list: Vec<String> = list.collect();
    Error::new(Code::PortTaken, list.join("; "))
        .hint("end that process, or run: cargo xtask up --ports auto")
}

/// Chooses a free port for each one that is taken, and remembers the choice.
fn choose_ports(dirs: &Dirs, loaded: &Loaded, taken: &[Taken]) -> Result<()> {
    let mut choices = context::chosen_ports(dirs)?;
    let mut given: Vec<u16> = profile::all_ports(&loaded.profile)
        .iter()
        .map(|own| own.port)
        .collect();
    for taken in taken {
        let chosen = ports::choose(taken.port, &given);
        given.push(chosen);
        let key = &taken.key;
        // A choice that is itself taken now is chosen again for the port first wanted.
        let wanted = choices
            .get(key)
            .filter(|choice| choice.chosen == taken.port)
            .map_or(taken.port, |choice| choice.wanted);
        choices.insert(key.clone(), Choice { wanted, chosen });
    }
    let text = format!("{:#}", json!(choices));
    write_atomic(&dirs.chosen_ports(), text.as_bytes(), 0o644)
}
