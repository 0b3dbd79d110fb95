//! Profiles: load, merge, validate. The crate `cdc-profile` reads the YAML and merges it.
//!
//! Layers from bottom to top: `profiles/versions.yaml` (as `versions`), `profiles/defaults.yaml`,
//! the profiles named by `extends`, the profile itself, `--set`.

pub mod advisories;
pub mod backbone;
pub(crate) mod check;
pub mod columns;
pub mod combinations;
pub mod component;
pub mod kubernetes;
pub mod logins;
mod outbox;
pub mod parts;
pub mod pins;
#[cfg(test)]
mod properties;
mod removal;
pub mod rules;
pub mod schema;
pub mod ssl;
pub mod topics;

use std::path::{Path, PathBuf};

pub use cdc_profile::{node, version};
pub use check::{OWN_COLUMNS, all_ports};
pub use node::{Node, Value};
pub use rules::{is_secret, names_secret};
pub use schema::Profile;

use self::component::{Instance, Named, Types};
use self::removal::Removed;
use cdc_profile::{decode, parse};

use crate::error::{Code, Error, Location, Result, nearest};

/// The tool's own name: at Kafka its user, on clusters who made an object.
pub const TOOL_USER: &str = "cdc-xtask";

/// A loaded profile: the merged tree with origins, and what it means.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The profile's name: its file's stem.
    pub name: String,
    /// The merged tree.
    pub tree: Node,
    /// The tree decoded and checked.
    pub profile: Profile,
}

impl Loaded {
    /// The same with every secret masked, for output.
    ///
    /// # Errors
    /// None that loading did not have.
    pub fn masked(mut self) -> Result<Self> {
        fn mask(path: &str, node: &mut Node) {
            if let Value::Map(map) = &mut node.value {
                for (key, child) in map {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    mask(&path, child);
                }
                return;
            }
            // A reference that a config provider resolves is no secret.
            let text = node.scalar_text();
            let reference =
                path.contains(".config.") && text.starts_with("${") && text.ends_with('}');
            if is_secret(path) && !text.is_empty() && !reference {
                *node = Node::new(node.origin.clone(), Value::String("********".into()));
            }
        }
        mask("", &mut self.tree);
        self.profile = decoded(&self.tree, self.profile.types)?;
        Ok(self)
    }
}

/// What a command line says about the profile.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// A name in `profiles/`, or a path to a YAML file.
    pub profile: String,
    /// `key.path=value` overrides.
    pub set: Vec<String>,
}

/// Loads, merges and checks the selected profile.
///
/// # Errors
/// Whatever is wrong with the files or the overrides, at its place, with exit code 3.
pub fn load(root: &Path, selection: &Selection, types: Types) -> Result<Loaded> {
    let path = find(root, &selection.profile)?;
    let name = stem(&path)?;
    let below = defaults(root)?;
    let mut removed = Removed::default();
    let mut tree = below.clone();
    for layer in chain(root, &path)? {
        let before = removal::names(&tree);
        tree = lay(tree, layer);
        removed.take(&mut tree, &before)?;
    }
    for set in &selection.set {
        let before = removal::names(&tree);
        apply_set(&mut tree, set, types)?;
        removed.take(&mut tree, &before)?;
    }
    removed.check(&tree)?;
    named(&mut tree, &below, types)?;
    let profile = decoded(&tree, types)?;
    check::check(&tree, &profile, Some(&root.join("manifests")))?;
    Ok(Loaded {
        name,
        tree,
        profile,
    })
}

/// Lays what a profile says of its named components on the defaults of their types.
fn named(tree: &mut Node, below: &Node, types: Types) -> Result<()> {
    let Some(Value::Map(named)) = tree.get("components").map(|node| node.value.clone()) else {
        return Ok(());
    };
    for (name, own) in named {
        if own.value == Value::Null {
            continue;
        }
        let kind = kind(&name, &own, types)?;
        let base = below.at([kind.name]).cloned();
        let base = base.unwrap_or_else(|| Node::empty("profiles/defaults.yaml"));
        tree.set(&["components", &name], node::merge(base, own));
    }
    Ok(())
}

/// The type of a component that a profile names.
fn kind(name: &str, own: &Node, types: Types) -> Result<&'static component::Type> {
    let given = own.get("type");
    // All others may ask for their settings.
    let single = [backbone::KAFKA.name, backbone::CONNECT.name];
    let wanted = given.map_or_else(|| name.to_owned(), Node::scalar_text);
    if single.contains(&wanted.as_str()) {
        let what = format!("`components.{name}`: a profile has one {wanted}, under its own name");
        return Err(Error::new(Code::ProfileInvalid, what)
            .at(own.origin.clone())
            .hint(format!("give its settings under `{wanted}`")));
    }
    let known = types.iter().copied();
    let is_taken = single.contains(&name) || types.iter().any(|kind| kind.name == name);
    if is_taken && wanted != name {
        let what = format!("`components.{name}`: a {wanted} cannot be called `{name}`");
        return Err(Error::new(Code::ProfileInvalid, what)
            .at(own.origin.clone())
            .hint("choose another name: that of a type is for a component of the type"));
    }
    known
        .clone()
        .find(|kind| kind.name == wanted)
        .ok_or_else(|| {
            let error = match given {
                Some(node) => Error::new(
                    Code::ProfileInvalid,
                    format!("`components.{name}.type`: there is no type `{wanted}`"),
                )
                .at(node.origin.clone()),
                None => Error::new(
                    Code::ProfileInvalid,
                    format!("`components.{name}`: `{name}` is no type, and no `type` is given"),
                )
                .at(own.origin.clone()),
            };
            let names: Vec<&str> = known.map(|kind| kind.name).collect();
            error.meant(
                &wanted,
                names.iter().copied(),
                format!("types: {}", names.join(", ")),
            )
        })
}

/// The keys of a profile that are no component's.
const KEYS: [&str; 8] = [
    "platform",
    "versions",
    "kubernetes",
    "kind",
    "components",
    "connectors",
    "flows",
    "projections",
];

/// Refuses a key that is none of the known ones.
fn known_keys<'a>(node: &Node, path: &str, known: impl Iterator<Item = &'a str>) -> Result<()> {
    let known: Vec<&str> = known.collect();
    let Value::Map(map) = &node.value else {
        return Ok(());
    };
    let Some((key, node)) = map.iter().find(|(key, _)| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let within = match path {
        "" => String::new(),
        path => format!(" in `{path}`"),
    };
    let message = format!("unknown key `{key}`{within}");
    let error = Error::new(Code::ProfileInvalid, message);
    Err(error
        .meant(
            key,
            known.iter().copied(),
            format!("known here: `{}`", known.join("`, `")),
        )
        .at(node.origin.clone()))
}

/// Decodes a merged tree.
fn decoded(tree: &Node, types: Types) -> Result<Profile> {
    let names = || types.iter().map(|kind| kind.name);
    known_keys(tree, "", KEYS.into_iter().chain(names()))?;
    let mut backbone = tree.clone();
    if let Value::Map(map) = &mut backbone.value {
        let own = [backbone::KAFKA.name, backbone::CONNECT.name];
        let elsewhere = ["components", VERSIONS];
        map.retain(|key, _| {
            let key = key.as_str();
            own.contains(&key) || (KEYS.contains(&key) && !elsewhere.contains(&key))
        });
    }
    let sinks = split_sinks(&mut backbone);
    written_flows(&mut backbone);
    let mut profile: Profile = decode::decode(&backbone)?;
    profile.types = types;
    profile.versions = versions(tree, types)?;
    for (name, node) in &sinks {
        let sink = decode::decode_at(node, &format!("connectors.{name}"))?;
        profile.sinks.insert(name.clone(), sink);
    }
    if let Some(ports) = tree.at(["kind", "node_ports"]) {
        let with_port = types.iter().filter(|kind| kind.has_node_port);
        let known = std::iter::once(schema::WEB).chain(with_port.map(|kind| kind.name));
        known_keys(ports, "kind.node_ports", known)?;
    }
    profile.kafka.set_name(backbone::KAFKA.name);
    profile.connect.set_name(backbone::CONNECT.name);
    add_components(&mut profile, tree, types)?;
    Ok(profile)
}

const VERSIONS: &str = "versions";

/// Reads the pins: those of the parts that there are, and each of them but a plugin's, which may be
/// Debezium's.
fn versions(tree: &Node, types: Types) -> Result<schema::Versions> {
    const PLUGINS: &str = "plugins";
    let pinned = || parts::parts(types).filter(|part| part.form.is_some());
    let alone = || pinned().filter(|part| part.plugin_name().is_none());
    let empty = Node::empty("profiles/versions.yaml");
    let mut own = tree.get(VERSIONS).unwrap_or(&empty).clone();
    let known = alone().map(|part| part.key).chain([PLUGINS]);
    known_keys(&own, VERSIONS, known)?;
    let mut plugins: Option<Node> = None;
    if let Value::Map(map) = &mut own.value {
        plugins = map.shift_remove(PLUGINS);
    }
    let mut all: indexmap::IndexMap<String, String> = decode::decode_at(&own, VERSIONS)?;
    if let Some(part) = alone().find(|part| !all.contains_key(part.key)) {
        let what = format!("`{VERSIONS}`: missing field `{}`", part.key);
        return Err(Error::new(Code::ProfileInvalid, what).at(own.origin.clone()));
    }
    if let Some(plugins) = &plugins {
        let path = format!("{VERSIONS}.{PLUGINS}");
        known_keys(
            plugins,
            &path,
            pinned().filter_map(|part| part.plugin_name()),
        )?;
        let given: indexmap::IndexMap<String, Option<String>> = decode::decode_at(plugins, &path)?;
        let given = given
            .into_iter()
            .filter_map(|(name, version)| Some((name, version?)));
        all.extend(given.map(|(name, version)| (format!("{PLUGINS}.{name}"), version)));
    }
    Ok(schema::Versions(all))
}

/// Takes the connectors out that name a `sink`.
fn split_sinks(tree: &mut Node) -> indexmap::IndexMap<String, Node> {
    let mut sinks = indexmap::IndexMap::new();
    if let Value::Map(map) = &mut tree.value
        && let Some(connectors) = map.get_mut("connectors")
        && let Value::Map(connectors) = &mut connectors.value
    {
        connectors.retain(|name, node| {
            let is_sink = node.get("sink").is_some() && node.get("source").is_none();
            if is_sink {
                sinks.insert(name.clone(), node.clone());
            }
            !is_sink
        });
    }
    sinks
}

/// Gives flows that a sink writes what they need not say: it keeps the newest row, reads in Connect's own
/// group, and makes columns by the records' schemas.
fn written_flows(tree: &mut Node) {
    let Value::Map(map) = &mut tree.value else {
        return;
    };
    let Some(Value::Map(flows)) = map.get_mut("flows").map(|node| &mut node.value) else {
        return;
    };
    for flow in flows.values_mut() {
        let Some(to) = flow.get("to").map(Node::scalar_text) else {
            continue;
        };
        let origin = flow.origin.clone();
        let text = |value: &str| Node::new(origin.clone(), Value::String(value.into()));
        let columns = Node::new(origin.clone(), Value::Map(indexmap::IndexMap::new()));
        let group = text(&topics::sink_group(&to));
        for (key, node) in [
            ("keep", text("latest")),
            ("group", group),
            ("columns", columns),
        ] {
            if flow.get(key).is_none() {
                flow.set(&[key], node);
            }
        }
    }
}

/// Adds the components of a profile: of each type the one without a name of its own, where it is there, and
/// those that have names.
fn add_components(profile: &mut Profile, tree: &Node, types: Types) -> Result<()> {
    let instance = |name: &str, kind: &'static component::Type, node: &Node, path: String| {
        Ok::<_, Error>(Instance {
            name: name.to_owned(),
            kind,
            spec: (kind.decode)(node, name, &path)?,
            path,
        })
    };
    let named = tree.get("components");
    for kind in types {
        let Some(node) = tree.get(kind.name) else {
            continue;
        };
        let is_named = named.is_some_and(|named| named.get(kind.name).is_some());
        if node.value == Value::Null || is_named {
            continue;
        }
        let own = instance(kind.name, kind, node, kind.name.to_owned())?;
        let is_read = |connector: &schema::Connector| connector.source == kind.name;
        let is_written = profile.sinks.values().any(|sink| sink.sink == kind.name);
        let is_there = match kind.source {
            Some(_) => is_written || profile.connectors.values().any(is_read),
            // What moves changes is there where something has it do so.
            None if kind.name == backbone::CONNECT.name => {
                let any = !profile.connectors.is_empty() || !profile.sinks.is_empty();
                any || !profile.connect.plugins.is_empty()
            }
            None => true,
        };
        match is_there {
            true => drop(profile.components.insert(kind.name.to_owned(), own)),
            false => profile.idle.push(own),
        }
    }
    if let Some(Value::Map(named)) = named.map(|node| &node.value) {
        for (name, node) in named {
            if node.value == Value::Null {
                let what = format!("`components.{name}` has no settings");
                return Err(Error::new(Code::ProfileInvalid, what)
                    .at(node.origin.clone())
                    .hint(format!("leave the line out, or write `{name}: {{}}`")));
            }
            let mut own = node.clone();
            let kind = self::kind(name, &own, types)?;
            if let Value::Map(map) = &mut own.value {
                map.shift_remove("type");
            }
            let own = instance(name, kind, &own, format!("components.{name}"))?;
            profile.components.insert(name.clone(), own);
        }
    }
    Ok(())
}

/// Lays a file on what is below it. Who sets Debezium's version means all plugins: those that have a
/// version of their own below lose it.
fn lay(mut below: Node, over: Node) -> Node {
    if let Some(debezium) = over.at(DEBEZIUM) {
        let origin = debezium.origin.clone();
        forget_plugins(&mut below, &origin);
    }
    node::merge(below, over)
}

const DEBEZIUM: [&str; 2] = [VERSIONS, parts::DEBEZIUM.key];

fn forget_plugins(tree: &mut Node, origin: &Location) {
    let plugins = tree.at(["versions", "plugins"]).map(|node| &node.value);
    let Some(Value::Map(plugins)) = plugins else {
        return;
    };
    let names: Vec<String> = plugins.keys().cloned().collect();
    for name in names {
        let nothing = Node::new(origin.clone(), Value::Null);
        tree.set(&["versions", "plugins", &name], nothing);
    }
}

/// The layers below every profile.
///
/// # Errors
/// Their files cannot be read or are not YAML.
pub fn defaults(root: &Path) -> Result<Node> {
    let mut tree = Node::empty("profiles/versions.yaml");
    let versions = read(root, &root.join("profiles/versions.yaml"), None)?;
    tree.set(&["versions"], versions);
    let defaults = read(root, &root.join("profiles/defaults.yaml"), None)?;
    Ok(node::merge(tree, defaults))
}

/// Reads and checks a profile's text above the given layers. `extends` is not followed.
///
/// # Errors
/// See [`load`].
pub fn check_text(defaults: &Node, file: &str, text: &str, types: Types) -> Result<Profile> {
    let mut tree = map(parse::parse(file, text)?)?;
    if let Value::Map(map) = &mut tree.value {
        map.shift_remove("extends");
    }
    let mut tree = lay(defaults.clone(), tree);
    named(&mut tree, defaults, types)?;
    let profile = decoded(&tree, types)?;
    check::check(&tree, &profile, None)?;
    Ok(profile)
}

/// The names of a directory's files, sorted.
fn listed(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The name of a profile, which is its file's stem. The file need not be valid.
///
/// # Errors
/// There is no such profile.
pub fn name(root: &Path, profile: &str) -> Result<String> {
    stem(&find(root, profile)?)
}

/// The names of the profiles in the repository.
pub fn names(root: &Path) -> Vec<String> {
    listed(&root.join("profiles"))
        .iter()
        .filter_map(|file| file.strip_suffix(".yaml"))
        .filter(|name| !LAYERS.contains(name))
        .map(str::to_owned)
        .collect()
}

/// Files in `profiles/` that are no profiles.
const LAYERS: [&str; 3] = ["advisories", "defaults", "versions"];

fn is_path(name: &str) -> bool {
    name.contains(['/', '\\']) || Path::new(name).extension().is_some()
}

/// The file of a profile, by its name in `profiles/` or its path.
///
/// # Errors
/// There is none.
pub fn find(root: &Path, name: &str) -> Result<PathBuf> {
    let path = if is_path(name) {
        PathBuf::from(name)
    } else {
        root.join("profiles").join(format!("{name}.yaml"))
    };
    if path.is_file() && !LAYERS.contains(&name) {
        return Ok(path);
    }
    let error = Error::new(Code::ProfileNotFound, format!("no profile `{name}`"));
    if is_path(name) {
        let known = path.parent().map(listed).unwrap_or_default();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(
            match nearest(&file, known.iter().map(String::as_str)).filter(|near| *near != file) {
                Some(near) => error.hint(format!(
                    "did you mean `{}`?",
                    path.with_file_name(near).display()
                )),
                None => error.hint(format!("there is no file {}", path.display())),
            },
        );
    }
    let known = names(root);
    Err(error.meant(
        name,
        known.iter().map(String::as_str),
        format!("profiles here: {}; or give a path", known.join(", ")),
    ))
}

/// Reads a file; `from` is the place that named it.
fn read(root: &Path, path: &Path, from: Option<&Location>) -> Result<Node> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        let error = Error::new(
            Code::ProfileNotFound,
            format!("cannot read {}: {source}", path.display()),
        );
        match from {
            Some(at) => error.at(at.clone()),
            None => error,
        }
    })?;
    let shown = path.strip_prefix(root).unwrap_or(path);
    map(parse::parse(&shown.display().to_string(), &text)?)
}

/// A whole file is a map.
fn map(tree: Node) -> Result<Node> {
    match tree.value {
        Value::Map(_) => Ok(tree),
        other => Err(Error::new(
            Code::ProfileInvalid,
            format!("a profile is a map, not {}", other.kind()),
        )
        .at(tree.origin)),
    }
}

/// The profile with everything it extends, from bottom to top.
fn chain(root: &Path, path: &Path) -> Result<Vec<Node>> {
    let mut layers = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut next = Some((path.to_owned(), None::<Location>));
    while let Some((path, from)) = next.take() {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if seen.contains(&real) {
            let steps: Vec<String> = seen
                .iter()
                .chain(std::iter::once(&real))
                .map(|path| {
                    let name = path.file_stem().unwrap_or(path.as_os_str());
                    name.to_string_lossy().into_owned()
                })
                .collect();
            let error = Error::new(
                Code::ProfileInvalid,
                format!("`extends` goes round in a circle: {}", steps.join(" -> ")),
            );
            return Err(match from {
                Some(at) => error.at(at),
                None => error,
            });
        }
        let mut layer = read(root, &path, from.as_ref())?;
        seen.push(real);
        if let Value::Map(map) = &mut layer.value
            && let Some(parent) = map.shift_remove("extends")
        {
            let Value::String(name) = &parent.value else {
                return Err(Error::new(
                    Code::ProfileInvalid,
                    format!("`extends` names a profile, found {}", parent.value.kind()),
                )
                .at(parent.origin));
            };
            // A path is relative to the file that names it.
            let found = if is_path(name) {
                let file = path.parent().unwrap_or(Path::new(".")).join(name);
                find(root, &file.display().to_string())
            } else {
                find(root, name)
            };
            let found = found.map_err(|error| error.at(parent.origin.clone()))?;
            next = Some((found, Some(parent.origin)));
        }
        layers.push(layer);
    }
    layers.reverse();
    Ok(layers)
}

/// A profile's name. It names a directory and stands in messages.
fn stem(path: &Path) -> Result<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if rules::is_name(&stem) {
        return Ok(stem.into_owned());
    }
    Err(Error::new(
        Code::ProfileInvalid,
        format!("a profile cannot be called {stem:?}: its environment has the same name"),
    )
    .hint("letters, digits, `.`, `_` and `-`, beginning with none of `.` and `-`; rename the file"))
}

fn apply_set(tree: &mut Node, set: &str, types: Types) -> Result<()> {
    let example = "write it as `--set kafka.port=9192`";
    // Neither message repeats the value, which may be a password.
    let Some((key, value)) = set.split_once('=') else {
        let key = set.split([':', ' ']).next().unwrap_or_default();
        return Err(Error::new(Code::Usage, format!("`--set {key}` has no `=`")).hint(example));
    };
    let origin = Location {
        file: format!("--set {key}"),
        line: 0,
        column: 0,
    };
    let path = set_path(key, types);
    if path.iter().any(|part| part.is_empty()) {
        return Err(Error::new(
            Code::Usage,
            format!("`--set`: {key:?} is not a path of keys"),
        )
        .hint(example));
    }
    // Lists, maps and quoted texts are read as in a file; everything else is one plain scalar, so
    // that a password may hold `#` and `: `.
    let mut node = if value.trim_start().starts_with(['[', '{', '"', '\'']) {
        parse::parse(&origin.file, value).map_err(|error| error.at(origin.clone()))?
    } else if value.is_empty() {
        Node::new(origin.clone(), Value::String(String::new()))
    } else {
        parse::scalar(origin.clone(), value)
    };
    node.origin = origin;
    if path == DEBEZIUM {
        forget_plugins(tree, &node.origin);
    }
    tree.set(&path, node);
    Ok(())
}

/// The keys of a dotted path. Settings that are passed through have dots in their own names:
/// `kafka.config.num.partitions` is `num.partitions` of `kafka.config`.
fn set_path(key: &str, types: Types) -> Vec<&str> {
    let parts: Vec<&str> = key.split('.').collect();
    let settings = match parts.as_slice() {
        ["connectors" | "components", _, "config", _, ..] => 3,
        [name, "config", _, ..] if types.iter().any(|kind| kind.name == *name) => 2,
        _ => return parts,
    };
    key.splitn(settings + 1, '.').collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::TYPES;

    #[test]
    fn settings_keep_their_dots() {
        assert_eq!(set_path("kafka.port", TYPES), ["kafka", "port"]);
        assert_eq!(
            set_path("kafka.config.num.partitions", TYPES),
            ["kafka", "config", "num.partitions"]
        );
        assert_eq!(
            set_path("connectors.a.config.snapshot.mode", TYPES),
            ["connectors", "a", "config", "snapshot.mode"]
        );
        assert_eq!(set_path("kafka.config", TYPES), ["kafka", "config"]);
    }

    #[test]
    fn the_command_line_reads_plain_texts_as_they_stand() {
        for (value, want) in [
            ("5", Value::Int(5)),
            ("~", Value::Null),
            ("", Value::String(String::new())),
            ("a: b # c", Value::String("a: b # c".into())),
            ("#x", Value::String("#x".into())),
            ("*x", Value::String("*x".into())),
            ("'5'", Value::String("5".into())),
        ] {
            let mut tree = Node::empty("x");
            apply_set(&mut tree, &format!("a.b={value}"), TYPES).expect(value);
            assert_eq!(tree.at(["a", "b"]).expect("there").value, want, "{value}");
        }
    }

    #[test]
    fn debeziums_version_is_that_of_all_plugins_that_are_not_set_above_it() {
        let below = "versions: {debezium: 3.5.0.Final, plugins: {postgres: 3.7.0.Final, jdbc: ~}}";
        let over = |text: &str| {
            let below = parse::parse("below.yaml", below).expect("valid");
            lay(below, parse::parse("over.yaml", text).expect("valid"))
        };
        let own = |tree: &Node| {
            tree.at(["versions", "plugins", "postgres"])
                .map(Node::scalar_text)
        };
        assert_eq!(
            own(&over("versions: {kafka: 4.2.1}")).as_deref(),
            Some("3.7.0.Final")
        );
        let mut tree = over("versions: {debezium: 2.7.0.Final}");
        assert_eq!(own(&tree).as_deref(), Some(""));
        let tree_both = over("versions: {debezium: 3.6.0.Final, plugins: {postgres: 3.6.1.Final}}");
        assert_eq!(own(&tree_both).as_deref(), Some("3.6.1.Final"));
        apply_set(&mut tree, "versions.plugins.postgres=3.7.0.Final", TYPES).expect("a key");
        assert_eq!(own(&tree).as_deref(), Some("3.7.0.Final"));
        apply_set(&mut tree, "versions.debezium=3.5.0.Final", TYPES).expect("a key");
        assert_eq!(own(&tree).as_deref(), Some(""));
    }

    #[test]
    fn a_key_below_a_scalar_is_placed_at_who_asks_for_it() {
        let mut tree = parse::parse("p.yaml", "kafka: {port: 1}\n").expect("valid");
        apply_set(&mut tree, "kafka.port.x=2", TYPES).expect("a path");
        let port = tree.at(["kafka", "port"]).expect("there");
        assert_eq!(port.origin.to_string(), "--set kafka.port.x");
    }
}
