//! What a profile leaves out of those that it extends: a connector, flow or component that is `~`.

use std::collections::BTreeSet;

use super::{Node, Value};
use crate::error::{Code, Error, Location, Result};

/// The maps whose entries can be left out.
const SECTIONS: [&str; 3] = ["components", "connectors", "flows"];

/// Who names an entry of a section: the section of those, and their key.
const REFERENCES: [(&str, &str, &str); 4] = [
    ("components", "connectors", "source"),
    ("components", "connectors", "sink"),
    ("connectors", "flows", "connector"),
    ("connectors", "flows", "to"),
];

/// What was left out, and where that is written.
#[derive(Default)]
pub(super) struct Removed(Vec<(&'static str, String, Location)>);

/// The names of each section, before a layer is laid on.
pub(super) fn names(tree: &Node) -> BTreeSet<(&'static str, String)> {
    let of = |section| {
        let names = entries(tree, section).map(|(name, _)| name.clone());
        names.map(move |name| (section, name))
    };
    SECTIONS.into_iter().flat_map(of).collect()
}

fn entries<'a>(tree: &'a Node, section: &str) -> impl Iterator<Item = (&'a String, &'a Node)> {
    let map = match tree.get(section).map(|node| &node.value) {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    };
    map.into_iter().flatten()
}

impl Removed {
    /// Takes the entries out that a layer made `~`; `before` is what was there.
    ///
    /// # Errors
    /// One was not there.
    pub(super) fn take(
        &mut self,
        tree: &mut Node,
        before: &BTreeSet<(&'static str, String)>,
    ) -> Result<()> {
        for section in SECTIONS {
            let gone: Vec<(String, Location)> = entries(tree, section)
                .filter(|(_, node)| node.value == Value::Null)
                .map(|(name, node)| (name.clone(), node.origin.clone()))
                .collect();
            for (name, at) in gone {
                let is_inherited = before.contains(&(section, name.clone()));
                if !is_inherited && section == "components" {
                    // Whoever reads components says what one without settings is.
                    continue;
                }
                if !is_inherited {
                    let what = format!("`{section}.{name}`: there is none to leave out");
                    let of_section = before.iter().filter(|(of, _)| *of == section);
                    let known: Vec<&str> = of_section.map(|(_, name)| name.as_str()).collect();
                    let otherwise = format!("inherited are: {}", known.join(", "));
                    let error = Error::new(Code::ProfileInvalid, what).at(at);
                    return Err(error.meant(&name, known.iter().copied(), otherwise));
                }
                if let Value::Map(map) = &mut tree.value
                    && let Some(Value::Map(map)) = map.get_mut(section).map(|it| &mut it.value)
                {
                    map.shift_remove(&name);
                }
                self.0.push((section, name, at));
            }
        }
        Ok(())
    }

    /// Refuses what still names an entry that was left out.
    ///
    /// # Errors
    /// Something does.
    pub(super) fn check(&self, tree: &Node) -> Result<()> {
        for (section, name, at) in &self.0 {
            if tree.at([*section, name.as_str()]).is_some() {
                // Another layer made it anew.
                continue;
            }
            for (_, of, key) in REFERENCES.iter().filter(|(to, ..)| to == section) {
                let mut named = entries(tree, of);
                let named = named.find(|(_, it)| {
                    it.get(key)
                        .is_some_and(|value| value.scalar_text() == *name)
                });
                if let Some((user, _)) = named {
                    let what = format!(
                        "`{section}.{name}` is left out here, and is the `{key}` of `{of}.{user}`"
                    );
                    let hint = format!(
                        "leave that out, too (`{of}: {{{user}: ~}}`), or give it another `{key}`"
                    );
                    return Err(Error::new(Code::ProfileInvalid, what)
                        .at(at.clone())
                        .hint(hint));
                }
            }
        }
        Ok(())
    }
}
