//! What a single text of a profile may hold.
//!
//! Texts of a profile end up in SQL, properties, YAML, URLs, file names and arguments. Templates
//! quote what can be quoted; everything else is restricted here to what needs no quoting anywhere.

use super::schema::{Password, Settings, Source};
use super::{Node, Profile, logins};
use crate::error::{Code, Error, Result};

/// A rule for a text and how it is put to the user.
pub(super) struct Rule {
    pub(super) fits: fn(&str) -> bool,
    /// Completes "... has" or "... is".
    pub(super) says: &'static str,
}

/// A name that is safe as a path's part, in a topic, in a URL and in a property.
pub(super) const NAME: Rule = Rule {
    fits: is_name,
    says: "has letters, digits, `.`, `_` and `-` only, and begins with none of `.` and `-`",
};

/// A name that can stand in SQL and in a topic without quoting.
pub(super) const WORD: Rule = Rule {
    fits: |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'),
    says: "has letters, digits and `_` only",
};

/// PostgreSQL's rule for slot names, which is also the safe subset of its identifiers.
pub(super) const IDENTIFIER: Rule = Rule {
    fits: |text| {
        (1..=63).contains(&text.len())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    },
    says: "has lower-case letters, digits and `_` only, 63 at the most",
};

/// A user, as cloud services call them too.
const LOGIN: Rule = Rule {
    fits: |text| is_name(&text.replace('@', "a")),
    says: "has letters, digits, `.`, `_`, `-` and `@` only, and begins with none of `.` and `-`",
};

const JVM_SIZE: Rule = Rule {
    fits: |text| is_size(text, &["m", "g"]),
    says: "is a size such as `256m` or `1g`",
};

const MEMORY: Rule = Rule {
    fits: |text| is_size(text, &["m", "mb", "g", "gb"]),
    says: "is a size such as `256m` or `1g`",
};

const POSTGRES_SIZE: Rule = Rule {
    fits: |text| is_size(text, &["kb", "mb", "gb"]),
    says: "is a size such as `32MB`",
};

/// A setting stands on one line of a file or in one argument.
pub(super) const ONE_LINE: Rule = Rule {
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

fn is_size(text: &str, units: &[&str]) -> bool {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    number.parse::<u32>().is_ok_and(|number| number > 0)
        && units.contains(&unit.to_ascii_lowercase().as_str())
}

/// An error at the place of the value under `path`.
pub(super) fn invalid(tree: &Node, path: &[&str], message: impl Into<String>) -> Error {
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

/// Checks the texts of the components.
///
/// # Errors
/// The first one that does not fit.
pub(super) fn check(tree: &Node, profile: &Profile) -> Result<()> {
    let (kafka, connect) = (&profile.kafka, &profile.connect);
    let (postgres, mongodb) = (&profile.postgres, &profile.mongodb);
    let clickhouse = &profile.clickhouse;
    let versions = &profile.versions;
    for (path, text, rule) in [
        (["versions", "kafka"], &versions.kafka, NAME),
        (["versions", "log4j"], &versions.log4j, NAME),
        (["versions", "debezium"], &versions.debezium, NAME),
        (["versions", "postgres"], &versions.postgres, NAME),
        (["versions", "chdb"], &versions.chdb, NAME),
        (
            ["versions", "maven_dependency_plugin"],
            &versions.maven_dependency_plugin,
            NAME,
        ),
        (["kafka", "heap"], &kafka.heap, JVM_SIZE),
        (["connect", "heap"], &connect.heap, JVM_SIZE),
        (["connect", "group"], &connect.group, NAME),
        (["postgres", "database"], &postgres.database, NAME),
        (["postgres", "user"], &postgres.user, LOGIN),
        (
            ["postgres", "shared_buffers"],
            &postgres.shared_buffers,
            POSTGRES_SIZE,
        ),
        (["mongodb", "replica_set"], &mongodb.replica_set, NAME),
        (["mongodb", "cache"], &mongodb.cache, MEMORY),
        (["clickhouse", "database"], &clickhouse.database, NAME),
        (["clickhouse", "user"], &clickhouse.user, LOGIN),
        (["clickhouse", "memory"], &clickhouse.memory, MEMORY),
    ] {
        obeys(tree, &path, text, &rule)?;
    }
    for (plugin, version) in versions.plugins.each() {
        if let Some(version) = version {
            obeys(tree, &["versions", "plugins", plugin], version, &NAME)?;
        }
    }
    // External MongoDB without users.
    if !(mongodb.user.is_empty() && mongodb.external.is_some()) {
        obeys(tree, &["mongodb", "user"], &mongodb.user, &NAME)?;
    }
    if let Some(user) = &postgres.connector_user {
        obeys(tree, &["postgres", "connector_user"], user, &LOGIN)?;
    }
    if let Some(user) = &mongodb.connector_user {
        obeys(tree, &["mongodb", "connector_user"], user, &NAME)?;
    }
    externals(tree, profile)?;
    passwords(tree, profile)?;
    settings(tree, "kafka", &kafka.config, &NAME, &KAFKA_OWNED)?;
    settings(tree, "connect", &connect.config, &NAME, &CONNECT_OWNED)?;
    settings(tree, "postgres", &postgres.config, &NAME, &POSTGRES_OWNED)
}

fn externals(tree: &Node, profile: &Profile) -> Result<()> {
    for (component, external) in [
        ("kafka", &profile.kafka.external),
        ("postgres", &profile.postgres.external),
        ("mongodb", &profile.mongodb.external),
        ("clickhouse", &profile.clickhouse.external),
    ] {
        let Some(address) = external else { continue };
        let fits = address.split_once(':').is_some_and(|(host, port)| {
            is_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if !fits {
            return Err(invalid(
                tree,
                &[component, "external"],
                format!("`{component}.external`: {address:?} is not host:port"),
            )
            .hint("one host name or IPv4 address, a colon, and a port"));
        }
    }
    Ok(())
}

/// Passwords are checked without ever being printed.
fn passwords(tree: &Node, profile: &Profile) -> Result<()> {
    let Profile {
        postgres,
        mongodb,
        clickhouse,
        ..
    } = profile;
    for (component, key, password) in [
        ("postgres", "password", &postgres.password),
        (
            "postgres",
            "connector_password",
            &postgres.connector_password,
        ),
        ("mongodb", "password", &mongodb.password),
        ("mongodb", "connector_password", &mongodb.connector_password),
        ("clickhouse", "password", &clickhouse.password),
    ] {
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if password
            .as_ref()
            .is_some_and(|Password(text)| !text.chars().all(printable))
        {
            return Err(invalid(
                tree,
                &[component, key],
                format!("`{component}.{key}`: a password has printable ASCII characters only"),
            ));
        }
    }
    let empty = |password: &Option<Password>| password.as_ref().is_some_and(|p| p.0.is_empty());
    for (key, server, external, password) in [
        (
            ["postgres", "password"],
            "PostgreSQL",
            postgres.external.is_some(),
            &postgres.password,
        ),
        (
            ["postgres", "connector_password"],
            "PostgreSQL",
            false,
            &postgres.connector_password,
        ),
        (
            ["mongodb", "password"],
            "MongoDB",
            mongodb.external.is_some(),
            &mongodb.password,
        ),
        (
            ["mongodb", "connector_password"],
            "MongoDB",
            false,
            &mongodb.connector_password,
        ),
    ] {
        if !external && empty(password) {
            return Err(invalid(
                tree,
                &key,
                format!("`{}`: {server} takes no empty password", key.join(".")),
            )
            .hint("leave it out, or set it to `~`, to have one generated"));
        }
    }
    for (source, password) in [
        (Source::Postgres, &postgres.connector_password),
        (Source::Mongodb, &mongodb.connector_password),
    ] {
        let component = logins::component(source);
        if password.is_some() && !profile.connector_login(source).is_own() {
            return Err(invalid(
                tree,
                &[component, "connector_password"],
                format!(
                    "`{component}.connector_password`: connectors have no user of their own there"
                ),
            )
            .hint(format!("name one: {component}.connector_user")));
        }
    }
    Ok(())
}

/// Settings that the tool derives, with the key of the profile that decides them; none where
/// nothing may.
type Owned = (&'static str, Option<&'static str>);

const KAFKA_OWNED: [Owned; 9] = [
    ("listeners", Some("kafka.port")),
    ("advertised.listeners", Some("kafka.port")),
    ("controller.quorum.voters", Some("kafka.controller_port")),
    ("controller.listener.names", None),
    ("listener.security.protocol.map", None),
    ("inter.broker.listener.name", None),
    ("log.dirs", None),
    ("node.id", None),
    ("process.roles", None),
];

const CONNECT_OWNED: [Owned; 8] = [
    ("bootstrap.servers", Some("kafka.port")),
    ("group.id", Some("connect.group")),
    ("config.storage.topic", Some("connect.group")),
    ("offset.storage.topic", Some("connect.group")),
    ("status.storage.topic", Some("connect.group")),
    ("listeners", Some("connect.port")),
    ("rest.advertised.port", Some("connect.port")),
    ("plugin.path", None),
];

const POSTGRES_OWNED: [Owned; 6] = [
    ("port", Some("postgres.port")),
    ("shared_buffers", Some("postgres.shared_buffers")),
    ("listen_addresses", None),
    ("unix_socket_directories", None),
    ("data_directory", None),
    ("wal_level", None),
];

/// Checks settings that are passed through by their own names.
fn settings(
    tree: &Node,
    component: &str,
    settings: &Settings,
    key_rule: &Rule,
    owned: &[Owned],
) -> Result<()> {
    for (key, value) in settings {
        let path = [component, "config", key];
        key_obeys(tree, &path, key_rule)?;
        if !(ONE_LINE.fits)(value) {
            // The value may be a secret.
            return Err(invalid(
                tree,
                &path,
                format!("`{component}.config.{key}`: a setting {}", ONE_LINE.says),
            ));
        }
        if let Some((_, owner)) = owned.iter().find(|(name, _)| name == key) {
            let error = invalid(
                tree,
                &path,
                format!("`{component}.config.{key}` is not to be set here"),
            );
            return Err(match owner {
                Some(owner) => error.hint(format!("set `{owner}`, which decides it")),
                None => error.hint("the pipeline depends on the value that it has"),
            });
        }
    }
    Ok(())
}

/// Whether the value under a dotted path is a secret and is masked in all output.
pub(crate) fn is_secret(path: &str) -> bool {
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
    if let Some((_, setting)) = path.split_once(".config.") {
        let setting = setting.to_ascii_lowercase();
        return WORDS.iter().any(|word| setting.contains(word));
    }
    let key = path.split_once('.').map(|(_, key)| key);
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
        assert!((POSTGRES_SIZE.fits)("32MB") && !(POSTGRES_SIZE.fits)("32"));
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
