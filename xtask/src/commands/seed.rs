//! `seed`: insert the seed rows that are missing at the sources.

use std::process::ExitCode;

use serde_json::json;

use super::context;
use super::stdout::say;
use crate::cli::{Global, Seed};
use crate::components::{mongodb, postgres};
use crate::error::Result;
use crate::profile::schema::Source;
use crate::report::Output;

pub(super) async fn run(global: &Global, args: &Seed) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    if args.dry_run {
        let files: Vec<String> = env
            .profile
            .postgres
            .schema
            .iter()
            .map(|file| format!("manifests/postgres/seed/{file}"))
            .chain(
                env.profile
                    .mongodb
                    .seed
                    .iter()
                    .filter(|_| env.profile.uses(Source::Mongodb))
                    .map(|file| format!("manifests/mongodb/seed/{file}")),
            )
            .collect();
        match global.output {
            Output::Json => say!("{}", json!({ "dry_run": files })),
            Output::Text => say!("would insert what is missing of {}", files.join(", ")),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = 0;
    let mut documents = 0;
    if env.profile.uses(Source::Postgres) {
        rows = postgres::seed(&env).await?;
    }
    if env.profile.uses(Source::Mongodb) {
        documents = mongodb::seed(&env).await?;
    }
    match global.output {
        Output::Json => say!("{}", json!({ "rows": rows, "documents": documents })),
        Output::Text => {
            say!("{rows} rows and {documents} documents were missing and have been inserted")
        }
    }
    Ok(ExitCode::SUCCESS)
}
