//! Who runs this command, and whom a component that refuses root runs as.
//!
//! Only a program that refuses root changes its user when root runs it. The others run as the caller.

use std::path::Path;

use crate::error::{Code, Error, Result};
use crate::process::User;

/// Whether this command runs as root.
#[cfg(unix)]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this command runs as root.
#[cfg(not(unix))]
pub fn is_root() -> bool {
    false
}

/// The name of the user who runs this command, or its number where this machine's own list has none.
#[cfg(unix)]
pub fn name() -> String {
    let uid = rustix::process::geteuid().as_raw().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    });
    found.unwrap_or(uid)
}

/// The name of the user who runs this command.
#[cfg(not(unix))]
pub fn name() -> String {
    std::env::var("USERNAME").unwrap_or_default()
}

/// A program that refuses to run as root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusesRoot {
    /// Its name for people.
    pub title: &'static str,
    /// The system's user for it.
    pub user: &'static str,
}

/// Whom a program runs as that refuses root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unprivileged {
    title: &'static str,
    /// The user.
    pub user: User,
}

impl RefusesRoot {
    /// Whom it runs as: its own user if the system has it, else `nobody`. None when this command does not
    /// run as root: everything then runs as the caller.
    ///
    /// # Errors
    /// The system has neither user.
    pub fn unprivileged(self) -> Result<Option<Unprivileged>> {
        if !is_root() {
            return Ok(None);
        }
        let passwd = crate::files::read(Path::new("/etc/passwd"))?;
        let RefusesRoot { title, user } = self;
        [user, "nobody"]
            .iter()
            .find_map(|name| find(&passwd, name))
            .map(|user| Some(Unprivileged { title, user }))
            .ok_or_else(|| {
                Error::new(
                    Code::Missing,
                    format!(
                        "{title} refuses to run as root, and there is no user `{user}` or `nobody`"
                    ),
                )
                .hint(format!(
                    "run `cargo xtask up` as a normal user, or create one: useradd --system {user}"
                ))
            })
    }
}

/// passwd(5): name:password:uid:gid:...
fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(User { uid, gid })
    })
}

impl Unprivileged {
    /// Checks that the user can enter every directory on the way to `path`.
    ///
    /// # Errors
    /// Names the directory that is closed.
    #[cfg(unix)]
    pub fn check_reachable(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::MetadataExt;
        let Unprivileged { title, user } = self;
        let mut ancestors: Vec<&Path> = path.ancestors().collect();
        ancestors.reverse();
        for dir in ancestors {
            let Ok(meta) = std::fs::metadata(dir) else {
                break;
            };
            let bit = if meta.uid() == user.uid {
                0o100
            } else if meta.gid() == user.gid {
                0o010
            } else {
                0o001
            };
            if meta.is_dir() && meta.mode() & bit == 0 {
                return Err(Error::new(
                    Code::Directory,
                    format!(
                        "user id {} runs {title} (which refuses root) and may not enter {}",
                        user.uid,
                        dir.display()
                    ),
                )
                .hint("leave XDG_STATE_HOME and XDG_CACHE_HOME unset for root, or set them to directories that others may enter"));
            }
        }
        Ok(())
    }

    /// Checks that the user can enter every directory on the way to `path`.
    ///
    /// # Errors
    /// Never here.
    #[cfg(not(unix))]
    pub fn check_reachable(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65533:n:/:/bin/false\n";
        assert_eq!(
            find(passwd, "nobody"),
            Some(User {
                uid: 65534,
                gid: 65533
            })
        );
        assert_eq!(find(passwd, "nob"), None);
    }
}
