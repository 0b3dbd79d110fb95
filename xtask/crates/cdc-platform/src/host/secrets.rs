//! An environment's generated passwords: one file each, readable by their owner alone.

use std::io::Read;
use std::path::PathBuf;

use super::Dirs;
use crate::Secret;
use crate::error::{Error, Result};
use crate::files;

/// The directory of a component's secret, in the layout that Kafka's directory config provider
/// reads: `<component>-auth/password`.
pub fn dir(dirs: &Dirs, component: &str) -> PathBuf {
    dirs.secrets().join(format!("{component}-auth"))
}

/// The file of a component's password.
pub fn file(dirs: &Dirs, component: &str) -> PathBuf {
    dir(dirs, component).join("password")
}

/// The password of a component: the profile's, or the one generated before, or a new one.
/// The file holds it afterwards, without a line end, which the config provider would keep.
///
/// # Errors
/// The file cannot be read or written.
pub fn ensure(dirs: &Dirs, component: &str, fixed: Option<&Secret>) -> Result<Secret> {
    let path = file(dirs, component);
    let password = match fixed {
        Some(password) => password.clone(),
        None => match files::read_if_there(&path)?.filter(|text| !text.is_empty()) {
            Some(existing) => Secret::new(existing),
            None => Secret::new(generate()?),
        },
    };
    adopt(dirs, component, &password)?;
    Ok(password)
}

/// Takes over a password that a service has already.
///
/// # Errors
/// The file cannot be written.
pub fn adopt(dirs: &Dirs, component: &str, password: &Secret) -> Result<()> {
    super::dirs::make(&dir(dirs, component), 0o700)?;
    let path = file(dirs, component);
    files::write_if_changed(&path, password.expose().as_bytes(), 0o600).map(drop)
}

/// The password as it stands, for commands that change nothing; empty if there is none yet.
///
/// # Errors
/// The file is there and cannot be read.
pub fn existing(dirs: &Dirs, component: &str, fixed: Option<&Secret>) -> Result<Secret> {
    if let Some(password) = fixed {
        return Ok(password.clone());
    }
    let text = files::read_if_there(&file(dirs, component))?;
    Ok(Secret::new(text.unwrap_or_default()))
}

/// 24 letters and digits (over 140 bits) from the system's random source. No other characters, so
/// that no configuration format needs to quote it.
fn generate() -> Result<String> {
    const LETTERS: &[u8] = b"abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    const SOURCE: &str = "/dev/urandom";
    let mut random =
        std::fs::File::open(SOURCE).map_err(|source| Error::io("open", SOURCE, &source))?;
    let mut text = String::with_capacity(24);
    let mut byte = [0_u8; 1];
    while text.len() < 24 {
        random
            .read_exact(&mut byte)
            .map_err(|source| Error::io("read", SOURCE, &source))?;
        // A byte past the last whole multiple would favour the first letters.
        let limit = 256 - 256 % LETTERS.len();
        if usize::from(byte[0]) < limit {
            text.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_made_once_and_kept_private() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = Dirs {
            state: root.path().join("state"),
            cache: root.path().join("cache"),
        };
        dirs.create().expect("created");
        let first = ensure(&dirs, "postgres", None).expect("made");
        assert_eq!(first.expose().len(), 24);
        assert_eq!(ensure(&dirs, "postgres", None).expect("kept"), first);
        assert_ne!(ensure(&dirs, "mongodb", None).expect("made"), first);
        let fixed = Secret::new("password123");
        assert_eq!(
            ensure(&dirs, "postgres", Some(&fixed))
                .expect("fixed")
                .expose(),
            "password123"
        );
        assert_eq!(format!("{first:?} {fixed:?}"), "******** ********");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let meta = std::fs::metadata(file(&dirs, "postgres")).expect("there");
            assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        }
    }
}
