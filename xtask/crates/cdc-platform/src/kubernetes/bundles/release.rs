//! What an operator's release holds: for who pins another version.

use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{AT_ONCE, client, download, place};
use crate::error::{Code, Error, Result};
use crate::host::artifacts::{Locked, lockfile};
use crate::host::dirs;

/// An entry of GitHub's list of a directory.
#[derive(Deserialize)]
struct Entry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The digests of an operator's files at a version. `staging` is a directory that the caller
/// removes.
///
/// # Errors
/// A file cannot be had.
pub async fn measure(
    root: &Path,
    operator: &str,
    version: &str,
    staging: &Path,
) -> Result<Vec<Locked>> {
    let place = place(root, operator, version)?;
    let client = client()?;
    let dir = staging.join(operator);
    dirs::make(&dir, 0o755)?;
    let names = match &place.list {
        None => place.files,
        Some(list) => {
            let path = staging.join(format!("{operator}.list"));
            download(&client, list, &path, |_| {}).await?;
            listed(&path, list)?
        }
    };
    if names.is_empty() {
        let what = format!("{operator} {version} has no files");
        return Err(Error::new(Code::Artifact, what)
            .hint(format!("name them in manifests/{operator}/bundle.yaml")));
    }
    let (client, dir, url) = (&client, &dir, &place.url);
    stream::iter(names)
        .map(|name| async move {
            let path = dir.join(&name);
            download(client, &format!("{url}/{name}"), &path, |_| {}).await?;
            lockfile::measure(&path).map_err(|source| Error::io("read", &path, &source))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// The YAML files of a list.
fn listed(path: &Path, url: &str) -> Result<Vec<String>> {
    let text = crate::files::read(path)?;
    let entries: Vec<Entry> = serde_json::from_str(&text)
        .map_err(|error| Error::new(Code::Artifact, format!("{url} is no list: {error}")))?;
    let is_plain = |name: &str| name.ends_with(".yaml") && !name.contains(['/', '\\']);
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind == "file" && is_plain(&entry.name))
        .map(|entry| entry.name)
        .collect())
}
