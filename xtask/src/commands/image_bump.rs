//! `image-bump`: the committed tags of the image, brought up to date or checked.

use std::process::ExitCode;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::{context, stdout};
use crate::cli::{Global, ImageBump};
use crate::components;
use crate::environment::{Environment, Secrets};
use crate::error::{Exit, Result};
use crate::image::tags::{self, Change};
use crate::platform::Platform;
use crate::printed;
use crate::profile::schema::PlatformChoice;
use crate::profile::{self, Loaded, Selection};
use crate::up::image;

pub(super) fn run(global: &Global, args: ImageBump) -> Result<ExitCode> {
    let changes = compare()?;
    let stale = changes.iter().any(Change::is_stale);
    if !args.check {
        write(&changes)?;
    }
    let object = json!({
        "file": tags::FILE,
        "stale": stale,
        "written": stale && !args.check,
        "tags": changes.iter().map(to_json).collect::<Vec<_>>(),
    });
    let done = stdout::answer(global.output, object, || {
        let lines = changes.iter().map(|change| change.describe() + "\n");
        lines.collect()
    })?;
    if !(args.check && stale) {
        return Ok(done);
    }
    if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
        // Commands to the runner are read from either stream; results have the other one.
        for annotation in changes.iter().filter_map(Change::annotation) {
            eprintln!("{annotation}");
        }
    }
    let next = printed::ours("cargo xtask image-bump");
    eprintln!("{} is stale; next: {next}", tags::FILE);
    Ok(Exit::Differences.into())
}

/// The committed tags beside those that follow from what goes into the image now.
pub(super) fn compare() -> Result<Vec<Change>> {
    Ok(tags::compare(&tags::read(&context::root())?, &computed()?))
}

/// Commits the new tags to the file.
pub(super) fn write(changes: &[Change]) -> Result<()> {
    let tags = changes
        .iter()
        .filter_map(|change| Some((change.profile.clone(), change.new.clone()?)));
    tags::write(&context::root(), &tags.collect()).map(drop)
}

fn to_json(change: &Change) -> Value {
    json!({
        "profile": change.profile,
        "old": change.old.as_ref().map(|(tag, _)| tag),
        "line": change.old.as_ref().map(|(_, line)| line),
        "new": change.new,
        "stale": change.is_stale(),
    })
}

/// The tag of each profile of the repository that has an image built, as it is committed and not as
/// this command line overrides it.
fn computed() -> Result<IndexMap<String, String>> {
    let root = context::root();
    let mut tags = IndexMap::new();
    for name in profile::names(&root) {
        let selection = Selection {
            profile: name.clone(),
            set: Vec::new(),
        };
        let loaded = components::load(&root, &selection)?;
        if loaded.profile.platform == PlatformChoice::Host || loaded.profile.connect.image.is_some()
        {
            continue;
        }
        let recipe = image::recipe(&on_cluster(loaded)?)?;
        tags.insert(name, recipe.inputs()?.tag());
    }
    Ok(tags)
}

/// The profile on the kind of cluster that it is for.
pub(super) fn on_cluster(loaded: Loaded) -> Result<Environment> {
    let platform = match loaded.profile.platform {
        PlatformChoice::Kubernetes => Platform::Kubernetes,
        _ => Platform::Kind,
    };
    Environment::new(&context::root(), loaded, platform, Secrets::Existing)
}
