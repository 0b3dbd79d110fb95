//! What the cache holds, and who uses it.
//!
//! An entry is used by an environment whose files name it, by a process that has it open, whoever started that, and
//! where an environment is on a cluster, everything that makes clusters is. All of it can be had again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::if_there;

/// How many digits of a digest stand at the end of an entry's name.
const DIGITS: usize = 12;

/// Something in the cache that was fetched or made.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its file's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// How much room it takes.
    pub bytes: u64,
    /// Who uses it: environments, or `a process`.
    pub used_by: Vec<String>,
}

/// An environment, as the cache sees it.
#[derive(Clone, Debug)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub state: PathBuf,
    /// Whether it is on a cluster.
    pub on_cluster: bool,
}

/// The entries, sorted by name. Locks and notes are none.
///
/// # Errors
/// The cache is there and cannot be read.
pub fn entries(cache: &Path, users: &[User]) -> Result<Vec<Entry>> {
    let io = |source| Error::io("read", cache, &source);
    let Some(found) = if_there(fs::read_dir(cache)).map_err(io)? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in found {
        names.push(
            entry
                .map_err(io)?
                .file_name()
                .to_string_lossy()
                .into_owned(),
        );
    }
    names.retain(|name| is_artifact(name));
    names.sort();
    let texts: Vec<(&User, String)> = users
        .iter()
        .map(|user| (user, texts(&user.state)))
        .collect();
    let open = opened(cache);
    let entries = names.into_iter().map(|name| {
        let users = texts.iter().filter(|(user, text)| {
            text.contains(&name) || (user.on_cluster && makes_clusters(&name))
        });
        let mut used_by: Vec<String> = users.map(|(user, _)| user.name.clone()).collect();
        if used_by.is_empty() && open.contains(&name) {
            used_by.push("a process".into());
        }
        let path = cache.join(&name);
        Entry {
            bytes: size(&path),
            used_by,
            path,
            name,
        }
    });
    Ok(entries.collect())
}

/// Whether a name ends with a digest, or says that it is not complete.
fn is_artifact(name: &str) -> bool {
    let stem = name.strip_suffix(".jsa").unwrap_or(name);
    let digest = stem.rsplit('-').next().unwrap_or_default();
    let is_digest = digest.len() == DIGITS && digest.chars().all(|c| c.is_ascii_hexdigit());
    is_digest || name.contains(".staging-")
}

/// Operators' bundles, and the program `kind`.
fn makes_clusters(name: &str) -> bool {
    name.contains("-bundle-") || name.starts_with("kind-")
}

/// Everything that an environment's processes are configured with, as one text.
fn texts(state: &Path) -> String {
    let mut text = String::new();
    let mut open = vec![state.join("config"), state.join("run")];
    while let Some(path) = open.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => text += &String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()),
        }
    }
    text
}

/// The entries that a process of this machine names or has open, as far as they can be seen.
#[cfg(target_os = "linux")]
fn opened(cache: &Path) -> BTreeSet<String> {
    let prefix = format!("{}/", cache.display());
    let mut names = BTreeSet::new();
    let mut add = |text: &str| {
        let named = text
            .match_indices(&prefix)
            .map(|(at, _)| &text[at + prefix.len()..]);
        names.extend(named.map(|rest| {
            let end = rest.find(['/', ':', ',', ' ', '\0', '\n']);
            rest[..end.unwrap_or(rest.len())].to_owned()
        }));
    };
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        add(&String::from_utf8_lossy(&line));
        let open = fs::read_dir(process.path().join("fd"));
        for file in open.into_iter().flatten().flatten() {
            if let Ok(target) = fs::read_link(file.path()) {
                add(&target.to_string_lossy());
            }
        }
    }
    names
}

#[cfg(not(target_os = "linux"))]
fn opened(_cache: &Path) -> BTreeSet<String> {
    BTreeSet::new()
}

/// The room that a file or directory takes on the disk; what cannot be read takes none.
pub fn size(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else {
        return 0;
    };
    #[cfg(unix)]
    let own = std::os::unix::fs::MetadataExt::blocks(&about) * 512;
    #[cfg(not(unix))]
    let own = about.len();
    if !about.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries.map(|entry| size(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_used_by_who_names_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (cache, state) = (dir.path().join("cache"), dir.path().join("shop"));
        let entry = |name: &str| {
            fs::create_dir_all(cache.join(name)).expect("made");
            fs::write(cache.join(name).join("file"), vec![1; 10_000]).expect("written");
        };
        for name in [
            "kafka-4.3.1-0123456789ab",
            "kafka-4.0.0-ba9876543210",
            "strimzi-bundle-1-0123456789ab",
            "maven.staging-7-1",
            "inspected-images",
            "maven.lock",
        ] {
            entry(name);
        }
        let config = state.join("config/connect");
        fs::create_dir_all(&config).expect("made");
        fs::write(config.join("a"), "path=/x/kafka-4.3.1-0123456789ab/y").expect("written");
        let user = |on_cluster| User {
            name: "shop".into(),
            state: state.clone(),
            on_cluster,
        };
        let unused = |on_cluster| {
            let found = entries(&cache, &[user(on_cluster)]).expect("read");
            assert!(found.iter().all(|it| it.bytes >= 10_000), "{found:?}");
            let unused = found.into_iter().filter(|it| it.used_by.is_empty());
            unused.map(|it| it.name).collect::<Vec<_>>()
        };
        let bundle = "strimzi-bundle-1-0123456789ab";
        let always = ["kafka-4.0.0-ba9876543210", "maven.staging-7-1"];
        assert_eq!(unused(true), always);
        assert_eq!(unused(false), [&always[..], &[bundle]].concat());
        #[cfg(target_os = "linux")]
        {
            let path = cache.join("kafka-4.0.0-ba9876543210/file");
            let _open = fs::File::open(path).expect("opened");
            assert_eq!(unused(true), ["maven.staging-7-1"]);
        }
        assert!(
            entries(&dir.path().join("none"), &[])
                .expect("read")
                .is_empty()
        );
    }
}
