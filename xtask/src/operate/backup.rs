//! Positions in a file: the offsets of source connectors and of the target's consumer groups.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clients::connect::{Offsets, PartitionOffset, TargetState};
use crate::clients::kafka::OffsetAt;
use crate::clock;
use crate::components::connect::settled;
use crate::components::{kafka, service, source};
use crate::environment::Environment;
use crate::error::{Code, Error, Result, unknown};
use crate::files::write_atomic;
use crate::observe::connectors::view;
use crate::plan::Progress;
use crate::platform::host::dirs;
use crate::readiness::Status;
use crate::up::control;
use crate::wait::{self, Patience};

/// The file's layout. A number that is not known is refused.
const FORMAT: u32 = 1;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Layout.
    pub format: u32,
    /// Environment that it is of.
    pub environment: String,
    /// When it was made, in milliseconds since the epoch.
    pub at: u64,
    /// Source connectors.
    pub connectors: BTreeMap<String, ConnectorBackup>,
    /// Consumer groups, with topic and partition as `topic/partition`.
    pub groups: BTreeMap<String, BTreeMap<String, i64>>,
}

/// One connector's part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorBackup {
    /// What Connect has committed for it.
    pub offsets: Vec<PartitionOffset>,
    /// What its source keeps for it: the oldest place, and up to where it has confirmed.
    pub slot: Option<(Option<String>, Option<String>)>,
}

/// Reads the positions of these connectors and groups.
///
/// # Errors
/// Something does not answer.
pub async fn gather(env: &Environment, connectors: &[String], groups: &[String]) -> Result<Backup> {
    let mut backup = Backup {
        format: FORMAT,
        environment: env.name.clone(),
        at: clock::now_ms(),
        connectors: BTreeMap::new(),
        groups: BTreeMap::new(),
    };
    for detail in view::details(env, connectors).await? {
        let mark = match env.profile.connectors.get(&detail.row.name) {
            Some(connector) => source(env, connector).mark(env, connector).await?,
            None => None,
        };
        let saved = ConnectorBackup {
            offsets: detail.offsets.offsets,
            slot: mark.map(|mark| (mark.kept_from, mark.confirmed)),
        };
        backup.connectors.insert(detail.row.name, saved);
    }
    if !groups.is_empty() {
        let client = kafka::client(env).await?;
        for group in groups {
            let offsets = client.group_offsets(group).await.map_err(service)?;
            let named = offsets
                .into_iter()
                .map(|((topic, partition), offset)| (format!("{topic}/{partition}"), offset));
            backup.groups.insert(group.clone(), named.collect());
        }
    }
    Ok(backup)
}

/// Where backups go unless the user says so.
pub fn directory(env: &Environment) -> PathBuf {
    env.dirs.state.join("backups")
}

/// Writes a backup, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, backup: &Backup) -> Result<()> {
    if let Some(parent) = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
    {
        dirs::make(parent, 0o755)?;
    }
    let text = format!("{:#}\n", serde_json::json!(backup));
    write_atomic(path, text.as_bytes(), 0o644)
}

/// Reads a backup.
///
/// # Errors
/// The file is missing or none of ours; with its place.
pub fn read(path: &Path) -> Result<Backup> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        let mut error = Error::io("read", path, &source);
        error.code = Code::Usage;
        error
    })?;
    let backup: Backup = serde_json::from_str(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = format!(
            "{}:{line}:{column}: not a backup of offsets: {error}",
            path.display()
        );
        Error::new(Code::Usage, what).hint("cargo xtask offsets backup writes one")
    })?;
    if backup.format != FORMAT {
        let (file, layout) = (path.display(), backup.format);
        let what = format!("{file}: layout {layout} is not known here, only {FORMAT}");
        return Err(Error::new(Code::Usage, what));
    }
    Ok(backup)
}

/// One thing that a restore changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Connector or group.
    pub name: String,
    /// Partition.
    pub partition: String,
    /// As it is.
    pub from: String,
    /// As it will be.
    pub to: String,
}

/// What a restore would change, after everything was held against what the sources still have.
///
/// # Errors
/// A connector is unknown, or a source no longer has a place; all of them in one error.
pub async fn compare(env: &Environment, backup: &Backup) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let mut errors = Vec::new();
    let rows = view::list(env).await?;
    for (name, saved) in &backup.connectors {
        if !rows.iter().any(|row| row.name == *name) {
            let known: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
            errors.push(unknown("connector", name, &known));
            continue;
        }
        if let Err(error) = still_there(env, name, saved).await {
            errors.push(error);
        }
        let client = env.connect_client();
        let now = settled(&Progress::silent(), || client.offsets(name)).await?;
        let now = now.unwrap_or_default().offsets;
        for wanted in &saved.offsets {
            let is = now.iter().find(|is| is.partition == wanted.partition);
            if is.is_none_or(|is| is.offset != wanted.offset) {
                changes.push(Change {
                    name: name.clone(),
                    partition: wanted.partition.to_string(),
                    from: is.map_or("none".into(), |is| is.offset.to_string()),
                    to: wanted.offset.to_string(),
                });
            }
        }
    }
    let client = kafka::client(env).await?;
    for (group, offsets) in &backup.groups {
        let now = client.group_offsets(group).await.map_err(service)?;
        for (place, wanted) in offsets {
            let Some((topic, partition)) = split(place) else {
                let what = format!("`{place}` of group {group} is no topic and partition");
                errors.push(Error::new(Code::Usage, what));
                continue;
            };
            let first = client.offsets(topic, OffsetAt::Earliest).await;
            let last = client.offsets(topic, OffsetAt::Latest).await;
            let (Ok(first), Ok(last)) = (first, last) else {
                errors.push(gone(group, place, *wanted, "there is no such topic"));
                continue;
            };
            let why = match (first.get(&partition), last.get(&partition)) {
                (Some(first), _) if wanted < first => Some(format!("the topic starts at {first}")),
                (_, Some(last)) if wanted > last => Some(format!("the topic ends at {last}")),
                (Some(_), Some(_)) => None,
                _ => Some("there is no such partition".into()),
            };
            errors.extend(why.map(|why| gone(group, place, *wanted, &why)));
            let is = now.get(&(topic.to_owned(), partition));
            if is != Some(wanted) {
                changes.push(Change {
                    name: group.clone(),
                    partition: place.clone(),
                    from: is.map_or("none".into(), i64::to_string),
                    to: wanted.to_string(),
                });
            }
        }
    }
    Error::together(errors).map_or(Ok(changes), Err)
}

fn gone(name: &str, place: &str, wanted: i64, why: &str) -> Error {
    Error::new(
        Code::Service,
        format!("{name}: {place} cannot go to {wanted}: {why}"),
    )
    .hint("nothing was changed; what is gone cannot be read again, a new snapshot can: cargo xtask connector list, then: cargo xtask reset-connector NAME")
}

fn split(place: &str) -> Option<(&str, i32)> {
    let (topic, partition) = place.rsplit_once('/')?;
    Some((topic, partition.parse().ok()?))
}

/// Whether the source still has what follows a saved position.
async fn still_there(env: &Environment, name: &str, saved: &ConnectorBackup) -> Result<()> {
    let Some(connector) = env.profile.connectors.get(name) else {
        return Ok(());
    };
    let lost = source(env, connector).lost(env, connector, &saved.offsets);
    match lost.await? {
        None => Ok(()),
        Some(why) => Err(Error::new(
            Code::Service,
            format!("{name}: the source no longer has its saved position: {why}"),
        )
        .hint(format!(
            "nothing was changed; a new snapshot reads what is there now: cargo xtask reset-connector {name}"
        ))),
    }
}

/// Sets a connector's offsets to the saved ones. It is stopped for it, and afterwards in the state
/// that it had.
///
/// # Errors
/// Connect refuses.
pub async fn restore_connector(
    env: &Environment,
    name: &str,
    saved: &ConnectorBackup,
    progress: &Progress,
) -> Result<()> {
    let client = env.connect_client();
    let before = control::status(env, name, progress).await?;
    control::set_state(env, name, TargetState::Stopped, progress).await?;
    let offsets = Offsets {
        offsets: saved.offsets.clone(),
    };
    let altered = settled(progress, || client.alter_offsets(name, &offsets)).await;
    let back = match before.connector.state.as_str() {
        "STOPPED" => None,
        "PAUSED" => Some(TargetState::Paused),
        _ => Some(TargetState::Running),
    };
    if let Some(state) = back {
        control::set_state(env, name, state, progress).await?;
    }
    altered
}

/// Sets a group's offsets to the saved ones, as soon as nobody reads with it any more.
///
/// # Errors
/// The broker refuses, or a reader stays.
pub async fn restore_group(
    env: &Environment,
    group: &str,
    offsets: &BTreeMap<String, i64>,
    progress: &Progress,
) -> Result<()> {
    let client = kafka::client(env).await?;
    let wanted: BTreeMap<_, _> = offsets
        .iter()
        .filter_map(|(place, offset)| {
            let (topic, partition) = split(place)?;
            Some(((topic.to_owned(), partition), *offset))
        })
        .collect();
    let what = format!("group {group} has its offsets");
    let patience = Patience::local(Duration::from_secs(60));
    wait::until(&what, patience, progress, || async {
        match client.alter_group_offsets(group, &wanted).await {
            Ok(()) => Status::current("set"),
            Err(error) => Status::in_progress(error.to_string()),
        }
    })
    .await
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn places_are_read_back() {
        assert_eq!(split("a.b/3"), Some(("a.b", 3)));
        assert_eq!(split("a.b"), None);
    }

    #[test]
    fn a_file_that_is_no_backup_is_named_with_its_place() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.json");
        std::fs::write(&path, "{\n \"format\": x }").expect("written");
        let error = read(&path).expect_err("no JSON");
        assert!(error.message.contains("x.json:2:12"), "{}", error.message);
        assert_eq!(error.code, Code::Usage);
        let backup = Backup {
            format: 2,
            environment: "e".into(),
            at: 0,
            connectors: BTreeMap::new(),
            groups: BTreeMap::new(),
        };
        write(&path, &backup).expect("written");
        assert!(
            read(&path)
                .expect_err("layout")
                .message
                .contains("layout 2")
        );
        let offset = PartitionOffset {
            partition: json!({ "server": "a" }),
            offset: json!({ "lsn": 1 }),
        };
        let saved = ConnectorBackup {
            offsets: vec![offset],
            slot: None,
        };
        let backup = Backup {
            format: FORMAT,
            connectors: BTreeMap::from([("c".to_owned(), saved)]),
            groups: BTreeMap::from([("g".to_owned(), BTreeMap::from([("t/0".to_owned(), 5)]))]),
            ..backup
        };
        write(&path, &backup).expect("written");
        assert_eq!(read(&path).expect("read"), backup);
    }
}
