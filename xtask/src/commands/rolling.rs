//! `rolling-restart`: one worker or broker at a time.

use std::process::ExitCode;

use serde_json::json;

use super::{context, restart, stdout, steps};
use crate::cli::{Global, Rolled, RollingRestart};
use crate::clock;
use crate::error::Result;
use crate::operate::restart::moves::Still;
use crate::operate::restart::rolling;
use crate::platform::host::lock;
use crate::report;

pub(super) async fn run(global: &Global, args: RollingRestart) -> Result<ExitCode> {
    let component = match args.component {
        Rolled::Connect => "connect",
        Rolled::Kafka => "kafka",
    };
    let env = context::existing(global).await?;
    let command = format!("cargo xtask rolling-restart {component}");
    if args.dry_run {
        let plan = rolling::plan(&env, component).await?.plan;
        let words = ("rolling-restart", component);
        return restart::dry_run(global.output, &env, words, plan);
    }
    let _lock = lock::take(&env.dirs.lock(), &command)?;
    let rolling = rolling::plan(&env, component).await?;
    let report = steps::run(global, rolling.plan).await;
    let still = rolling.moves.stop();
    let report = report.map_err(|error| restart::again(error, &command))?;
    let longest = still.iter().filter_map(Still::longest_ms).max();
    let mut summary = restart::summary(&env, &report);
    summary["restarted"] = json!(rolling.units);
    summary["still_ms"] = json!(longest);
    summary["flows"] = json!(still);
    stdout::answer(global.output, summary, || {
        let took = report::text::duration(report.wall);
        let units = rolling.units.join(", ");
        let pause = match longest.map(clock::span) {
            Some(longest) => format!("nothing moved for at most {longest}"),
            None => "no flow was there to watch".into(),
        };
        let mut text = format!("restarted {units} in {took}; {pause}\n");
        for Still {
            flow,
            topic_ms,
            target_ms,
            ..
        } in &still
        {
            let span = |ms: &Option<u64>| ms.map_or("?".to_owned(), clock::span);
            let (topic, target) = (span(topic_ms), span(target_ms));
            text += &format!("  {flow}: into the topic {topic}, at the target {target}\n");
        }
        text
    })
}
