//! Profiles: load, merge, validate. The only YAML reader besides `render`.
//!
//! Layers from bottom to top: `profiles/versions.yaml` (as `versions`), `profiles/defaults.yaml`,
//! the profiles named by `extends`, the profile itself, `--set`.

pub mod advisories;
mod check;
pub mod combinations;
pub mod kubernetes;
pub mod logins;
pub mod pins;
#[cfg(test)]
mod properties;
pub mod schema;
pub mod size;
pub mod topics;
mod types;
mod values;

use std::path::{Path, PathBuf};

pub use cdc_profile::{node, version};
pub(crate) use check::all_ports;
pub use node::{Node, Value};
pub use schema::Profile;
pub(crate) use values::is_secret;

use cdc_profile::{decode, parse};

use crate::error::{Code, Error, Location, Result, nearest};

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
        self.profile = decode::decode(&self.tree)?;
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
pub fn load(root: &Path, selection: &Selection) -> Result<Loaded> {
    let path = find(root, &selection.profile)?;
    let name = stem(&path)?;
    let mut tree = chain(root, &path)?.into_iter().fold(defaults(root)?, lay);
    for set in &selection.set {
        apply_set(&mut tree, set)?;
    }
    let profile = mean(&tree)?;
    check_files(root, &tree, &profile)?;
    Ok(Loaded {
        name,
        tree,
        profile,
    })
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

const DEBEZIUM: [&str; 2] = ["versions", "debezium"];

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

/// What a merged tree means.
fn mean(tree: &Node) -> Result<Profile> {
    let profile: Profile = decode::decode(tree)?;
    check::check(tree, &profile)?;
    Ok(profile)
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
pub fn check_text(defaults: &Node, file: &str, text: &str) -> Result<Profile> {
    let mut tree = map(parse::parse(file, text)?)?;
    if let Value::Map(map) = &mut tree.value {
        map.shift_remove("extends");
    }
    mean(&lay(defaults.clone(), tree))
}

/// Checks that the files that a profile names are there.
fn check_files(root: &Path, tree: &Node, profile: &Profile) -> Result<()> {
    for (component, key, folder, files) in [
        ("postgres", "schema", "sql", &profile.postgres.schema),
        ("mongodb", "seed", "seed", &profile.mongodb.seed),
    ] {
        let folder = format!("manifests/{component}/{folder}");
        for file in files {
            let path = [component, key];
            values::obeys(tree, &path, file, &values::NAME)?;
            if root.join(&folder).join(file).is_file() {
                continue;
            }
            let known = listed(&root.join(&folder));
            let error = values::invalid(
                tree,
                &path,
                format!("`{component}.{key}`: there is no file {folder}/{file}"),
            );
            return Err(match nearest(file, known.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("files there: {}", known.join(", "))),
            });
        }
    }
    Ok(())
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

fn find(root: &Path, name: &str) -> Result<PathBuf> {
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
    Err(match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!(
            "profiles here: {}; or give a path",
            known.join(", ")
        )),
    })
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
    if values::is_name(&stem) {
        return Ok(stem.into_owned());
    }
    Err(Error::new(
        Code::ProfileInvalid,
        format!("a profile cannot be called {stem:?}: its environment has the same name"),
    )
    .hint("letters, digits, `.`, `_` and `-`, beginning with none of `.` and `-`; rename the file"))
}

fn apply_set(tree: &mut Node, set: &str) -> Result<()> {
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
    let path = set_path(key);
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
fn set_path(key: &str) -> Vec<&str> {
    let parts: Vec<&str> = key.split('.').collect();
    let settings = match parts.as_slice() {
        ["connectors", _, "config", _, ..] => 3,
        ["kafka" | "connect" | "postgres", "config", _, ..] => 2,
        _ => return parts,
    };
    key.splitn(settings + 1, '.').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_keep_their_dots() {
        assert_eq!(set_path("kafka.port"), ["kafka", "port"]);
        assert_eq!(
            set_path("kafka.config.num.partitions"),
            ["kafka", "config", "num.partitions"]
        );
        assert_eq!(
            set_path("connectors.a.config.snapshot.mode"),
            ["connectors", "a", "config", "snapshot.mode"]
        );
        assert_eq!(set_path("kafka.config"), ["kafka", "config"]);
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
            apply_set(&mut tree, &format!("a.b={value}")).expect(value);
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
        apply_set(&mut tree, "versions.plugins.postgres=3.7.0.Final").expect("a key");
        assert_eq!(own(&tree).as_deref(), Some("3.7.0.Final"));
        apply_set(&mut tree, "versions.debezium=3.5.0.Final").expect("a key");
        assert_eq!(own(&tree).as_deref(), Some(""));
    }

    #[test]
    fn a_key_below_a_scalar_is_placed_at_who_asks_for_it() {
        let mut tree = parse::parse("p.yaml", "kafka: {port: 1}\n").expect("valid");
        apply_set(&mut tree, "kafka.port.x=2").expect("a path");
        let port = tree.at(["kafka", "port"]).expect("there");
        assert_eq!(port.origin.to_string(), "--set kafka.port.x");
    }
}
