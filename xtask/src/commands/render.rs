//! `render`: everything that would be used on the chosen platform.
//!
//! On clusters the operators' own objects are left out: they come unchanged from their releases.

use std::path::Path;
use std::process::ExitCode;

use indexmap::IndexMap;
use serde_json::json;

use super::context;
use super::stdout::{self, say};
use crate::cli::{Global, Render};
use crate::components::{Stage, connect, of};
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::platform::Platform;
use crate::up;
use crate::up::cluster::{self, Show};

pub(super) async fn run(global: &Global, args: &Render) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?.masked()?;
    let platform = context::choose_platform(&loaded).await?.platform;
    let env = Environment::new(&context::root(), loaded, platform, Secrets::Existing)?;
    let files = files(&env)?;
    if let Some(dir) = &args.dir {
        for (name, text) in &files {
            write(&dir.join(name), text)?;
        }
        say!("{} files in {}", files.len(), dir.display());
        return Ok(ExitCode::SUCCESS);
    }
    let map: IndexMap<_, _> = files.iter().cloned().collect();
    stdout::answer(global.output, json!({ "files": map }), || {
        let files = files.iter();
        let texts = files.map(|(name, text)| format!("# ---- {name}\n{}\n\n", text.trim_end()));
        texts.collect()
    })
}

/// Every rendered text with a relative name. Passwords are references to files, never values.
fn files(env: &Environment) -> Result<Vec<(String, String)>> {
    let mut files = match env.platform {
        Platform::Host => processes(env)?,
        Platform::Kind => {
            let text = cluster::kind_config(&env.templates, &cluster::kind_spec(env))?;
            let mut files = vec![("kind/cluster.yaml".to_owned(), text)];
            files.extend(objects(env)?);
            files
        }
        Platform::Kubernetes => objects(env)?,
    };
    for component in env.profile.components.values().map(of) {
        let Some(target) = component.target() else {
            continue;
        };
        if component.stage() != Stage::Target {
            continue;
        }
        for (name, flow) in env.profile.flows_to(component.name()) {
            let text = match flow.asks_source() {
                true => format!(
                    "-- The columns follow from {} when its server answers.\n",
                    flow.table
                ),
                false => target.statements(env, name, flow)?.join(";\n\n") + ";\n",
            };
            files.push((format!("{}/{name}.sql", component.name()), text));
        }
    }
    Ok(files)
}

fn processes(env: &Environment) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for process in up::processes(env)? {
        let component = &process.component;
        files.push((format!("{component}/command"), process.command_line()));
        for (path, text) in &process.files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            files.push((format!("{component}/{name}"), text.clone()));
        }
    }
    for name in env.profile.connector_names() {
        let manifest = connect::manifest_of(env, name)?;
        let text = format!(
            "{:#}\n",
            json!({ "class": manifest.class, "config": manifest.config })
        );
        files.push((format!("connectors/{name}.json"), text));
    }
    Ok(files)
}

/// The objects of each component, as one YAML text.
fn objects(env: &Environment) -> Result<Vec<(String, String)>> {
    let mut files: IndexMap<String, String> = IndexMap::new();
    for object in cluster::objects(env, Show::Masked)? {
        let text = serde_yaml::to_string(&object.object).map_err(|error| {
            Error::new(Code::Template, format!("an object is no YAML: {error}"))
        })?;
        let name = format!("{0}/{0}.yaml", object.component);
        let file = files.entry(name).or_default();
        file.push_str("---\n");
        file.push_str(&text);
    }
    Ok(files.into_iter().collect())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|source| Error::io("create", parent, &source))?;
    }
    std::fs::write(path, text).map_err(|source| Error::io("write", path, &source))
}
