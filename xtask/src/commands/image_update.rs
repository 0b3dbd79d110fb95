//! `image update`: a new image of Connect's workers, from its tag to the pods that run it.

use std::process::ExitCode;

use serde_json::json;

use super::{context, image_bump, restart, stdout, steps};
use crate::cli::{Global, ImageUpdate};
use crate::error::Result;
use crate::image::tags::{self, Change};
use crate::operate::restart::image as update;
use crate::plan::{Outcome, Plan};
use crate::platform::host::{dirs, lock};
use crate::report;
use crate::up::image;

const COMMAND: &str = "cargo xtask image update";

pub(super) async fn run(global: &Global, args: ImageUpdate) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    update::refuse(&env)?;
    let reference = image::reference(&env)?;
    let mut plan = Plan::default();
    let work = async move |_progress| {
        let changes = image_bump::compare()?;
        let stale: Vec<String> = changes
            .iter()
            .filter(|change| change.is_stale())
            .map(Change::describe)
            .collect();
        if stale.is_empty() {
            return Ok(Outcome::Unchanged(format!(
                "{} is as it should be",
                tags::FILE
            )));
        }
        image_bump::write(&changes)?;
        Ok(Outcome::Changed(stale.join(", ")))
    };
    plan.step("image/bump", "the committed tags", &[], work);
    update::add(&mut plan, &env, "image/bump")?;
    if args.dry_run {
        let words = ("image", reference.as_str());
        return restart::dry_run(global.output, &env, words, plan);
    }
    let _lock = lock::take(&env.dirs.lock(), COMMAND)?;
    dirs::make(&env.dirs.cache, 0o755)?;
    let report = steps::run(global, plan)
        .await
        .map_err(|error| restart::again(error, COMMAND))?;
    let mut summary = restart::summary(&env, &report);
    summary["image"] = json!(reference);
    stdout::answer(global.output, summary, || {
        let took = report::text::duration(report.wall);
        format!("the workers run {reference}, in {took}\n")
    })
}
