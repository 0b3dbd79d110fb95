//! `seed`: insert the seed rows that are missing at the sources.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;

use super::{context, stdout};
use crate::cli::{Global, Seed};
use crate::components::of;
use crate::error::Result;

pub(super) async fn run(global: &Global, args: &Seed) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    if args.dry_run {
        let components = env.profile.components.values().map(of);
        let files: Vec<String> = components.flat_map(|it| it.seeds()).collect();
        return stdout::answer(global.output, json!({ "dry_run": files }), || {
            format!("would insert what is missing of {}\n", files.join(", "))
        });
    }
    let mut seeded: BTreeMap<&str, u64> = BTreeMap::from([("rows", 0), ("documents", 0)]);
    for component in env.profile.components.values().map(of) {
        if let Some(own) = component.seed(&env).await? {
            *seeded.entry(own.what).or_default() += own.count;
        }
    }
    stdout::answer(global.output, json!(seeded), || {
        let counts = seeded.iter().rev();
        let counts: Vec<String> = counts
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        format!(
            "{} were missing and have been inserted\n",
            counts.join(" and ")
        )
    })
}
