//! `rolling-restart`: one worker or broker at a time.

use std::process::ExitCode;

use serde_json::json;

use super::stdout::say;
use super::{context, restart, steps};
use crate::cli::{Global, Rolled, RollingRestart};
use crate::clock;
use crate::error::Result;
use crate::operate::restart::moves::Still;
use crate::operate::restart::rolling;
use crate::platform::host::lock;
use crate::report::{self, Output};

pub(super) async fn run(global: &Global, args: RollingRestart) -> Result<ExitCode> {
    let component = match args.component {
        Rolled::Connect => "connect",
        Rolled::Kafka => "kafka",
    };
    let env = context::existing(global).await?;
    let command = format!("cargo xtask rolling-restart {component}");
    if args.dry_run {
        let plan = rolling::plan(&env, component).await?.plan;
        let words = [("rolling-restart", component)];
        return restart::dry_run(global.output, &env, &words, plan);
    }
    let _lock = lock::take(&env.dirs.lock(), &command)?;
    let rolling = rolling::plan(&env, component).await?;
    let report = steps::run(global, rolling.plan).await;
    let still = rolling.moves.stop();
    let report = report.map_err(|error| restart::again(error, &command))?;
    let longest = still.iter().filter_map(Still::longest_ms).max();
    match global.output {
        Output::Json => {
            let mut summary = restart::summary(&env, &report);
            summary["restarted"] = json!(rolling.units);
            summary["still_ms"] = json!(longest);
            summary["flows"] = json!(still);
            say!("{summary}");
        }
        Output::Text => {
            let took = report::text::duration(report.wall);
            let units = rolling.units.join(", ");
            match longest {
                Some(longest) => say!(
                    "restarted {units} in {took}; nothing moved for at most {}",
                    clock::span(longest)
                ),
                None => say!("restarted {units} in {took}; no flow was there to watch"),
            }
            for still in still {
                let span = |ms: Option<u64>| ms.map_or("?".to_owned(), clock::span);
                let (topic, target) = (span(still.topic_ms), span(still.target_ms));
                say!(
                    "  {}: into the topic {topic}, at the target {target}",
                    still.flow
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
