//! What a single text of a profile may hold, and how a broken rule is put to the user.
//!
//! Texts of a profile end up in SQL, properties, YAML, URLs, file names and arguments. Templates
//! quote what can be quoted; everything else is restricted here to what needs no quoting anywhere.

use std::path::{Path, PathBuf};

use super::component::Instance;
use super::schema::{Resources, Settings};
use super::{Node, Profile, Value};
use crate::error::{Code, Error, Result};

/// A rule for a text and how it is put to the user.
pub struct Rule {
    /// Whether a text fits.
    pub fits: fn(&str) -> bool,
    /// Completes "... has" or "... is".
    pub says: &'static str,
}

/// A name that is safe as a path's part, in a topic, in a URL and in a property.
pub const NAME: Rule = Rule {
    fits: is_name,
    says: "has letters, digits, `.`, `_` and `-` only, and begins with none of `.` and `-`",
};

/// A name that can stand in SQL and in a topic without quoting.
pub const WORD: Rule = Rule {
    fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
    says: "has letters, digits and `_` only",
};

/// PostgreSQL's rule for slot names, which is also the safe subset of its identifiers.
pub const IDENTIFIER: Rule = Rule {
    fits: |text| {
        (1..=63).contains(&text.len())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    },
    says: "has lower-case letters, digits and `_` only, 63 at the most",
};

/// A user, as cloud services call them too.
pub const LOGIN: Rule = Rule {
    fits: |text| is_name(&text.replace('@', "a")),
    says: "has letters, digits, `.`, `_`, `-` and `@` only, and begins with none of `.` and `-`",
};

/// A size of a JVM.
pub const JVM_SIZE: Rule = Rule {
    fits: |text| is_size(text, &["m", "g"]),
    says: "is a size such as `256m` or `1g`",
};

/// A size of memory.
pub const MEMORY: Rule = Rule {
    fits: |text| is_size(text, &["m", "mb", "g", "gb"]),
    says: "is a size such as `256m` or `1g`",
};

/// A setting stands on one line of a file or in one argument.
pub const ONE_LINE: Rule = Rule {
    fits: |text| !text.chars().any(char::is_control),
    says: "is one line without control characters",
};

/// See [`NAME`].
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && !text.starts_with(['.', '-'])
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Whether a text is a whole number with one of the units, in whatever case.
pub fn is_size(text: &str, units: &[&str]) -> bool {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    number.parse::<u32>().is_ok_and(|number| number > 0)
        && units.contains(&unit.to_ascii_lowercase().as_str())
}

/// An error at the place of the value under `path`.
pub(crate) fn invalid(tree: &Node, path: &[&str], message: impl Into<String>) -> Error {
    let error = Error::new(Code::ProfileInvalid, message);
    match tree.at(path.iter().copied()) {
        Some(node) => error.at(node.origin.clone()),
        None => error,
    }
}

/// Applies a rule to the value under `path`.
pub(super) fn obeys(tree: &Node, path: &[&str], text: &str, rule: &Rule) -> Result<()> {
    if (rule.fits)(text) {
        return Ok(());
    }
    // A list's entry has its place in the list.
    let name = path.join(".");
    Err(invalid(
        tree,
        path,
        format!("`{name}`: {text:?} does not fit: it {}", rule.says),
    ))
}

/// Applies a rule to a key of the map under `path`.
pub(super) fn key_obeys(tree: &Node, path: &[&str], rule: &Rule) -> Result<()> {
    let key = path.last().copied().unwrap_or_default();
    if (rule.fits)(key) {
        return Ok(());
    }
    let parent = path[..path.len().saturating_sub(1)].join(".");
    Err(invalid(
        tree,
        path,
        format!("`{parent}`: the key {key:?} does not fit: it {}", rule.says),
    ))
}

/// A namespace's or a label's name.
pub const LABEL: Rule = Rule {
    fits: |text| {
        (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    },
    says: "has lower-case letters, digits and `-` only, 63 at the most, and begins and ends with none of `-`",
};

/// An amount of processor time, memory or storage.
pub const QUANTITY: Rule = Rule {
    fits: |text| {
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let digits = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        digits(whole)
            && digits(fraction)
            && number.len() < 16
            && number.chars().any(|c| ('1'..='9').contains(&c))
            && ["", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"].contains(&unit)
    },
    says: "is a quantity such as `250m`, `1Gi` or `0.5`",
};

/// An image or a registry with a path.
pub const IMAGE: Rule = Rule {
    fits: |text| {
        is_name(&text.replace(['/', ':', '@'], "a"))
            && !text.contains("//")
            && !text.ends_with(['/', ':', '@'])
    },
    says: "is an image or registry such as `registry.example:5000/team/connect`",
};

/// A version, and the digest of its image if it has one.
pub const WITH_DIGEST: Rule = Rule {
    fits: |text| {
        let (version, digest) = match text.split_once("@sha256:") {
            Some((version, digest)) => (version, Some(digest)),
            None => (text, None),
        };
        is_name(version)
            && digest.is_none_or(|digest| {
                digest.len() == 64
                    && digest
                        .chars()
                        .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            })
    },
    says: "is a version, alone or with `@sha256:` and 64 hex digits behind it",
};

/// Settings that the tool derives, with the key of the profile that decides them; none where
/// nothing may.
pub type Owned = (&'static str, Option<&'static str>);

/// A component's values, where they are checked.
pub struct Rules<'a> {
    pub(super) tree: &'a Node,
    /// The profile that the component is of.
    pub profile: &'a Profile,
    pub(super) instance: &'a Instance,
    /// The manifests, where they are at hand.
    pub(super) manifests: Option<&'a Path>,
}

impl Rules<'_> {
    /// The whole key of a component's value, for people.
    pub fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.instance.path)
    }

    /// Where the component's keys are.
    pub fn path(&self) -> &str {
        &self.instance.path
    }

    /// An error at the place of a value: `message` follows its key.
    pub fn invalid(&self, key: &str, message: impl std::fmt::Display) -> Error {
        let key = self.key(key);
        let path: Vec<&str> = key.split('.').collect();
        invalid(self.tree, &path, format!("`{key}`: {message}"))
    }

    /// An error at a key that has a meaning for a server that the user runs, and none for one that the tool runs.
    pub fn for_external(&self, key: &str) -> Error {
        self.invalid(key, "it is for a server that you run yourself")
            .hint(format!(
                "leave it out, or name the server: {}",
                self.key("external")
            ))
    }

    /// Applies a rule to a text.
    ///
    /// # Errors
    /// It does not fit.
    pub fn obeys(&self, key: &str, text: &str, rule: &Rule) -> Result<()> {
        match (rule.fits)(text) {
            true => Ok(()),
            false => Err(self.invalid(key, format!("{text:?} does not fit: it {}", rule.says))),
        }
    }

    /// Applies the rules for what a container asks for.
    ///
    /// # Errors
    /// A quantity does not fit.
    pub fn resources(&self, key: &str, resources: &Resources) -> Result<()> {
        self.obeys(&format!("{key}.cpu"), &resources.cpu, &QUANTITY)?;
        self.obeys(&format!("{key}.memory"), &resources.memory, &QUANTITY)
    }

    /// A number of members: one of `of`, or if these are none between 1 and 100.
    ///
    /// # Errors
    /// It is not.
    pub fn count(&self, key: &str, number: u16, of: &[u16]) -> Result<()> {
        if of.is_empty() && !(1..=100).contains(&number) {
            return Err(self.invalid(key, format!("{number} is not between 1 and 100")));
        }
        if !of.is_empty() && !of.contains(&number) {
            let known: Vec<String> = of.iter().map(u16::to_string).collect();
            return Err(self
                .invalid(key, format!("{number} is none of {}", known.join(", ")))
                .hint("a majority must be able to decide"));
        }
        Ok(())
    }

    /// Checks `config`, whose settings are passed through by their own names.
    ///
    /// # Errors
    /// A setting is malformed, or is one that the tool derives.
    pub fn settings(&self, settings: &Settings, owned: &[Owned]) -> Result<()> {
        for (key, value) in settings {
            let whole = self.key("config");
            let mut path: Vec<&str> = whole.split('.').collect();
            path.push(key);
            key_obeys(self.tree, &path, &NAME)?;
            let at =
                |message: String| invalid(self.tree, &path, format!("`{whole}.{key}`{message}"));
            if !(ONE_LINE.fits)(value) {
                // The value may be a secret.
                return Err(at(format!(": a setting {}", ONE_LINE.says)));
            }
            if let Some((_, owner)) = owned.iter().find(|(name, _)| name == key) {
                let error = at(" is not to be set here".to_owned());
                return Err(match owner {
                    Some(owner) => {
                        error.hint(format!("set `{}`, which decides it", self.owner(owner)))
                    }
                    None => error.hint("the pipeline depends on the value that it has"),
                });
            }
        }
        Ok(())
    }

    /// A key of this component, or with a dot in it of the profile.
    fn owner(&self, key: &str) -> String {
        match key.contains('.') {
            true => key.to_owned(),
            false => self.key(key),
        }
    }

    /// Checks that a file has certificates in PEM; a relative path is the repository's.
    ///
    /// # Errors
    /// It has none, or cannot be read.
    pub fn pem(&self, key: &str, path: &str) -> Result<()> {
        let Some(root) = self.manifests.and_then(Path::parent) else {
            return Ok(());
        };
        match std::fs::read_to_string(root.join(path)) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Ok(()),
            Ok(_) => Err(self.invalid(key, format!("{path} has no certificate in PEM"))),
            Err(error) => Err(self.invalid(key, format!("cannot read {path}: {error}"))),
        }
    }

    /// Checks that the files that a component names are in its type's folder of the manifests.
    ///
    /// # Errors
    /// One is not; with the nearest one.
    pub fn files(&self, key: &str, folder: &str, files: &[String]) -> Result<()> {
        let Some(manifests) = self.manifests else {
            return Ok(());
        };
        let kind = self.instance.kind.name;
        let dir = manifests.join(kind).join(folder);
        for file in files {
            self.obeys(key, file, &NAME)?;
            let beside = beside(self.tree, &self.key(key), file, manifests);
            if beside.is_some() || dir.join(file).is_file() {
                continue;
            }
            let known = super::listed(&dir);
            let error = self.invalid(
                key,
                format!(
                    "there is no file {file} beside the profile, nor in manifests/{kind}/{folder}"
                ),
            );
            return Err(error.meant(
                file,
                known.iter().map(String::as_str),
                format!("files in manifests: {}", known.join(", ")),
            ));
        }
        Ok(())
    }
}

/// The file that a list under a dotted key names, where it is beside the profile that has it there.
pub(crate) fn beside(tree: &Node, key: &str, file: &str, manifests: &Path) -> Option<PathBuf> {
    let list = tree.at(key.split('.'))?;
    let Value::List(items) = &list.value else {
        return None;
    };
    let named = items.iter().find(|it| it.scalar_text() == file)?;
    let folder = Path::new(&named.origin.file).parent()?;
    // A profile of the repository's own is named from its root.
    let root = manifests.parent().unwrap_or(manifests);
    let places = [folder.join(file), root.join(folder).join(file)];
    places.into_iter().find(|it| it.is_file())
}

/// Whether a text names something that is secret.
pub fn names_secret(text: &str) -> bool {
    const WORDS: [&str; 9] = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "jaas",
        "private.key",
        "connection.string",
    ];
    let text = text.to_ascii_lowercase();
    WORDS.iter().any(|word| text.contains(word))
}

/// Whether the value under a dotted path is a secret and is masked in all output.
pub fn is_secret(path: &str) -> bool {
    if let Some((_, setting)) = path.split_once(".config.") {
        return names_secret(setting);
    }
    let own = match path.strip_prefix("components.") {
        Some(named) => named,
        None => path,
    };
    let key = own.split_once('.').map(|(_, key)| key);
    matches!(key, Some("password" | "connector_password"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sizes() {
        for name in ["a", "connect-cluster", "4.0.0", "3.4.0.Final", "_x"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "", ".", "..", "-x", "a b", "a/b", "a\n", "é", "a'", "a;b", "${x}",
        ] {
            assert!(!is_name(name), "{name}");
        }
        for size in ["256m", "1G", "64m"] {
            assert!((JVM_SIZE.fits)(size), "{size}");
        }
        for size in [
            "",
            "m",
            "256",
            "256mb",
            "0m",
            "-1m",
            "1 m",
            "1m\n",
            "99999999999m",
        ] {
            assert!(!(JVM_SIZE.fits)(size), "{size}");
        }
        assert!(is_size("32MB", &["kb", "mb"]) && !is_size("32", &["kb", "mb"]));
    }

    #[test]
    fn secrets_are_known_by_their_names() {
        for path in [
            "postgres.password",
            "kafka.config.ssl.keystore.password",
            "connect.config.sasl.jaas.config",
            "connectors.a.config.some.SECRET.key",
            "connectors.a.config.mongodb.connection.string",
        ] {
            assert!(is_secret(path), "{path}");
        }
        for path in [
            "flows.users.columns.password",
            "postgres.user",
            "kafka.config.num.partitions",
        ] {
            assert!(!is_secret(path), "{path}");
        }
    }
}
