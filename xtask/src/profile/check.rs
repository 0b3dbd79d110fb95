//! Rules between values, which no single type can express.

use std::collections::BTreeMap;

use super::schema::{Keep, Source};
use super::{Node, Profile};
use crate::error::{Code, Error, Result, nearest};

/// Checks what the types alone cannot.
///
/// # Errors
/// The first rule that is broken, at the place of the value that breaks it.
pub(super) fn check(tree: &Node, profile: &Profile) -> Result<()> {
    ports(tree, profile)?;
    connectors(tree, profile)?;
    flows(tree, profile)
}

fn invalid(tree: &Node, path: &[&str], message: String) -> Error {
    let error = Error::new(Code::ProfileInvalid, message);
    match tree.at(path.iter().copied()) {
        Some(node) => error.at(node.origin.clone()),
        None => error,
    }
}

/// Every port of the profile with its path, whether or not its component runs here.
pub(crate) fn all_ports(profile: &Profile) -> Vec<(&'static str, &'static str, u16)> {
    let mut ports = Vec::new();
    if profile.kafka.external.is_none() {
        ports.push(("kafka", "port", profile.kafka.port));
        ports.push(("kafka", "controller_port", profile.kafka.controller_port));
    }
    ports.push(("connect", "port", profile.connect.port));
    if profile.postgres.external.is_none() {
        ports.push(("postgres", "port", profile.postgres.port));
    }
    if profile.mongodb.external.is_none() {
        ports.push(("mongodb", "port", profile.mongodb.port));
    }
    if profile.clickhouse.external.is_none() {
        ports.push(("clickhouse", "port", profile.clickhouse.port));
    }
    ports
}

fn ports(tree: &Node, profile: &Profile) -> Result<()> {
    let mut owners: BTreeMap<u16, (&str, &str)> = BTreeMap::new();
    for (component, key, port) in all_ports(profile) {
        if port == 0 {
            return Err(invalid(
                tree,
                &[component, key],
                format!("`{component}.{key}`: port 0 is no port"),
            )
            .hint("`cargo xtask up --ports auto` picks free ports"));
        }
        if let Some((other, other_key)) = owners.insert(port, (component, key)) {
            return Err(invalid(
                tree,
                &[component, key],
                format!(
                    "port {port} is wanted twice: by `{other}.{other_key}` and `{component}.{key}`"
                ),
            )
            .hint(format!(
                "change one of them, for example `--set {component}.{key}={}`",
                port.saturating_add(1)
            )));
        }
    }
    for (component, external) in [
        ("kafka", &profile.kafka.external),
        ("postgres", &profile.postgres.external),
        ("mongodb", &profile.mongodb.external),
        ("clickhouse", &profile.clickhouse.external),
    ] {
        if let Some(address) = external
            && address
                .rsplit_once(':')
                .is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err())
        {
            return Err(invalid(
                tree,
                &[component, "external"],
                format!("`{component}.external`: `{address}` is not host:port"),
            ));
        }
    }
    Ok(())
}

fn connectors(tree: &Node, profile: &Profile) -> Result<()> {
    let mut prefixes: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, connector) in &profile.connectors {
        if let Some(other) = prefixes.insert(&connector.prefix, name) {
            return Err(invalid(
                tree,
                &["connectors", name, "prefix"],
                format!(
                    "connectors `{other}` and `{name}` share the topic prefix `{}`",
                    connector.prefix
                ),
            )
            .hint("give each connector a prefix of its own: their topics would mix"));
        }
        let wants_slot = connector.source == Source::Postgres;
        for (key, value) in [
            ("slot", &connector.slot),
            ("publication", &connector.publication),
        ] {
            match value {
                None if wants_slot => {
                    return Err(invalid(
                        tree,
                        &["connectors", name],
                        format!("connector `{name}` reads PostgreSQL and needs `{key}`"),
                    ));
                }
                Some(_) if !wants_slot => {
                    return Err(invalid(
                        tree,
                        &["connectors", name, key],
                        format!("connector `{name}` reads MongoDB, which has no `{key}`"),
                    ));
                }
                Some(value) if !is_identifier(value) => {
                    return Err(invalid(
                        tree,
                        &["connectors", name, key],
                        format!(
                            "`{value}`: a {key} name has lower-case letters, digits and `_` only"
                        ),
                    ));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// PostgreSQL's rule for slot names, which is also the safe subset of its identifiers.
fn is_identifier(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// A name that can stand in SQL and in a topic without quoting.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn flows(tree: &Node, profile: &Profile) -> Result<()> {
    let mut topics: BTreeMap<String, &str> = BTreeMap::new();
    for (name, flow) in &profile.flows {
        let place = |key: &'static str| ["flows", name.as_str(), key];
        if !is_word(name) {
            return Err(invalid(
                tree,
                &["flows", name],
                format!("flow `{name}`: a name has letters, digits and `_` only"),
            ));
        }
        let Some(connector) = profile.connectors.get(&flow.connector) else {
            let error = invalid(
                tree,
                &place("connector"),
                format!("flow `{name}`: there is no connector `{}`", flow.connector),
            );
            return Err(
                match nearest(
                    &flow.connector,
                    profile.connectors.keys().map(String::as_str),
                ) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error.hint("define it under `connectors`"),
                },
            );
        };
        if flow
            .table
            .split_once('.')
            .is_none_or(|(schema, table)| !is_word(schema) || !is_word(table))
        {
            return Err(invalid(
                tree,
                &place("table"),
                format!("flow `{name}`: `{}` is not schema.table", flow.table),
            ));
        }
        if let Some(other) = topics.insert(profile.topic(flow), name) {
            return Err(invalid(
                tree,
                &place("table"),
                format!(
                    "flows `{other}` and `{name}` carry the same table `{}`",
                    flow.table
                ),
            ));
        }
        if connector.source == Source::Mongodb && flow.keep == Keep::Latest {
            return Err(invalid(
                tree,
                &place("keep"),
                format!("flow `{name}`: `keep: latest` needs a log position, which MongoDB's events do not carry"),
            )
            .hint("use `keep: every`"));
        }
        for key in &flow.key {
            if !flow.columns.contains_key(key) {
                return Err(invalid(
                    tree,
                    &place("key"),
                    format!("flow `{name}`: key column `{key}` is not among its columns"),
                ));
            }
        }
        if flow.key.is_empty() {
            return Err(invalid(
                tree,
                &place("key"),
                format!("flow `{name}` needs at least one key column"),
            ));
        }
        for (column, kind) in &flow.columns {
            if !is_word(column) {
                return Err(invalid(
                    tree,
                    &["flows", name, "columns", column],
                    format!("column `{column}`: a name has letters, digits and `_` only"),
                ));
            }
            // Types go into DDL as they stand: nothing but a type expression may pass.
            if kind.is_empty()
                || !kind
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '(' | ')' | ',' | ' '))
            {
                return Err(invalid(
                    tree,
                    &["flows", name, "columns", column],
                    format!("column `{column}`: `{kind}` is not a ClickHouse type"),
                ));
            }
        }
    }
    Ok(())
}
