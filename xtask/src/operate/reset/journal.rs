//! What a reset has done so far, on disk before the next step begins: after a kill the same command
//! goes on. Every step can be done twice, so a step whose end was not written is simply done again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::diagnose::facts::ResetChoice as Choice;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::files::{read_if_there, write_atomic};
use crate::platform::host::dirs;

/// What is done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Offsets and positions are saved. Not done again: they are gone afterwards.
    Saved,
    /// Connect has forgotten the offsets.
    OffsetsDeleted,
    /// The slot is dropped.
    SlotDropped,
    /// The publication is dropped.
    PublicationDropped,
    /// The target's tables are empty.
    TargetTruncated,
    /// The connector was asked to run.
    Started,
    /// A canary has come through after the snapshot.
    Proven,
}

/// One reset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Journal {
    /// The connector.
    pub connector: String,
    /// What the user chose when it began.
    pub choice: Choice,
    /// When it was confirmed, in milliseconds since the epoch.
    pub begun: u64,
    /// Where offsets and positions are saved.
    pub backup: PathBuf,
    /// What is done.
    pub done: BTreeSet<Step>,
    /// Keys of the target that the source no longer had, by flow, written before they are marked.
    pub missing: BTreeMap<String, BTreeSet<String>>,
}

/// The journal's file.
pub fn path(env: &Environment, connector: &str) -> PathBuf {
    env.dirs.reset(connector)
}

impl Journal {
    /// The journal of an unfinished reset.
    ///
    /// # Errors
    /// The file cannot be read or is malformed.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(text) = read_if_there(path)? else {
            return Ok(None);
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let what = format!("{} is malformed: {error}", path.display());
            Error::new(Code::Io, what).hint("remove it to start the reset over")
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(parent) = path.parent() {
            dirs::make(parent, 0o755)?;
        }
        let text = serde_json::json!(self).to_string();
        write_atomic(path, text.as_bytes(), 0o644)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("journal/reset-c.json");
        assert_eq!(Journal::read(&path).expect("none"), None);
        let keys = BTreeSet::from(["7".to_owned()]);
        let journal = Journal {
            connector: "c".into(),
            choice: Choice {
                truncate_target: true,
                drop_publication: false,
            },
            begun: 5,
            backup: "b.json".into(),
            done: BTreeSet::from([Step::Saved, Step::SlotDropped]),
            missing: BTreeMap::from([("users".to_owned(), keys)]),
        };
        journal.write(&path).expect("written");
        assert_eq!(Journal::read(&path).expect("read"), Some(journal));
        std::fs::write(&path, "{").expect("written");
        assert_eq!(Journal::read(&path).expect_err("malformed").code, Code::Io);
    }
}
