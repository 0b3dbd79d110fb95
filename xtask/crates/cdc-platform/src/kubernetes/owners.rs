//! Objects that are another environment's: operators' resource definitions and cluster roles have
//! one name in the whole cluster, and two environments must not take them from one another at each
//! run.
//!
//! So a cluster holds one environment's operators. A second environment is refused before anything
//! changes: if two shared them, neither could remove them.

use std::collections::BTreeMap;

use super::ObjectRef;
use super::live::Situation;
use crate::error::{Code, Error, Result};

/// How many objects an error names.
const NAMED: usize = 10;

impl Situation {
    /// Checks that nothing of the set is another environment's.
    ///
    /// # Errors
    /// Something is; with the other environment's name.
    pub fn check_owners(&self) -> Result<()> {
        of_others(self).map_or(Ok(()), Err)
    }
}

/// The error that names what is another environment's, and whose.
fn of_others(situation: &Situation) -> Option<Error> {
    let mut others: BTreeMap<&str, Vec<&ObjectRef>> = BTreeMap::new();
    for desired in &situation.desired {
        let object = &desired.object;
        let Some(live) = situation.live.get(object) else {
            continue;
        };
        let other = live
            .environment()
            .filter(|other| *other != situation.environment);
        if let Some(other) = other
            && live.labelled()
            && !object.is_namespace()
        {
            others.entry(other).or_default().push(object);
        }
    }
    let others = others.into_iter();
    Error::together(others.map(|(other, objects)| taken(other, &objects)))
}

fn taken(other: &str, objects: &[&ObjectRef]) -> Error {
    let hint = format!(
        "use another cluster, or other namespaces if all of it is namespaced; or remove \
         `{other}` first, with its own profile"
    );
    let error = match objects {
        [one] => Error::new(
            Code::Drift,
            format!("{one} belongs to the environment `{other}`"),
        ),
        several => {
            let more = several.len().saturating_sub(NAMED);
            let names = several.iter().take(NAMED).map(ToString::to_string);
            Error::new(
                Code::Drift,
                format!(
                    "{} objects belong to the environment `{other}`",
                    several.len()
                ),
            )
            .details(names.chain((more > 0).then(|| format!("and {more} more"))))
        }
    };
    error.hint(hint)
}
