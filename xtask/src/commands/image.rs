//! `image`: the image of Connect's workers, step by step.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use bollard::query_parameters::ListImagesOptionsBuilder;
use serde_json::json;

use super::{context, image_bump, image_update, stdout, steps};
use crate::cli::{Global, ImageCommand};
use crate::error::{Code, Error, Result};
use crate::image::{build, tags};
use crate::plan::Plan;
use crate::platform::docker;
use crate::platform::host::dirs;
use crate::report::text::bytes;
use crate::report::{self, Output};
use crate::up::image::{self, Pushed};

pub(super) async fn run(global: &Global, command: &ImageCommand) -> Result<ExitCode> {
    if matches!(command, ImageCommand::List) {
        return list(global.output).await;
    }
    if let ImageCommand::Update(args) = command {
        return image_update::run(global, *args).await;
    }
    let loaded = context::load(&context::selection(global))?;
    let env = Arc::new(image_bump::on_cluster(loaded)?);
    image::refuse_own(&env)?;
    if matches!(command, ImageCommand::Push) && env.profile.connect.registry.is_none() {
        let what = "the profile names no registry to push to";
        return Err(
            Error::new(Code::ProfileInvalid, what).hint("--set connect.registry=REGISTRY/PATH")
        );
    }
    dirs::make(&env.dirs.cache, 0o755)?;
    let mut plan = Plan::default();
    let built = image::build(&mut plan, &env);
    match command {
        ImageCommand::Load => {
            image::load(&mut plan, &env, &[built]);
        }
        ImageCommand::Push => {
            image::push(&mut plan, &env, built, &Pushed::default());
        }
        ImageCommand::Build | ImageCommand::Update(_) | ImageCommand::List => {}
    }
    let report = steps::run(global, plan).await?;
    let reference = image::reference(&env)?;
    let mut summary = report::summary::json(&report);
    summary["profile"] = json!(env.name);
    summary["image"] = json!(reference);
    stdout::answer(global.output, summary, || format!("{reference}\n"))
}

async fn list(output: Output) -> Result<ExitCode> {
    let docker = docker::connect().await?;
    let label = vec![build::INPUTS_LABEL];
    let options = ListImagesOptionsBuilder::default()
        .filters(&std::collections::HashMap::from([("label", label)]))
        .build();
    let images = docker.list_images(Some(options)).await.map_err(|error| {
        let what = format!("the Docker engine could not list images: {error}");
        Error::new(Code::Service, what)
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
    let images = rows.iter().map(|(reference, id, size, profiles)| {
        json!({ "reference": reference, "id": id, "bytes": size, "profiles": profiles })
    });
    let object = json!({ "images": images.collect::<Vec<_>>() });
    stdout::answer(output, object, || {
        let lines = rows.iter().map(|(reference, id, size, profiles)| {
            let id = id.strip_prefix("sha256:").unwrap_or(id);
            let size = bytes(u64::try_from(*size).unwrap_or_default());
            let short = id.get(..12).unwrap_or(id);
            format!("{reference}  {short}  {size}  {}\n", profiles.join(", "))
        });
        lines.collect()
    })
}
