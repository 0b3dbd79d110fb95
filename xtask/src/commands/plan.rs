//! `plan`: the graph that `up` runs.

use std::process::ExitCode;
use std::sync::Arc;

use super::{context, stdout};
use crate::cli::{Global, PlanArgs, PlanFormat};
use crate::environment::{Environment, Secrets};
use crate::error::Result;
use crate::plan::show;
use crate::up::{self, ClusterOptions};

pub(super) async fn run(global: &Global, args: &PlanArgs) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let chosen = context::choose_platform(&loaded).await?;
    let env = Arc::new(Environment::new(
        &context::root(),
        loaded,
        chosen.platform,
        Secrets::Existing,
    )?);
    let (graph, _) = up::plan(&env, &ClusterOptions::default())?.build()?;
    stdout::answer(global.output, show::json(&graph), || {
        let text = match args.format {
            PlanFormat::Tree => show::tree(&graph),
            PlanFormat::Mermaid => show::mermaid(&graph),
        };
        format!("{}\n", text.trim_end())
    })
}
