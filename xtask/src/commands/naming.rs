//! An environment's name: its profile's, the file's stem. Where another file of that name has an environment here,
//! a part that follows from the full path stands behind it, so that two profiles never share one.

use std::path::{Path, PathBuf};

use super::context;
use crate::error::Result;
use crate::platform::host::Dirs;
use crate::platform::host::artifacts::lockfile::digest;
use crate::profile;

/// How many digits of the path's digest stand in a name.
const DIGITS: usize = 6;

/// A profile's environment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Its name.
    pub(super) name: String,
    /// The profile that has the plain name, where that is another.
    pub(super) taken_by: Option<PathBuf>,
}

impl Named {
    /// Says why the name is not the plain one.
    pub(super) fn why(&self) -> Option<String> {
        let other = self.taken_by.as_ref()?.display();
        let name = &self.name;
        Some(format!(
            "this profile's environment is `{name}`: one of the same file name belongs to {other}"
        ))
    }
}

/// The environment of a profile that a command line names.
///
/// # Errors
/// There is no such profile, or what is remembered of an environment cannot be read.
pub(super) fn of(profile: &str) -> Result<Named> {
    let root = context::root();
    let stem = profile::name(&root, profile)?;
    let path = identity(path(&root, profile)?);
    let own = own_name(&stem, &path);
    let owner = context::made_by(&Dirs::of(&stem)?)
        // What is damaged is reported where it is read.
        .unwrap_or_default()
        .and_then(|made_by| self::path(&root, &made_by).ok())
        .map(identity);
    let has_own = Dirs::of(&own)?.exists();
    Ok(choose(&stem, own, &path, owner, has_own))
}

/// A profile's full path.
///
/// # Errors
/// There is no such profile.
pub(super) fn path(root: &Path, profile: &str) -> Result<PathBuf> {
    let found = profile::find(root, profile)?;
    Ok(found.canonicalize().unwrap_or(found))
}

/// What tells a profile's file from others of its name: the full path. The tool's own profiles are the same in every
/// checkout: they lie beside the defaults.
fn identity(path: PathBuf) -> PathBuf {
    let folder = path.parent();
    let is_the_tools = folder.is_some_and(|it| it.join("defaults.yaml").is_file());
    match (is_the_tools, path.file_name()) {
        (true, Some(file)) => Path::new("profiles").join(file),
        _ => path,
    }
}

fn own_name(stem: &str, path: &Path) -> String {
    let digest = digest(&path.to_string_lossy());
    format!("{stem}-{}", digest.get(..DIGITS).unwrap_or_default())
}

/// `owner` is the profile, if its file is still there, that has the environment of the plain name.
fn choose(stem: &str, own: String, path: &Path, owner: Option<PathBuf>, has_own: bool) -> Named {
    let taken_by = owner.filter(|owner| owner != path);
    let name = match has_own || taken_by.is_some() {
        true => own,
        false => stem.to_owned(),
    };
    Named { name, taken_by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_own_profiles_are_the_same_in_every_checkout() {
        let dir = tempfile::tempdir().expect("a directory");
        let profile = dir.path().join("clickhouse.yaml");
        assert_eq!(identity(profile.clone()), profile);
        std::fs::write(dir.path().join("defaults.yaml"), "").expect("written");
        assert_eq!(identity(profile), Path::new("profiles/clickhouse.yaml"));
    }

    #[test]
    fn two_files_of_one_name_have_two_environments() {
        let (here, there) = (Path::new("/a/shop.yaml"), Path::new("/b/shop.yaml"));
        let named = |path: &Path, owner: Option<&Path>, has_own| {
            let own = own_name("shop", path);
            choose("shop", own, path, owner.map(Path::to_owned), has_own)
        };
        assert_eq!(named(here, None, false).name, "shop");
        assert_eq!(named(here, Some(here), false).name, "shop");
        let other = named(there, Some(here), false);
        assert_eq!(other.name.len(), "shop-".len() + DIGITS);
        assert!(other.why().is_some_and(|why| why.contains("/a/shop.yaml")));
        // It keeps its name when the other one is gone.
        let alone = named(there, None, true);
        assert_eq!((&alone.name, alone.why()), (&other.name, None));
        assert_ne!(own_name("shop", here), own_name("shop", there));
    }
}
