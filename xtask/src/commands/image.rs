//! `image`: the image of Connect's workers, step by step.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use bollard::query_parameters::ListImagesOptionsBuilder;
use serde_json::{Value, json};

use super::stdout::say;
use super::{context, image_bump, image_update, steps};
use crate::cli::{Global, ImageCommand};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::image::{build, push, tags};
use crate::plan::{Outcome, Plan};
use crate::platform::docker;
use crate::platform::host::dirs;
use crate::report::text::bytes;
use crate::report::{self, Output};
use crate::up::image;

pub(super) async fn run(global: &Global, command: &ImageCommand) -> Result<ExitCode> {
    if matches!(command, ImageCommand::List) {
        return list(global.output).await;
    }
    if let ImageCommand::Update(args) = command {
        return image_update::run(global, *args).await;
    }
    let loaded = context::load(&context::selection(global))?;
    let env = Arc::new(image_bump::on_cluster(loaded)?);
    if let Some(image) = &env.profile.connect.image {
        return Err(Error::new(
            Code::ProfileInvalid,
            format!("the profile names an image of its own, {image}: there is nothing to build"),
        )
        .hint("unset connect.image"));
    }
    if matches!(command, ImageCommand::Push) && env.profile.connect.registry.is_none() {
        return Err(Error::new(
            Code::ProfileInvalid,
            "the profile names no registry to push to",
        )
        .hint("--set connect.registry=REGISTRY/PATH"));
    }
    dirs::make(&env.dirs.cache, 0o755)?;
    let mut plan = Plan::default();
    let at = env.clone();
    plan.step(
        "image/build",
        "Connect's image",
        &[],
        async move |progress| image::build_step(&at, &progress).await,
    );
    let at = env.clone();
    match command {
        ImageCommand::Load => plan.step(
            "image/load",
            "load it into the nodes",
            &["image/build"],
            async move |progress| image::load_step(&at, &progress).await,
        ),
        ImageCommand::Push => plan.step(
            "image/push",
            "push it",
            &["image/build"],
            async move |progress| {
                let docker = at.docker().await?;
                let pushed = push::push(docker, &image::reference(&at)?, &progress).await?;
                Ok(Outcome::Unchanged(format!(
                    "the registry has {}",
                    pushed.digest
                )))
            },
        ),
        ImageCommand::Build | ImageCommand::Update(_) | ImageCommand::List => {}
    }
    finish(global, &env, plan).await
}

async fn finish(global: &Global, env: &Environment, plan: Plan) -> Result<ExitCode> {
    let report = steps::run(global, plan).await?;
    let reference = image::reference(env)?;
    match global.output {
        Output::Json => {
            let mut summary = report::summary::json(&report);
            summary["profile"] = json!(env.name);
            summary["image"] = json!(reference);
            say!("{summary}");
        }
        Output::Text => say!("{reference}"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(output: Output) -> Result<ExitCode> {
    let docker = docker::connect().await?;
    let label = vec![build::INPUTS_LABEL];
    let options = ListImagesOptionsBuilder::default()
        .filters(&std::collections::HashMap::from([("label", label)]))
        .build();
    let images = docker.list_images(Some(options)).await.map_err(|error| {
        Error::new(
            Code::Service,
            format!("the Docker engine could not list images: {error}"),
        )
    })?;
    let mut profiles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (profile, (tag, _)) in tags::read(&context::root())? {
        profiles.entry(tag).or_default().push(profile);
    }
    let mut rows = Vec::new();
    for image in images {
        for reference in &image.repo_tags {
            let tag = reference.rsplit(':').next().unwrap_or_default();
            let meant_by = profiles.get(tag).cloned().unwrap_or_default();
            rows.push((reference.clone(), image.id.clone(), image.size, meant_by));
        }
    }
    rows.sort();
    match output {
        Output::Json => {
            let rows: Vec<Value> = rows
                .iter()
                .map(|(reference, id, size, profiles)| {
                    json!({ "reference": reference, "id": id, "bytes": size, "profiles": profiles })
                })
                .collect();
            say!("{}", json!({ "images": rows }));
        }
        Output::Text => {
            for (reference, id, size, profiles) in rows {
                let id = id.strip_prefix("sha256:").unwrap_or(&id);
                let size = bytes(u64::try_from(size).unwrap_or_default());
                let short = id.get(..12).unwrap_or(id);
                say!("{reference}  {short}  {size}  {}", profiles.join(", "));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
