//! Rules between values, which no single type can express.

use std::collections::BTreeMap;
use std::iter::once;
use std::path::Path;

use cdc_profile::decode::numbers;

use super::columns;
use super::combinations::{self, InUse};
use super::component::{ColumnTypes, Instance, Source};
use super::logins::Login;
use super::parts::parts;
use super::rules::{IDENTIFIER, LABEL, NAME, Rules, WORD, invalid, is_name, key_obeys, obeys};
use super::schema::{Connector, Flow, Keep, Password};
use super::{Node, Profile, Value};
use super::{kubernetes, outbox};
use crate::error::Result;
use crate::platform::host::prerequisites::Wanted;

/// Columns that silver has of its own.
pub const OWN_COLUMNS: [&str; 7] = [
    "is_deleted",
    "_position",
    "_op",
    "_source_ts",
    "_partition",
    "_offset",
    "_ingested_at",
];

/// Kafka's limit for a topic's name.
const LONGEST_TOPIC: usize = 249;

/// Checks what the types alone cannot; with the manifests also that the files are there that it names.
///
/// # Errors
/// The first rule that is broken, at the place of the value that breaks it.
pub(super) fn check(tree: &Node, profile: &Profile, manifests: Option<&Path>) -> Result<()> {
    components(tree, profile)?;
    ports(tree, profile)?;
    versions(tree, profile)?;
    for instance in profile.components.values().chain(&profile.idle) {
        let rules = Rules {
            tree,
            profile,
            instance,
            manifests,
        };
        external(&rules)?;
        accounts(&rules)?;
        instance.spec.check(&rules)?;
    }
    kubernetes::check(tree, profile)?;
    connectors(tree, profile)?;
    sinks(tree, profile)?;
    flows(tree, profile)?;
    idle_sinks(tree, profile)?;
    outbox::projections(tree, profile)?;
    combinations::refuse(tree, &InUse::of(profile, profile.platform, None))
}

/// Names of components name processes, pods and secrets. A flow that names no sink arrives at the one
/// component that reads topics itself.
fn components(tree: &Node, profile: &Profile) -> Result<()> {
    let named = profile.components.values().filter(|it| it.path != it.name);
    for instance in named {
        key_obeys(tree, &["components", &instance.name], &LABEL)?;
    }
    let mut readers = profile
        .components
        .values()
        .filter(|it| it.kind.reads_topics.is_some());
    let (Some(first), Some(second)) = (readers.next(), readers.next()) else {
        return Ok(());
    };
    let path: Vec<&str> = second.path.split('.').collect();
    let what = format!(
        "`{}`: a profile has one component that reads topics itself, and that is `{}`",
        second.path, first.path
    );
    Err(invalid(tree, &path, what).hint(format!("leave the other out: `{}: ~`", first.path)))
}

fn versions(tree: &Node, profile: &Profile) -> Result<()> {
    for part in parts(profile.types) {
        let path: Vec<&str> = once("versions").chain(part.key.split('.')).collect();
        let given = tree.at(path.iter().copied());
        let given = given.filter(|node| node.value != Value::Null);
        if let (Some(form), Some(_)) = (part.form, given) {
            obeys(tree, &path, profile.versions.of(part), form)?;
        }
    }
    Ok(())
}

fn external(rules: &Rules<'_>) -> Result<()> {
    let spec = &rules.instance.spec;
    let Some(address) = spec.external().filter(|_| !spec.has_own_addresses()) else {
        return Ok(());
    };
    let fits = address.split_once(':').is_some_and(|(host, port)| {
        is_name(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    match fits {
        true => Ok(()),
        false => Err(rules
            .invalid("external", format!("{address:?} is not host:port"))
            .hint(match address.split_once("://") {
                Some((_, rest)) => format!("write `{}`", rest.trim_end_matches('/')),
                None => "one host name or IPv4 address, a colon, and a port".to_owned(),
            })),
    }
}

/// Passwords are checked without ever being printed.
fn accounts(rules: &Rules<'_>) -> Result<()> {
    let Instance { spec, kind, .. } = rules.instance;
    let Some(accounts) = spec.accounts() else {
        return Ok(());
    };
    let connector = accounts.connector.and_then(|it| it.password);
    let passwords = [
        ("password", accounts.password, rules.instance.is_external()),
        ("connector_password", connector, false),
    ];
    for (key, password, may_be_empty) in passwords {
        let Some(Password(text)) = password else {
            continue;
        };
        // Who runs a database chose its passwords.
        let theirs = rules.instance.is_external() && accounts.connector.is_some();
        let printable = |c: char| match theirs {
            true => !c.is_control(),
            false => c == ' ' || c.is_ascii_graphic(),
        };
        if !text.chars().all(printable) {
            let of = if theirs { "" } else { " ASCII" };
            return Err(rules.invalid(key, format!("a password has printable{of} characters only")));
        }
        if text.is_empty() && !may_be_empty && accounts.connector.is_some() {
            return Err(rules
                .invalid(key, format!("{} takes no empty password", kind.title))
                .hint("leave it out, or set it to `~`, to have one generated"));
        }
    }
    if connector.is_some() && !matches!(rules.instance.connector_login(), Login::Own(_)) {
        return Err(rules
            .invalid(
                "connector_password",
                "connectors have no user of their own there",
            )
            .hint(format!("name one: {}", rules.key("connector_user"))));
    }
    Ok(())
}

/// Every port of the profile, whether or not its component runs here.
pub fn all_ports(profile: &Profile) -> Vec<Wanted> {
    ports_of(profile.components.values())
}

fn ports_of<'a>(components: impl Iterator<Item = &'a Instance>) -> Vec<Wanted> {
    let own = components.filter(|it| !it.is_external());
    own.flat_map(|it| {
        let ports = it.spec.ports().into_iter();
        ports.map(|(key, port)| Wanted {
            component: it.name.clone(),
            key: format!("{}.{key}", it.path),
            port,
        })
    })
    .collect()
}

fn ports(tree: &Node, profile: &Profile) -> Result<()> {
    let ports = ports_of(profile.components.values().chain(&profile.idle));
    let mut owners: BTreeMap<u16, &str> = BTreeMap::new();
    for Wanted { key, port, .. } in &ports {
        if *port == 0 {
            let what = format!("`{key}`: expected {}, found 0", numbers(key));
            return Err(invalid(tree, &path(key), what));
        }
        let Some(other) = owners.insert(*port, key) else {
            continue;
        };
        // The place to mend is the one that somebody wrote, not the default that it ran into.
        let mut both = [other, key];
        both.sort_by_key(|key| written(tree, &path(key)));
        let [first, second] = both;
        let free = (*port..=u16::MAX)
            .chain(1024..*port)
            .find(|port| ports.iter().all(|taken| taken.port != *port))
            .unwrap_or(*port);
        return Err(invalid(
            tree,
            &path(second),
            format!("port {port} is wanted twice: by `{first}` and `{second}`"),
        )
        .hint(format!(
            "change one of them, for example `--set {second}={free}`"
        )));
    }
    Ok(())
}

/// The keys that lead to a value.
fn path(key: &str) -> Vec<&str> {
    key.split('.').collect()
}

/// Orders values by who wrote them: the defaults, then files by line, then the command line.
fn written(tree: &Node, path: &[&str]) -> (u8, usize) {
    let Some(node) = tree.at(path.iter().copied()) else {
        return (0, 0);
    };
    let layer = match node.origin.file.as_str() {
        "profiles/defaults.yaml" => 0,
        file if file.starts_with("--set ") => 2,
        _ => 1,
    };
    (layer, node.origin.line)
}

fn connectors(tree: &Node, profile: &Profile) -> Result<()> {
    for (name, connector) in &profile.connectors {
        let at = |key: &'static str| ["connectors", name.as_str(), key];
        key_obeys(tree, &["connectors", name], &NAME)?;
        obeys(tree, &at("prefix"), &connector.prefix, &NAME)?;
        for key in connector.config.keys() {
            key_obeys(tree, &["connectors", name, "config", key], &NAME)?;
        }
        let (instance, source) = source(tree, profile, name, connector)?;
        let title = instance.kind.title;
        if source.history.is_some() && profile.kafka.is_secured() {
            let what = format!(
                "connector `{name}`: it would read and write a topic with {title}'s definitions as a user of its own, which `kafka.security: scram` does not give in this version"
            );
            return Err(invalid(tree, &["kafka", "security"], what)
                .hint(format!("use `kafka.security: plain` with {title}")));
        }
        for (key, value) in [
            ("slot", &connector.slot),
            ("publication", &connector.publication),
        ] {
            match (value, source.keys.contains(&key)) {
                (None, true) => {
                    return Err(invalid(
                        tree,
                        &["connectors", name],
                        format!("connector `{name}` reads {title} and needs `{key}`"),
                    )
                    .hint(format!("add `{key}`, a name of its own, such as `{key}_1`")));
                }
                (Some(_), false) => {
                    return Err(invalid(
                        tree,
                        &at(key),
                        format!("connector `{name}` reads {title}, which has no `{key}`"),
                    )
                    .hint(format!("remove `{key}`")));
                }
                (Some(value), true) => obeys(tree, &at(key), value, &IDENTIFIER)?,
                (None, false) => {}
            }
        }
        if let Some(outbox) = &connector.outbox {
            outbox::check(tree, profile, name, source, outbox)?;
        }
    }
    type Value = fn(&Connector) -> Option<&String>;
    let unique: [(&str, Value, &str); 3] = [
        ("prefix", |c| Some(&c.prefix), "their topics would mix"),
        (
            "slot",
            |c| c.slot.as_ref(),
            "a slot serves one reader at a time",
        ),
        (
            "publication",
            |c| c.publication.as_ref(),
            "each connector sets its publication's tables",
        ),
    ];
    for (key, value, why) in unique {
        let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, connector) in &profile.connectors {
            let Some(value) = value(connector) else {
                continue;
            };
            if let Some(other) = owners.insert(value, name) {
                return Err(invalid(
                    tree,
                    &["connectors", name, key],
                    format!("connectors `{other}` and `{name}` share the {key} `{value}`"),
                )
                .hint(format!("give each connector one of its own: {why}")));
            }
        }
    }
    Ok(())
}

/// Whether a table's name has this form, such as `schema.table`.
pub(super) fn is_table(form: &str, table: &str) -> bool {
    let parts: Vec<&str> = table.split('.').collect();
    parts.len() == form.split('.').count() && parts.into_iter().all(WORD.fits)
}

fn sinks(tree: &Node, profile: &Profile) -> Result<()> {
    for (name, sink) in &profile.sinks {
        key_obeys(tree, &["connectors", name], &NAME)?;
        for key in sink.config.keys() {
            key_obeys(tree, &["connectors", name, "config", key], &NAME)?;
        }
        let at = |key: &'static str, message: String| {
            let message = format!("`connectors.{name}.{key}`: {message}");
            invalid(tree, &["connectors", name, key], message)
        };
        if !(1..=100).contains(&sink.tasks) {
            return Err(at(
                "tasks",
                format!("{} is not between 1 and 100", sink.tasks),
            ));
        }
        if let Some(queue) = &sink.queue {
            obeys(tree, &["connectors", name, "queue"], queue, &NAME)?;
        }
        let writable = |it: &&Instance| it.kind.sink.is_some();
        match profile.components.get(&sink.sink) {
            Some(instance) if instance.kind.sink.is_some() => {}
            Some(instance) => {
                return Err(at(
                    "sink",
                    format!("no connector writes to {}", instance.kind.title),
                ));
            }
            None => {
                let known = profile.components.values().filter(writable);
                let error = at("sink", format!("there is no component {:?}", sink.sink));
                return Err(error.meant(
                    &sink.sink,
                    known.map(|it| it.name.as_str()),
                    "define it under `components`",
                ));
            }
        }
    }
    Ok(())
}

/// Connect takes no sink without a topic.
fn idle_sinks(tree: &Node, profile: &Profile) -> Result<()> {
    let written = |sink: &String| {
        profile
            .flows
            .values()
            .any(|it| it.to.as_ref() == Some(sink))
    };
    let Some(idle) = profile.sinks.keys().find(|sink| !written(sink)) else {
        return Ok(());
    };
    let error = invalid(
        tree,
        &["connectors", idle],
        format!("sink `{idle}` writes no flow"),
    );
    Err(error.hint(format!(
        "give the flows that it writes `to: {idle}`, or leave it out"
    )))
}

/// The sink that writes a flow, if it names one.
fn to(tree: &Node, profile: &Profile, name: &str, flow: &Flow) -> Result<()> {
    let Some(to) = &flow.to else {
        if profile.reader().is_some() {
            return Ok(());
        }
        let what =
            format!("flow `{name}`: nothing here reads its topic, and it names no sink in `to`");
        let error = invalid(tree, &["flows", name], what);
        return Err(match profile.sinks.keys().next() {
            Some(sink) => error.hint(format!("name one: `to: {sink}`")),
            None => {
                let mut readers = profile.types.iter().filter(|it| it.reads_topics.is_some());
                error.hint(match readers.next() {
                    Some(reader) => format!(
                        "define a sink under `connectors`, or do not leave {} out",
                        reader.title
                    ),
                    None => "define a sink under `connectors`".to_owned(),
                })
            }
        });
    };
    if profile.sinks.contains_key(to) {
        return Ok(());
    }
    let error = invalid(
        tree,
        &["flows", name, "to"],
        format!("flow `{name}`: there is no sink {to:?}"),
    );
    Err(error.meant(
        to,
        profile.sinks.keys().map(String::as_str),
        "define it under `connectors`, with the component that it writes to as `sink`",
    ))
}

/// A sink wants messages with their schema and numbers of that schema's, what reads topics itself wants neither: one
/// connector writes one form.
fn one_form(tree: &Node, profile: &Profile, name: &str, flow: &Flow) -> Result<()> {
    let mut flows = profile.flows.iter();
    let other = flows.find(|(_, it)| it.connector == flow.connector && it.to.is_none());
    let (Some((other, _)), Some(sink)) = (other, &flow.to) else {
        return Ok(());
    };
    let connector = &flow.connector;
    let what = format!(
        "connector `{connector}` cannot write flow `{name}` for sink `{sink}` and flow `{other}` without one: they read different forms of messages"
    );
    Err(invalid(tree, &["flows", name, "to"], what).hint(format!(
        "give one of them a connector of its own, a copy of `connectors.{connector}` with another prefix, slot and publication"
    )))
}

/// The component that a connector reads.
fn source<'a>(
    tree: &Node,
    profile: &'a Profile,
    name: &str,
    connector: &Connector,
) -> Result<(&'a Instance, &'static Source)> {
    let reads = &connector.source;
    let at = |message: String| invalid(tree, &["connectors", name, "source"], message);
    let readable = |it: &&Instance| it.kind.source.is_some();
    let Some(instance) = profile.components.get(reads) else {
        let known = profile.components.values().chain(&profile.idle);
        let known = known.filter(readable);
        let error = at(format!(
            "`connectors.{name}.source`: there is no component {reads:?}"
        ));
        return Err(error.meant(
            reads,
            known.map(|it| it.name.as_str()),
            "define it under `components`",
        ));
    };
    match &instance.kind.source {
        Some(source) => Ok((instance, source)),
        None => Err(at(format!(
            "`connectors.{name}.source`: no connector reads {}",
            instance.kind.title
        ))),
    }
}

fn flows(tree: &Node, profile: &Profile) -> Result<()> {
    let mut topics: BTreeMap<String, &str> = BTreeMap::new();
    let mut groups: BTreeMap<&str, String> = BTreeMap::new();
    let mut written: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    groups.insert(&profile.connect.group, "the Connect worker".to_owned());
    for (name, flow) in &profile.flows {
        let place = |key: &'static str| ["flows", name.as_str(), key];
        key_obeys(tree, &["flows", name], &WORD)?;
        if let Some(other) = taken_names(profile, name) {
            return Err(invalid(
                tree,
                &["flows", name],
                format!("flow `{name}`: its tables' names are those of {other}"),
            )
            .hint("choose another name: views are called `mv_<flow>`, tables `<flow>_queue` and so on"));
        }
        let connector = connector(tree, profile, name, flow)?;
        to(tree, profile, name, flow)?;
        one_form(tree, profile, name, flow)?;
        let (instance, source) = source(tree, profile, &flow.connector, connector)?;
        if !is_table(source.table, &flow.table) {
            let form = source.table;
            return Err(invalid(
                tree,
                &place("table"),
                format!("flow `{name}`: {:?} is not {form}", flow.table),
            )
            .hint("its names have letters, digits and `_` only"));
        }
        let topic = profile.topic(flow);
        if topic.len() > LONGEST_TOPIC {
            return Err(invalid(
                tree,
                &place("table"),
                format!(
                    "flow `{name}`: its topic `{topic}` is longer than Kafka's {LONGEST_TOPIC} characters"
                ),
            ));
        }
        if let Some(other) = topics.insert(topic, name) {
            return Err(invalid(
                tree,
                &place("table"),
                format!(
                    "flows `{other}` and `{name}` carry the same table `{}`",
                    flow.table
                ),
            )
            .hint("a table flows once: remove one of them"));
        }
        let table = flow.table.rsplit('.').next().unwrap_or_default();
        let target = profile.written(flow).map(|it| (it.name.as_str(), table));
        if let Some((target, other)) = target.and_then(|it| Some((it, written.insert(it, name)?))) {
            let (component, table) = target;
            return Err(invalid(
                tree,
                &place("table"),
                format!("flows `{other}` and `{name}` are written to the same table `{table}` of `{component}`"),
            )
            .hint("a sink calls its tables as the source does, without the schema: write one of them to another component"));
        }
        obeys(tree, &place("group"), &flow.group, &NAME)?;
        // Flows that one sink writes are read by one group.
        let other = groups.insert(&flow.group, format!("flow `{name}`"));
        if let Some(other) = other.filter(|_| flow.to.is_none()) {
            return Err(invalid(
                tree,
                &place("group"),
                format!(
                    "flow `{name}`: its consumer group `{}` is that of {other}",
                    flow.group
                ),
            )
            .hint("give each its own: members of one group take each other's partitions"));
        }
        if !source.has_positions && flow.keep == Keep::Latest {
            return Err(invalid(
                tree,
                &place("keep"),
                format!(
                    "flow `{name}`: `keep: latest` needs a log position, which {}'s events do not carry",
                    instance.kind.title
                ),
            )
            .hint("use `keep: every`"));
        }
        if flow.has_source_columns() && flow.to.is_none() && !source.has_columns {
            let what = format!(
                "flow `{name}`: {} has documents, whose fields need columns",
                instance.kind.title
            );
            return Err(invalid(tree, &["flows", name], what)
                .hint(format!(
                    "name them under `columns`, such as `_id: String`; or take the flow out, and `cargo xtask flow add {}` \
                     writes it with the columns that a sample of the documents has",
                    flow.table
                )));
        }
        let types = column_types(profile, flow);
        columns::check(tree, name, flow, source, types)?;
        canary(tree, name, flow, source, types)?;
    }
    Ok(())
}

fn connector<'a>(
    tree: &Node,
    profile: &'a Profile,
    name: &str,
    flow: &Flow,
) -> Result<&'a Connector> {
    profile.connectors.get(&flow.connector).ok_or_else(|| {
        let error = invalid(
            tree,
            &["flows", name, "connector"],
            format!("flow `{name}`: there is no connector {:?}", flow.connector),
        );
        let known = profile.connectors.keys().map(String::as_str);
        error.meant(&flow.connector, known, "define it under `connectors`")
    })
}

/// Whose names in ClickHouse a flow of this name would take, if anybody's. Its tables are called
/// `<flow>_queue`, `_bronze`, `_silver`, `_errors` and `_truncates`, its views `mv_<flow>`, `mv_<flow>_queue`,
/// `mv_<flow>_errors`, `mv_<flow>_truncates` and `mv_<flow>_truncated`.
fn taken_names(profile: &Profile, name: &str) -> Option<String> {
    if name.starts_with("mv_") {
        return Some("another flow's views".to_owned());
    }
    ["_queue", "_errors", "_truncates", "_truncated"]
        .iter()
        .filter_map(|suffix| name.strip_suffix(suffix))
        .find(|other| profile.flows.contains_key(*other))
        .map(|other| format!("flow `{other}`"))
}

/// The types that a flow's columns may have: those of what reads its topic; none where a sink writes it.
fn column_types(profile: &Profile, flow: &Flow) -> Option<&'static ColumnTypes> {
    let reader = profile.reader().filter(|_| flow.to.is_none())?;
    reader.kind.reads_topics
}

/// The row that is sent through: it needs a column whose change can be seen at the target, and at most
/// sources a key that takes its negative number.
fn canary(
    tree: &Node,
    name: &str,
    flow: &Flow,
    source: &Source,
    types: Option<&'static ColumnTypes>,
) -> Result<()> {
    let Some(canary) = &flow.canary else {
        return Ok(());
    };
    for (column, value) in canary {
        let path = ["flows", name, "canary", column];
        key_obeys(tree, &path, &WORD)?;
        if value.chars().any(char::is_control) {
            return Err(invalid(
                tree,
                &path,
                format!("flow `{name}`: its canary's `{column}` has control characters"),
            ));
        }
        if flow.key.first() == Some(column) {
            return Err(invalid(
                tree,
                &path,
                format!("flow `{name}`: its canary's key `{column}` is given by the tool"),
            )
            .hint("leave it out"));
        }
    }
    let Some(seen) = canary.keys().next() else {
        return Err(invalid(
            tree,
            &["flows", name, "canary"],
            format!("flow `{name}`: a canary needs at least one text column"),
        )
        .hint("leave `canary` out for a flow without one"));
    };
    if flow.key.contains(seen) {
        let path = ["flows", name, "canary", seen];
        let what = format!(
            "flow `{name}`: its canary's first column `{seen}` is changed to prove updates, and is of the key"
        );
        return Err(
            invalid(tree, &path, what).hint("begin it with a text column that is not of the key")
        );
    }
    let Some((_, rule)) = flow.arrival(seen) else {
        let path = ["flows", name, "canary", seen];
        let what = match flow.has_source_columns() {
            true => "is left out",
            false => "is not among its columns",
        };
        let what = format!("flow `{name}`: its canary's first column `{seen}` {what}");
        let error = invalid(tree, &path, what);
        return Err(match flow.has_source_columns() {
            true => error.hint("begin it with a text column that arrives"),
            false => columns::among(error, seen, flow),
        });
    };
    if let (Some(kind), Some(types)) = (rule.and_then(|it| it.kind.as_deref()), types)
        && !(types.is_text)(kind)
    {
        let path = ["flows", name, "canary", seen];
        let what = format!(
            "flow `{name}`: its canary's first column `{seen}` is {kind}, and a text is needed"
        );
        return Err(invalid(tree, &path, what));
    }
    if source.numbers_canaries
        && let Some(key) = flow.key.first()
        && let Some((_, Some(rule))) = flow.arrival(key)
        && let (Some(kind), Some(types)) = (&rule.kind, types)
        && !(types.is_canary_key)(kind)
    {
        let what = format!(
            "flow `{name}`: a canary's key is a negative number, a text or a UUID, and `{key}` is {kind}"
        );
        return Err(invalid(tree, &["flows", name, "canary"], what)
            .hint("make it a signed integer of 32 bits or more, or leave `canary` out"));
    }
    Ok(())
}
