//! `slot`: PostgreSQL's replication slots.

use std::process::ExitCode;

use serde_json::json;

use super::stdout::{self, say};
use super::{confirm, context};
use crate::cli::{Global, SlotCommand, SlotDrop};
use crate::components::postgres::settings::PostgresSettings;
use crate::components::postgres::slots::{self, Slot};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::report::Output;
use crate::report::table::{Side, Table};
use crate::report::text::{Ink, Palette, bytes};

pub(super) async fn run(global: &Global, command: &SlotCommand) -> Result<ExitCode> {
    let env = context::existing(global).await?;
    let Some(own) = env.profile.first::<PostgresSettings>() else {
        return Err(Error::new(
            Code::Usage,
            "no connector of the profile reads PostgreSQL: there are no slots",
        ));
    };
    match command {
        SlotCommand::List => list(global.output, own, &env).await,
        SlotCommand::Drop(args) => remove(global.output, own, &env, args).await,
    }
}

async fn list(output: Output, own: &PostgresSettings, env: &Environment) -> Result<ExitCode> {
    let slots = slots::list(own, env).await?;
    match output {
        Output::Json => say!("{}", json!({ "slots": slots })),
        Output::Text if slots.is_empty() => say!("PostgreSQL has no slot"),
        Output::Text => {
            stdout::print(&listed(&slots, stdout::palette()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn listed(slots: &[Slot], palette: Palette) -> String {
    let mut table = Table::new([
        ("SLOT", Side::Left),
        ("CONNECTOR", Side::Left),
        ("READ BY", Side::Left),
        ("WAL", Side::Left),
        ("CONFIRMED", Side::Left),
        ("UNCONFIRMED", Side::Right),
        ("RETAINED", Side::Right),
    ]);
    for slot in slots {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
        let size = |value: Option<u64>| value.map_or("-".into(), bytes);
        let reader = match &slot.reader {
            Some(reader) => (reader.clone(), Some(Ink::Green)),
            None => ("nobody".into(), Some(Ink::Yellow)),
        };
        let lost = matches!(slot.wal_status.as_deref(), Some("lost" | "unreserved"));
        table.inked([
            (slot.name.clone(), None),
            (text(&slot.connector), None),
            reader,
            (text(&slot.wal_status), lost.then_some(Ink::Red)),
            (text(&slot.confirmed_flush_lsn), None),
            (size(slot.unconfirmed), None),
            (size(slot.retained), None),
        ]);
    }
    table.text(palette)
}

async fn remove(
    output: Output,
    own: &PostgresSettings,
    env: &Environment,
    args: &SlotDrop,
) -> Result<ExitCode> {
    let (slot, unknown) = slots::droppable(own, env, &args.name).await?;
    let mut what = match &slot.connector {
        Some(connector) => format!(
            "drop slot {}: connector {connector} loses what it had not read, and needs a new snapshot",
            slot.name
        ),
        None => format!(
            "drop slot {}, which no connector of this profile reads",
            slot.name
        ),
    };
    if let Some(unknown) = unknown {
        what = format!("{what}; {unknown}");
    }
    if args.dry_run {
        match output {
            Output::Json => say!("{}", json!({ "dry_run": what, "slot": slot })),
            Output::Text => say!("would {what}"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !args.yes {
        let way = format!(
            "if that is what you want: cargo xtask slot drop {} --yes",
            slot.name
        );
        confirm::typed(&slot.name, &what, &way)?;
    }
    let outcome = slots::drop_slot(own, env, &slot.name).await?;
    match output {
        Output::Json => say!("{}", json!({ "dropped": slot.name })),
        Output::Text => say!("{}", outcome.message()),
    }
    Ok(ExitCode::SUCCESS)
}
