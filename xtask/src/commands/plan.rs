//! `plan`: the graph that `up` runs.

use std::process::ExitCode;
use std::sync::Arc;

use super::context;
use super::stdout::say;
use crate::cli::{Global, PlanArgs, PlanFormat};
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Result};
use crate::plan::show;
use crate::report::Output;
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
    let (graph, _) = up::plan(&env, &ClusterOptions::default())?
        .build()
        .map_err(|error| Error::new(Code::Plan, error.to_string()))?;
    match (global.output, args.format) {
        (Output::Json, _) => say!("{}", show::json(&graph)),
        (Output::Text, PlanFormat::Tree) => say!("{}", show::tree(&graph).trim_end()),
        (Output::Text, PlanFormat::Mermaid) => say!("{}", show::mermaid(&graph).trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}
