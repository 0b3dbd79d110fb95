//! `up`: bring the pipeline up, or prove that it is.

use std::process::ExitCode;
use std::sync::Arc;

use super::context;
use crate::cli::{Global, Ports, Up};
use crate::components;
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::files::write_atomic;
use crate::plan;
use crate::platform::host::daemon::{self, Found};
use crate::platform::host::{Dirs, lock, ports};
use crate::profile::{self, Loaded};

pub(super) async fn run(global: &Global, args: &Up) -> Result<ExitCode> {
    let selection = context::selection(global);
    let mut loaded = context::load(&selection)?;
    context::require_host(&loaded)?;
    let dirs = Dirs::of(&loaded.name)?;
    dirs.create()?;
    let _lock = lock::take(&dirs.lock(), "cargo xtask up")?;
    let taken = taken_ports(&dirs, &loaded)?;
    if !taken.is_empty() {
        match args.ports {
            Ports::Profile => return Err(ports_error(&taken)),
            Ports::Auto => {
                choose_ports(&dirs, &loaded, &taken)?;
                loaded = context::load(&selection)?;
            }
        }
    }
    let env = Arc::new(Environment::new(&context::root(), loaded, Secrets::Create)?);
    let plan = components::host_plan(&env)?;
    context::remember(&env.dirs, &selection)?;
    let (graph, actions) = plan
        .build()
        .map_err(|error| Error::new(Code::Plan, error.to_string()))?;
    let report = plan::run(graph, actions, |graph, event| eprintln!("{} {event:?}", graph.nodes().len())).await;
    eprintln!("{:?} {:?}", report.wall, report.critical_time());
    for error in report.errors {
        eprintln!("{error}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A port that the profile wants and another process has.
struct Taken {
    component: &'static str,
    key: &'static str,
    port: u16,
}

fn taken_ports(dirs: &Dirs, loaded: &Loaded) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    for (component, key, port) in profile::all_ports(&loaded.profile) {
        let ours = matches!(daemon::find(dirs, component)?, Found::Running(..));
        if !ours && !ports::is_free(port) {
            taken.push(Taken { component, key, port });
        }
    }
    Ok(taken)
}

fn ports_error(taken: &[Taken]) -> Error {
    let list: Vec<String> = taken
        .iter()
        .map(|taken| {
            format!(
                "port {} ({}.{}) belongs to {}",
                taken.port,
                taken.component,
                taken.key,
                ports::owner(taken.port)
            )
        })
        .collect();
    Error::new(Code::PortTaken, list.join("; "))
        .hint("end that process, or run: cargo xtask up --ports auto")
}

fn choose_ports(dirs: &Dirs, loaded: &Loaded, taken: &[Taken]) -> Result<()> {
    let all = profile::all_ports(&loaded.profile);
    // Ports that stay as they are must not be chosen for another component.
    let wanted: Vec<u16> = all.iter().map(|(_, _, port)| *port).collect();
    let is_taken = |component: &str, key: &str| {
        taken
            .iter()
            .any(|taken| taken.component == component && taken.key == key)
    };
    let keep: Vec<u16> = all
        .iter()
        .filter(|(component, key, _)| !is_taken(component, key))
        .map(|(_, _, port)| *port)
        .collect();
    let mut text = String::from("# Chosen by `cargo xtask up --ports auto`; kept until `down`.\n");
    let mut layer: std::collections::BTreeMap<&str, Vec<(&str, u16)>> = Default::default();
    let mut given = keep;
    for ((component, key, _), port) in all.iter().zip(wanted) {
        let chosen = if is_taken(component, key) {
            let chosen = ports::choose(port, &given);
            given.push(chosen);
            chosen
        } else {
            port
        };
        layer.entry(component).or_default().push((key, chosen));
    }
    for (component, keys) in layer {
        text.push_str(&format!("{component}:\n"));
        for (key, port) in keys {
            text.push_str(&format!("  {key}: {port}\n"));
        }
    }
    let path = dirs.chosen_ports();
    write_atomic(&path, text.as_bytes(), 0o644).map_err(|source| Error::io("write", path, &source))
}
