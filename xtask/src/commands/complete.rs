//! What a shell may complete: names as they are in this repository right now.
//!
//! What is completed here reads profiles and the kubeconfig, and nothing else; [`super::complete_live`] asks what runs.
//! What cannot be read has no candidates: an error in the middle of a command line helps nobody.

use std::ffi::OsStr;

use clap::CommandFactory;
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter,
};

use super::{complete_live as live, context};
use crate::cli::{Cli, DEFAULT_PROFILE, Names};
use crate::components::console::Console;
use crate::components::{self, Component};
use crate::diagnose::rules;
use crate::error::Code;
use crate::platform::kubernetes::Cluster;
use crate::profile::{self, Profile, Selection, Value};

/// The variable by which the completion scripts ask; its value is the shell.
const ASKED: &str = "CDC_XTASK_COMPLETE";

/// Answers a completion script and ends, if one asks.
pub(super) fn answer() {
    clap_complete::CompleteEnv::with_factory(|| completed(Cli::command()))
        .var(ASKED)
        .complete();
}

/// The command with what completes its names, and those of its subcommands.
fn completed(command: clap::Command) -> clap::Command {
    let completed_arg = |arg: clap::Arg| match arg.get::<Names>() {
        Some(names) => {
            let completer = completer(*names);
            arg.add(ArgValueCompleter::new(completer))
        }
        None => arg,
    };
    command.mut_args(completed_arg).mut_subcommands(completed)
}

fn completer(names: Names) -> fn(&OsStr) -> Vec<CompletionCandidate> {
    match names {
        Names::Codes => codes,
        Names::Components => components,
        Names::Connectors => live::connectors,
        Names::Contexts => contexts,
        Names::Flows => flows,
        Names::Groups => live::groups,
        Names::Keys => keys,
        Names::ProfileConnectors => connectors,
        Names::Profiles => profiles,
        Names::Projections => projections,
        Names::Queried => queried,
        Names::Queues => live::dlqs,
        Names::Restartable => restartable,
        Names::SlotKeepers => slot_keepers,
        Names::Slots => live::slots,
        Names::Subjects => subjects,
        Names::Topics => live::topics,
        Names::Typed => typed,
    }
}

pub(super) fn beginning(
    current: &OsStr,
    names: impl IntoIterator<Item = String>,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    names
        .into_iter()
        .filter(|name| name.starts_with(&*current))
        .map(CompletionCandidate::new)
        .collect()
}

/// Profiles by name, or by path where the user began to write one.
fn profiles(current: &OsStr) -> Vec<CompletionCandidate> {
    if current.to_string_lossy().contains(['/', '.']) {
        let is_profile = |path: &std::path::Path| {
            path.is_dir()
                || path
                    .extension()
                    .is_some_and(|extension| extension == "yaml")
        };
        return PathCompleter::any().filter(is_profile).complete(current);
    }
    beginning(current, profile::names(&context::root()))
}

/// The contexts of the user's kubeconfig.
fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning(current, Cluster::contexts().unwrap_or_default())
}

/// The names of the chosen profile's components; of all types where it cannot be read.
fn names() -> Vec<String> {
    match profile_of_line() {
        Some(loaded) => loaded.profile.components.into_keys().collect(),
        None => components::types().map(str::to_owned).collect(),
    }
}

/// Flows of the chosen profile.
fn flows(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = profile_of_line().map(|loaded| loaded.profile.flows.into_keys());
    beginning(current, names.into_iter().flatten())
}

fn projections(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = profile_of_line().map(|loaded| loaded.profile.projections.into_keys());
    beginning(current, names.into_iter().flatten())
}

/// Components.
fn components(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning(current, names())
}

/// The chosen profile's components that are capable of something.
fn capable(current: &OsStr, can: fn(&dyn Component) -> bool) -> Vec<CompletionCandidate> {
    let names = of_profile(|profile| {
        let components = profile.components.values();
        let capable = components.filter(|it| can(components::of(it)));
        capable.map(|it| it.name.clone()).collect()
    });
    beginning(current, names)
}

/// Components that take SQL.
fn queried(current: &OsStr) -> Vec<CompletionCandidate> {
    capable(current, |it| Console::sql(it).is_ok())
}

/// Components to which statements are typed.
fn typed(current: &OsStr) -> Vec<CompletionCandidate> {
    capable(current, |it| it.console().is_ok())
}

/// Components that keep replication slots.
fn slot_keepers(current: &OsStr) -> Vec<CompletionCandidate> {
    capable(current, |it| it.slots().is_some())
}

/// What a diagnosis can be about.
fn subjects(current: &OsStr) -> Vec<CompletionCandidate> {
    let loaded = profile_of_line();
    let of_profile = loaded.into_iter().flat_map(|loaded| {
        let profile = loaded.profile;
        profile
            .connectors
            .into_keys()
            .chain(profile.flows.into_keys())
    });
    let components = names();
    beginning(current, components.into_iter().chain(of_profile))
}

/// Codes of findings and errors.
fn codes(current: &OsStr) -> Vec<CompletionCandidate> {
    let rules = rules::all().map(|rule| rule.code.to_owned());
    let errors = Code::ALL.iter().map(|code| code.as_str().to_owned());
    beginning(current, rules.chain(errors))
}

/// What can be restarted.
fn restartable(current: &OsStr) -> Vec<CompletionCandidate> {
    let operator = components::OPERATOR.to_owned();
    beginning(current, names().into_iter().chain([operator]))
}

/// The connectors of the chosen profile, and the sources that stand for them.
fn connectors(current: &OsStr) -> Vec<CompletionCandidate> {
    beginning(current, of_profile(connector_names))
}

/// How a profile's connectors may be called: by name, and by source.
pub(super) fn connector_names(profile: &Profile) -> Vec<String> {
    let sources = profile.components.values();
    let sources = sources.filter(|it| it.kind.source.is_some());
    let sources = sources.map(|it| match it.name == it.kind.name {
        true => it.kind.short.to_owned(),
        false => it.name.clone(),
    });
    let names = profile.connectors.keys().cloned();
    names.chain(sources).collect()
}

/// What the chosen profile says; nothing if it cannot be read.
pub(super) fn of_profile(what: impl FnOnce(&Profile) -> Vec<String>) -> Vec<String> {
    profile_of_line().map_or_else(Vec::new, |loaded| what(&loaded.profile))
}

/// The name of the profile that this command line chooses.
pub(super) fn profile_name() -> String {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    chosen(&words).unwrap_or_else(|| DEFAULT_PROFILE.into())
}

fn profile_of_line() -> Option<profile::Loaded> {
    let selection = Selection {
        profile: profile_name(),
        set: Vec::new(),
    };
    components::load(&context::root(), &selection).ok()
}

/// The keys of the chosen profile, and after `=` the value that the key has.
fn keys(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(loaded) = profile_of_line() else {
        return Vec::new();
    };
    let valued = current.to_string_lossy().contains('=');
    let leaves = loaded.tree.leaves().into_iter();
    let names = leaves.map(|(path, node)| match &node.value {
        Value::Map(_) => format!("{path}."),
        Value::String(text) if valued && !path.ends_with(".password") => format!("{path}={text}"),
        Value::Int(number) if valued => format!("{path}={number}"),
        Value::Bool(choice) if valued => format!("{path}={choice}"),
        _ => format!("{path}="),
    });
    beginning(current, names)
}

/// The profile that a command line chooses.
fn chosen(words: &[String]) -> Option<String> {
    let given =
        words
            .iter()
            .enumerate()
            .find_map(|(at, word)| match word.strip_prefix("--profile")? {
                "" => words.get(at + 1).cloned(),
                rest => rest.strip_prefix('=').map(str::to_owned),
            });
    given
        .or_else(|| std::env::var("CDC_PROFILE").ok())
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(candidates: &[CompletionCandidate]) -> Vec<String> {
        candidates
            .iter()
            .map(|candidate| candidate.get_value().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn keys_of_the_profile_and_their_values() {
        assert_eq!(
            texts(&keys(OsStr::new("kafka."))),
            [
                "kafka.external=",
                "kafka.sslmode=",
                "kafka.sslrootcert=",
                "kafka.sasl=",
                "kafka.user=",
                "kafka.password=",
                "kafka.port=",
                "kafka.controller_port=",
                "kafka.heap=",
                "kafka.config.",
                "kafka.replicas=",
                "kafka.security=",
                "kafka.resources.cpu=",
                "kafka.resources.memory=",
                "kafka.storage=",
            ]
        );
        assert_eq!(texts(&keys(OsStr::new("kafka.port="))), ["kafka.port=9092"]);
        assert!(texts(&keys(OsStr::new("postgres.password="))) == ["postgres.password="]);
        assert!(keys(OsStr::new("nothing")).is_empty());
    }

    #[test]
    fn profiles_and_components() {
        assert!(texts(&profiles(OsStr::new("cl"))).contains(&"clickhouse".to_owned()));
        assert!(!texts(&profiles(OsStr::new(""))).contains(&"versions".to_owned()));
        assert_eq!(texts(&components(OsStr::new("k"))), ["kafka"]);
    }

    #[test]
    fn the_profile_is_found_on_the_command_line() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(
            chosen(&words("x up --profile a --set b")).as_deref(),
            Some("a")
        );
        assert_eq!(
            chosen(&words("x --profile=a.yaml up")).as_deref(),
            Some("a.yaml")
        );
    }
}
