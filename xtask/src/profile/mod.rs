//! Profiles: load, merge, validate. The only YAML reader besides `render`.
//!
//! Layers from bottom to top: `profiles/versions.yaml` (as `versions`), `profiles/defaults.yaml`,
//! the profiles named by `extends`, the profile itself, `--set`.

mod check;
mod decode;
pub mod node;
mod parse;
pub mod schema;

use std::path::{Path, PathBuf};

pub(crate) use check::all_ports;
pub use node::{Node, Value};
pub use schema::Profile;

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
    let name = stem(&path);
    let mut tree = Node::empty("profiles/versions.yaml");
    tree.set(
        &["versions"],
        read(root, &root.join("profiles/versions.yaml"), None)?,
    );
    tree = node::merge(
        tree,
        read(root, &root.join("profiles/defaults.yaml"), None)?,
    );
    tree = node::merge(tree, chain(root, &path)?);
    for set in &selection.set {
        apply_set(&mut tree, set)?;
    }
    let profile: Profile = decode::decode(&tree)?;
    check::check(&tree, &profile)?;
    Ok(Loaded {
        name,
        tree,
        profile,
    })
}

/// The name of a profile, which is its file's stem. The file need not be valid.
///
/// # Errors
/// There is no such profile.
pub fn name(root: &Path, profile: &str) -> Result<String> {
    find(root, profile).map(|path| stem(&path))
}

/// The names of the profiles in the repository.
pub fn names(root: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root.join("profiles"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .filter(|name| name != "defaults" && name != "versions")
        .collect();
    names.sort();
    names
}

fn is_path(name: &str) -> bool {
    name.contains(['/', '\\']) || Path::new(name).extension().is_some()
}

fn find(root: &Path, name: &str) -> Result<PathBuf> {
    let path = if is_path(name) {
        PathBuf::from(name)
    } else {
        root.join("profiles").join(format!("{name}.yaml"))
    };
    if path.is_file() && !(["defaults", "versions"].contains(&name)) {
        return Ok(path);
    }
    let known = names(root);
    let error = Error::new(Code::ProfileNotFound, format!("no profile `{name}`"));
    Err(
        match nearest(name, known.iter().map(String::as_str)).filter(|_| !is_path(name)) {
            Some(near) => error.hint(format!("did you mean `--profile {near}`?")),
            None if is_path(name) => error.hint(format!("there is no file {}", path.display())),
            None => error.hint(format!(
                "profiles here: {}; or give a path",
                known.join(", ")
            )),
        },
    )
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
    let tree = parse::parse(&shown.display().to_string(), &text)?;
    match tree.value {
        Value::Map(_) => Ok(tree),
        other => Err(Error::new(
            Code::ProfileInvalid,
            format!("a profile is a map, not {}", other.kind()),
        )
        .at(tree.origin)),
    }
}

/// The profile with everything it extends, merged.
fn chain(root: &Path, path: &Path) -> Result<Node> {
    let mut layers = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut next = Some((path.to_owned(), None::<Location>));
    while let Some((path, from)) = next.take() {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if seen.contains(&real) {
            let steps: Vec<String> = seen
                .iter()
                .chain(std::iter::once(&real))
                .map(|path| stem(path))
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
    Ok(layers
        .into_iter()
        .rev()
        .reduce(node::merge)
        .unwrap_or_else(|| Node::empty("profile")))
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn apply_set(tree: &mut Node, set: &str) -> Result<()> {
    let Some((key, value)) = set.split_once('=') else {
        return Err(Error::new(Code::Usage, format!("`--set {set}` has no `=`"))
            .hint("write it as `--set kafka.port=9192`"));
    };
    let origin = Location {
        file: format!("--set {key}"),
        line: 0,
        column: 0,
    };
    let path: Vec<&str> = key.split('.').collect();
    if path.iter().any(|part| part.is_empty()) {
        return Err(Error::new(
            Code::Usage,
            format!("`--set {set}`: `{key}` is not a path of keys"),
        )
        .hint("write it as `--set kafka.port=9192`"));
    }
    // Through the parser, so that `[a, b]` and `{a: 1}` work as they would in a file.
    let mut node = match parse::parse(&origin.file, value) {
        Ok(node) if !value.trim().is_empty() => node,
        Ok(_) => Node {
            origin: origin.clone(),
            value: Value::String(String::new()),
        },
        Err(error) => return Err(error.at(origin)),
    };
    node.origin = origin;
    tree.set(&path, node);
    Ok(())
}
