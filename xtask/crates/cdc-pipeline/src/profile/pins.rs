//! Every pin of a profile with what is known about it. Pure.

use super::advisories::{Advisories, Known};
use super::combinations::{InUse, runs_with};
use super::parts::{DEBEZIUM, MAVEN_PLUGIN, Update, parts};
use super::{Loaded, Node, Value};
use crate::error::Location;

/// A pin.
#[derive(Clone, Debug)]
pub struct Pin<'a> {
    /// Its key below `versions`.
    pub key: String,
    /// The version that counts: a plugin without one of its own has Debezium's.
    pub version: String,
    /// Where that was written.
    pub origin: Location,
    /// Whether the profile has it anywhere.
    pub used: bool,
    /// What it runs with, as far as that is known.
    pub runs_with: Vec<String>,
    /// What is known of the version.
    pub known: Vec<Known<'a>>,
    /// What changes with it.
    pub update: Update,
}

/// The keys below `versions`, plugins by their dotted names.
pub fn keys(tree: &Node) -> Vec<String> {
    let versions = tree.get("versions");
    let leaves = versions.map(Node::leaves).unwrap_or_default();
    leaves.into_iter().map(|(key, _)| key).collect()
}

/// The profile's pins, in the order of `versions.yaml`.
pub fn pins<'a>(loaded: &Loaded, advisories: &'a Advisories) -> Vec<Pin<'a>> {
    let types = loaded.profile.types;
    let used = InUse::anywhere(&loaded.profile);
    let debezium = loaded.tree.at(["versions", DEBEZIUM.key]);
    let leaves = loaded.tree.get("versions").map(Node::leaves);
    let leaves = leaves.unwrap_or_default().into_iter();
    leaves
        .filter_map(|(key, node)| {
            let part = parts(types).find(|part| part.key == key)?;
            let node = match (&node.value, debezium) {
                (Value::Null, Some(debezium)) => debezium,
                _ => node,
            };
            let version = node.scalar_text();
            // What only brings others is used by every profile.
            let brings = [&DEBEZIUM, &MAVEN_PLUGIN].contains(&part);
            Some(Pin {
                used: brings || used.parts().any(|(it, _)| it == part),
                runs_with: runs_with(types, part, &version),
                known: advisories.of(&key, &version),
                update: part.update,
                origin: node.origin.clone(),
                key,
                version,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {

    use super::super::Selection;
    use super::super::parts::Part;
    use super::*;

    fn loaded(profile: &str, set: &[&str]) -> Loaded {
        let root = crate::repository();
        let selection = Selection {
            profile: profile.into(),
            set: set.iter().map(|it| (*it).to_owned()).collect(),
        };
        crate::components::load(root, &selection).expect("valid")
    }

    fn advisories(loaded: &Loaded) -> Advisories {
        let root = crate::repository();
        Advisories::read(root, &keys(&loaded.tree)).expect("valid")
    }

    #[test]
    fn every_pin_says_what_its_update_changes() {
        let loaded = loaded("clickhouse", &[]);
        let keys = keys(&loaded.tree);
        let pinned = || parts(loaded.profile.types).filter(|part| part.form.is_some());
        for key in &keys {
            assert!(pinned().any(|part| part.key == key), "{key}");
        }
        for Part { key, update, .. } in pinned() {
            assert!(keys.iter().any(|it| it == key), "{key} is pinned no more");
            assert!(
                !(update.host.is_empty() && update.clusters.is_empty()),
                "{key}"
            );
        }
    }

    #[test]
    fn a_plugin_has_its_own_version_or_debeziums() {
        let loaded = loaded("clickhouse", &["versions.plugins.mongodb=3.6.1.Final"]);
        let advisories = advisories(&loaded);
        let pins = pins(&loaded, &advisories);
        let pin = |key: &str| pins.iter().find(|pin| pin.key == key).expect(key);
        let (debezium, jdbc) = (pin("debezium"), pin("plugins.jdbc"));
        assert_eq!(debezium.version, jdbc.version);
        assert_eq!(debezium.origin, jdbc.origin);
        assert!(!jdbc.used);
        assert_eq!(pin("plugins.mongodb").version, "3.6.1.Final");
        assert!(pin("plugins.postgres").used);
        assert!(!pin("cloudnative_pg").used);
    }
}
