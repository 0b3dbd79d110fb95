//! Rows of the target that the source no longer has.
//!
//! A snapshot tells what is there, never what is gone: a row deleted while nobody captured stays at
//! the target for ever. It is found by asking the source for every key that the target shows.
//!
//! A page of keys is read at the target first and looked up at the source then. So a key that the
//! source lacks was deleted, never just not inserted yet. It is marked with the smallest position
//! after the change that was read: whatever the source says about it later is newer, and wins. Where
//! that has arrived meanwhile, nothing is marked.

use serde_json::Value;

use crate::components::source::Key;
use crate::components::target;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Progress;
use crate::profile::schema::{Flow, Keep};
use crate::up::canary;

/// Keys of one question.
const PAGE: usize = 2_000;

/// Goes through all keys that the target shows for a flow, hands on those that the source lacks, and
/// then marks them as deleted, page by page. Says how many keys were looked up.
///
/// # Errors
/// An end refuses, or `found` does.
pub async fn mark(
    env: &Environment,
    name: &str,
    flow: &Flow,
    progress: &Progress,
    mut found: impl FnMut(&[Key]) -> Result<()>,
) -> Result<usize> {
    let target = target(env, flow)?.table(env, name, flow);
    let source = canary::read_by(env, name, flow)?.table(env, flow).await?;
    let (mut after, mut seen): (Option<Key>, usize) = (None, 0);
    loop {
        let page = target.keys(after.as_ref(), PAGE).await?;
        let keys: Vec<Key> = page.iter().map(|live| live.key.clone()).collect();
        let absent = source.absent(&keys).await?;
        if !absent.is_empty() {
            found(&absent)?;
            let gone = page.iter().filter(|live| absent.contains(&live.key));
            target.mark_deleted(&gone.collect::<Vec<_>>()).await?;
        }
        seen += page.len();
        progress.observe(format!("{name}: {seen} keys looked up"));
        if page.len() < PAGE {
            return Ok(seen);
        }
        after = page.into_iter().next_back().map(|live| live.key);
    }
}

/// Whether the target keeps one row for each key, so that a snapshot replaces instead of adding.
pub fn replaces(flow: &Flow) -> bool {
    flow.keep == Keep::Latest
}

/// A key for people.
pub fn shown(key: &Key) -> String {
    match key.as_slice() {
        [one] => one.clone(),
        many => Value::from(many.to_vec()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_several_columns_is_a_list() {
        let key = ["7", "2026-01-01 00:00:00.000"].map(str::to_owned).to_vec();
        assert_eq!(shown(&key), "[\"7\",\"2026-01-01 00:00:00.000\"]");
        assert_eq!(shown(&vec!["7".to_owned()]), "7");
    }
}
