//! Which Java runs Kafka and Connect.
//!
//! The version is read from the `release` file beside it: asking `java -version` would cost a JVM
//! start on every run.
//!
//! JVMs start from a class archive that is made at the first clean stop. The broker uses the JVM's
//! quick compiler only: it starts a second sooner and is hardly slower. Connect uses both, which
//! doubles what Debezium carries.

use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};

/// The oldest Java that Kafka 4.0 runs on.
pub const MINIMUM: u32 = 17;

/// A Java installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Java {
    /// The `java` executable.
    pub program: PathBuf,
    /// Its version as its `release` file tells it; none if there is no such file.
    pub version: Option<String>,
}

impl Java {
    /// The major version; none if the version is unknown.
    pub fn major(&self) -> Option<u32> {
        major(self.version.as_deref()?)
    }

    /// Where the archive of the classes is that a component loads from `libs`. Another Java or other
    /// libraries have another one.
    pub fn class_archive(&self, cache: &Path, component: &str, libs: &Path) -> PathBuf {
        let key = super::artifacts::lockfile::digest(&format!(
            "{} {:?} {}",
            self.program.display(),
            self.version,
            libs.display()
        ));
        cache.join(format!("{component}-classes-{}.jsa", &key[..12]))
    }
}

/// `17.0.15` is 17, `1.8.0_402` is 8.
pub(super) fn major(version: &str) -> Option<u32> {
    let mut parts = version.split(['.', '_', '-', '+']);
    match parts.next()?.parse().ok()? {
        1 => parts.next()?.parse().ok(),
        major => Some(major),
    }
}

/// The Java of `JAVA_HOME`, or else of `PATH`.
pub fn find() -> Option<Java> {
    let program = match std::env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        Some(home) => which::which_in("java", Some(Path::new(&home).join("bin")), ".").ok()?,
        None => which::which("java").ok()?,
    };
    let program = program.canonicalize().unwrap_or(program);
    let version = program
        .parent()
        .and_then(Path::parent)
        .and_then(|home| std::fs::read_to_string(home.join("release")).ok())
        .and_then(|release| release_version(&release));
    Some(Java { program, version })
}

fn release_version(release: &str) -> Option<String> {
    release.lines().find_map(|line| {
        line.strip_prefix("JAVA_VERSION=")
            .map(|version| version.trim_matches('"').to_owned())
    })
}

/// The Java to use.
///
/// # Errors
/// There is none, or it is too old.
pub fn require() -> Result<Java> {
    let hint = "cargo xtask doctor shows how to install it here; JAVA_HOME chooses one";
    let java = find().ok_or_else(|| {
        Error::new(
            Code::Missing,
            format!("Kafka needs Java {MINIMUM} or newer, and there is none in JAVA_HOME or PATH"),
        )
        .hint(hint)
    })?;
    match java.major() {
        Some(major) if major < MINIMUM => Err(Error::new(
            Code::Missing,
            format!(
                "Kafka needs Java {MINIMUM} or newer; {} is {major}",
                java.program.display()
            ),
        )
        .hint(hint)),
        _ => Ok(java),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(major("17.0.15"), Some(17));
        assert_eq!(major("1.8.0_402"), Some(8));
        assert_eq!(major("21-ea"), Some(21));
        assert_eq!(major("x"), None);
        assert_eq!(
            release_version("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"21.0.2\"\n").as_deref(),
            Some("21.0.2")
        );
    }
}
