//! Everything that the host platform downloads: pinned, verified, unpacked once, shared.
//!
//! An artifact's directory in the cache is named by the digest of its lock file's content and
//! appears by a rename when it is complete. So its presence is proof, two runs at once do the work
//! once, and a kill leaves only a staging directory, which a later fetch removes.

use std::path::{Path, PathBuf};

pub mod lockfile;
pub mod maven;
pub mod pypi;
pub mod unpack;

use super::dirs;

pub use lockfile::Locked;
pub use maven::MavenArtifact;
pub use pypi::PypiEnvironment;

/// A new, empty staging directory of this run. To be called with the lock of `kind` held: what other
/// runs left is removed then, as far as it can be.
///
/// # Errors
/// It cannot be created.
pub fn staging(cache: &Path, kind: &str) -> crate::error::Result<PathBuf> {
    let prefix = format!("{kind}.staging-");
    for entry in std::fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // What cannot be removed now is in nobody's way, and tried again the next time.
            let _ = dirs::remove(&entry.path());
        }
    }
    let path = cache.join(format!(
        "{prefix}{}-{}",
        std::process::id(),
        crate::clock::now_ms()
    ));
    dirs::make(&path, 0o755)?;
    Ok(path)
}
