//! `dlq purge`: deleting the oldest records of a queue.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::no_flow;
use crate::cli::DlqPurge;
use crate::clients::kafka::KafkaClient;
use crate::clock;
use crate::commands::confirm;
use crate::commands::stdout::{self, palette};
use crate::environment::Environment;
use crate::error::Result;
use crate::operate::dlq::purge::{self, Before, Cut};
use crate::operate::dlq::queues;
use crate::platform::host::lock;
use crate::report::Output;
use crate::report::table::Table;
use crate::report::text::count;

pub(super) fn check(args: &DlqPurge) -> Result<()> {
    Before::parse(args.before.as_deref(), clock::now_ms()).map(drop)
}

pub(super) async fn run(
    env: &Arc<Environment>,
    client: &KafkaClient,
    args: &DlqPurge,
    output: Output,
) -> Result<ExitCode> {
    let before = Before::parse(args.before.as_deref(), clock::now_ms())?;
    let found = queues::find(env, client).await?;
    let chosen = found.choose(Some(&args.name)).map_err(|error| {
        match env.profile.flows.contains_key(&args.name) {
            true => no_flow(env, &args.name, "purge"),
            false => error,
        }
    })?;
    let cuts = purge::cuts(client, &chosen, before).await?;
    let records: i64 = cuts.iter().map(Cut::records).sum();
    let records = usize::try_from(records).unwrap_or_default();
    if args.dry_run || cuts.is_empty() {
        return tell(output, args.dry_run, &cuts, records);
    }
    if !args.yes {
        let what = format!(
            "delete {} for good:\n{}",
            count(records, "record"),
            table(&cuts).trim_end()
        );
        let name = match chosen.as_slice() {
            [only] => &only.name,
            _ => &env.name,
        };
        confirm::typed(name, &what, "if that is what you want: add --yes")?;
    }
    let _lock = lock::take(&env.dirs.lock(), "cargo xtask dlq purge")?;
    purge::purge(client, &cuts).await?;
    tell(output, false, &cuts, records)
}

fn tell(output: Output, dry_run: bool, cuts: &[Cut], records: usize) -> Result<ExitCode> {
    let object = json!({ "dry_run": dry_run, "records": records, "partitions": cuts });
    stdout::answer(output, object, || {
        if cuts.is_empty() {
            return "nothing to delete\n".into();
        }
        let verb = if dry_run { "would delete" } else { "deleted" };
        format!("{verb} {}\n{}", count(records, "record"), table(cuts))
    })
}

fn table(cuts: &[Cut]) -> String {
    let mut table = Table::titled("QUEUE  >PARTITION  >FROM  >BEFORE  >STAY");
    for cut in cuts {
        table.row([
            cut.topic.clone(),
            cut.partition.to_string(),
            cut.begin.to_string(),
            cut.to.to_string(),
            (cut.end - cut.to).to_string(),
        ]);
    }
    table.text(palette())
}
