//! Versions that do not work together, refused before anything starts.
//!
//! One row for each combination that is known to be bad. A row that names a part which the profile
//! does not run says nothing; neither does a version that no row knows. What a version runs with is
//! the same table, read the other way round.

#[cfg(test)]
mod tests;

use indexmap::IndexMap;

use super::component::Types;
use super::parts::{Bad, CGROUP, DEBEZIUM, JDBC, KIND, KIND_NODE, Part, Versions, parts};
use super::rules::invalid;
use super::schema::{ExtraPlugin, PlatformChoice, Profile};
use super::version::{bare, numbers};
use super::{Node, Value};
use crate::error::{Error, Result};

/// Everything with a version that a run uses.
#[derive(Clone, Debug, Default)]
pub struct InUse(Vec<(&'static Part, String)>);

impl InUse {
    /// What a profile uses on a platform. `cgroup` is the version of this machine's control groups,
    /// if somebody looked. On `auto`, which may turn out to be no cluster, only what every platform
    /// uses is taken.
    pub fn of(profile: &Profile, platform: PlatformChoice, cgroup: Option<u8>) -> Self {
        let versions = &profile.versions;
        let mut used = InUse::default();
        for plugin in profile.plugins() {
            used = used.with(plugin, versions.of(plugin));
        }
        if profile.connect.plugins.contains(&ExtraPlugin::Jdbc) {
            used = used.with(&JDBC, versions.of(&JDBC));
        }
        for instance in profile.components.values().filter(|it| !it.is_external()) {
            for part in instance.spec.versions(platform) {
                if used.version(part).is_none() {
                    used = used.with(part, versions.of(part));
                }
            }
        }
        if platform == PlatformChoice::Kind {
            used = used
                .with(&KIND, versions.of(&KIND))
                .with(&KIND_NODE, versions.of(&KIND_NODE));
            if let Some(cgroup) = cgroup {
                used = used.with(&CGROUP, &cgroup.to_string());
            }
        }
        used
    }

    /// What a profile uses on any platform.
    pub fn anywhere(profile: &Profile) -> Self {
        let mut all = InUse::default();
        for platform in [
            PlatformChoice::Host,
            PlatformChoice::Kind,
            PlatformChoice::Kubernetes,
        ] {
            for part in InUse::of(profile, platform, None).0 {
                if !all.0.contains(&part) {
                    all.0.push(part);
                }
            }
        }
        all
    }

    /// The same with one more part.
    #[must_use]
    pub fn with(mut self, part: &'static Part, version: &str) -> Self {
        self.0.push((part, version.to_owned()));
        self
    }

    /// The parts with their versions.
    pub fn parts(&self) -> impl Iterator<Item = (&'static Part, &str)> {
        let parts = self.0.iter();
        parts.map(|(part, version)| (*part, version.as_str()))
    }

    fn version(&self, part: &Part) -> Option<&str> {
        self.parts()
            .find(|(used, _)| *used == part)
            .map(|(_, version)| version)
    }
}

/// Refuses what is known not to work together, at the place of a value that makes it so.
///
/// # Errors
/// The first combination that is bad, with the reason and what to use instead.
pub fn refuse(tree: &Node, used: &InUse) -> Result<()> {
    for (part, version) in used.parts() {
        for bad in part.bad {
            let Some(other) = used.version(bad.with.0) else {
                continue;
            };
            if bad.versions.has(version) && bad.with.1.has(other) {
                return Err(refusal(tree, (part, version), bad, other));
            }
        }
    }
    Ok(())
}

fn refusal(tree: &Node, first: (&Part, &str), bad: &Bad, other: &str) -> Error {
    let (instead, value) = bad.instead;
    let message = format!(
        "{} and {} do not work together: {}",
        named(first.0, first.1),
        named(bad.with.0, other),
        bad.why
    );
    // The place to correct is the one that the user wrote; between two of them, the one to be changed.
    let own = path(instead, tree);
    let paths = [own.clone(), path(first.0, tree), path(bad.with.0, tree)];
    let written = |path: &&Vec<&'static str>| {
        tree.at(path.iter().copied())
            .is_some_and(|node| node.origin.file != "profiles/versions.yaml")
    };
    let at = paths.iter().flatten().find(written).or(own.as_ref());
    let at = at.cloned().unwrap_or_default();
    let key = own.unwrap_or_default().join(".");
    invalid(tree, &at, message).hint(format!("set `{key}: {value}`"))
}

/// What a version of a part runs with, as far as is known: of each other part, which versions.
pub fn runs_with(types: Types, part: &Part, version: &str) -> Vec<String> {
    let mut known: IndexMap<&Part, Vec<String>> = IndexMap::new();
    for owner in parts(types) {
        for bad in owner.bad {
            let (first, second) = ((owner, bad.versions), bad.with);
            for (one, other) in [(first, second), (second, first)] {
                if one.0 != part {
                    continue;
                }
                let text = match one.1 {
                    // Every version of it is meant: that says something of the other part alone.
                    Versions::Span(None, None) => continue,
                    // A whole list of what goes: the part that has it goes with what is on it.
                    Versions::Not(list)
                        if list.iter().any(|it| numbers(it) == numbers(version)) =>
                    {
                        other.1.is()
                    }
                    Versions::Not(_) => continue,
                    Versions::Span(..) if one.1.has(version) => other.1.is_not(),
                    Versions::Span(..) => continue,
                };
                let texts = known.entry(other.0).or_default();
                if !texts.contains(&text) {
                    texts.push(text);
                }
            }
        }
    }
    let known = known.into_iter();
    known
        .map(|(other, texts)| format!("{} {}", other.title, texts.join(", ")))
        .collect()
}

/// Where a part's version stands: of a plugin without one of its own, at Debezium's.
fn path(part: &Part, tree: &Node) -> Option<Vec<&'static str>> {
    if let Some(name) = part.plugin_name() {
        let own = vec!["versions", "plugins", name];
        let node = tree.at(own.iter().copied());
        return match node.is_some_and(|node| node.value != Value::Null) {
            true => Some(own),
            false => Some(vec!["versions", DEBEZIUM.key]),
        };
    }
    part.form.is_some().then(|| vec!["versions", part.key])
}

fn named(part: &Part, version: &str) -> String {
    let version = bare(version);
    match part == &CGROUP {
        true => format!("cgroup v{version}"),
        false => format!("{} {version}", part.title),
    }
}
