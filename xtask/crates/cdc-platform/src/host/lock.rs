//! One changing command at a time per environment.
//!
//! The lock is the system's own file lock, which ends with its process and the jobs that it gave the
//! file to: no expiry is needed, and a kill leaves nothing to clean up. The file's text says who holds it.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Code, Error, Result};
use crate::files::if_there;

/// Held until dropped.
#[derive(Debug)]
pub struct Lock {
    file: Arc<File>,
}

impl Lock {
    /// The locked file, for a [`Job`](crate::process::Job) to hold: the lock then lasts until both
    /// this value and the job have ended.
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|source| Error::io("open", path, &source))
}

fn claim(mut file: File, path: &Path, what: &str) -> Result<Lock> {
    let text = format!("pid {}: {what}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(|source| Error::io("write", path, &source))?;
    Ok(Lock {
        file: Arc::new(file),
    })
}

/// Takes the lock or says who has it.
///
/// # Errors
/// `Locked`, with the owner.
pub fn take(path: &Path, what: &str) -> Result<Lock> {
    let file = open(path)?;
    match file.try_lock() {
        Ok(()) => claim(file, path, what),
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(path).unwrap_or_default();
            Err(Error::new(
                Code::Locked,
                format!(
                    "another command works on this environment: {}",
                    owner.trim()
                ),
            )
            .hint("wait for it to end, or use another profile"))
        }
        Err(TryLockError::Error(source)) => Err(Error::io("lock", path, &source)),
    }
}

/// Who has the lock; none while nobody has. It is not taken.
///
/// # Errors
/// The file is there and cannot be opened.
pub fn owner(path: &Path) -> Result<Option<String>> {
    let file = if_there(File::open(path)).map_err(|source| Error::io("open", path, &source))?;
    let Some(file) = file else {
        return Ok(None);
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let owner = std::fs::read_to_string(path).unwrap_or_default();
            Ok(Some(owner.trim().to_owned()))
        }
        Err(TryLockError::Error(source)) => Err(Error::io("lock", path, &source)),
    }
}

/// Waits for the lock, on a thread of its own.
///
/// # Errors
/// The file cannot be opened or locked.
pub async fn wait(path: &Path, what: &str) -> Result<Lock> {
    let (path, what) = (path.to_owned(), what.to_owned());
    let task = tokio::task::spawn_blocking(move || {
        let file = open(&path)?;
        file.lock()
            .map_err(|source| Error::io("lock", &path, &source))?;
        claim(file, &path, &what)
    });
    task.await
        .map_err(|error| Error::new(Code::Io, format!("waiting for a lock failed: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_the_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("lock");
        let held = take(&path, "cargo xtask up").expect("free");
        let error = take(&path, "cargo xtask down").expect_err("held");
        assert_eq!(error.code, Code::Locked);
        assert!(error.message.contains("cargo xtask up"), "{error}");
        let seen = owner(&path).expect("asked").expect("held");
        assert!(seen.contains("cargo xtask up"), "{seen}");
        drop(held);
        assert_eq!(owner(&path).expect("asked"), None);
        take(&path, "cargo xtask down").expect("free again");
    }
}
