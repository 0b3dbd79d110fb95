//! `flow`: the tables on their way, their types, and a new one.
//!
//! `add` inserts text into the profile's file, so that comments and order stay, and restores the file if the
//! profile does not load with it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::{context, flow_columns, stdout};
use crate::cli::{FlowAdd, FlowCommand, FlowShow, Global};
use crate::components::columns::arrival;
use crate::components::source::Sample;
use crate::components::{self, flow_source, source};
use crate::environment::Environment;
use crate::error::{Code, Error, Result, unknown};
use crate::files::{read, write_atomic};
use crate::flows::types::{Column, Kind};
use crate::printed;
use crate::profile;
use crate::profile::columns::{ColumnRule, SchemaChange, Unfit};
use crate::profile::schema::{Flow, Keep};
use crate::report::table::Table;

pub(super) async fn run(global: &Global, command: &FlowCommand) -> Result<ExitCode> {
    match command {
        FlowCommand::List => list(global),
        FlowCommand::Show(args) => show(global, args).await,
        FlowCommand::Add(args) => add(global, args).await,
    }
}

fn list(global: &Global) -> Result<ExitCode> {
    let profile = context::load(&context::selection(global))?.profile;
    let rows = profile.flows.iter().map(|(name, flow)| {
        let target = profile.written(flow).or_else(|| profile.reader());
        (name, flow, target.map_or("", |it| &it.name))
    });
    let object = |(name, flow, target): &(&String, &Flow, &str)| {
        json!({
            "name": name,
            "table": flow.table,
            "connector": flow.connector,
            "target": target,
            "keep": flow.keep,
            "key": flow.key,
            "topic": profile.topic(flow),
            "columns": if flow.has_source_columns() { "source" } else { "profile" },
            "canary": flow.canary.is_some(),
        })
    };
    let rows: Vec<_> = rows.collect();
    let flows: Vec<Value> = rows.iter().map(object).collect();
    stdout::answer(global.output, json!({ "flows": flows }), || {
        let mut table = Table::titled("FLOW  TABLE  CONNECTOR  TARGET  KEEP  KEY  COLUMNS  CANARY");
        for (name, flow, target) in rows {
            let differ = flow.overrides.len() + flow.omit.len();
            let columns = match (flow.has_source_columns(), differ) {
                (true, 0) => "as at the source".to_owned(),
                (true, differ) => format!("as at the source, but {differ}"),
                (false, _) => flow.columns.len().to_string(),
            };
            let keep = match flow.keep {
                Keep::Latest => "latest",
                Keep::Every => "every",
            };
            let canary = match flow.canary {
                Some(_) => "yes",
                None => "no: not proven",
            };
            let key = flow.key.join(", ");
            table.row([
                name,
                flow.table.as_str(),
                &flow.connector,
                target,
                keep,
                &key,
                &columns,
                canary,
            ]);
        }
        table.text(stdout::palette())
    })
}

/// A column on its way. What the source says is absent for documents, the target's type for what is left out.
struct Way {
    name: String,
    at_source: Option<Column>,
    /// What the target calls it; none where it is left out.
    called: Option<String>,
    at_target: Option<String>,
    unfit: Unfit,
}

async fn show(global: &Global, args: &FlowShow) -> Result<ExitCode> {
    let env = &*context::existing(global).await?;
    let known: Vec<&str> = env.profile.flows.keys().map(String::as_str).collect();
    for name in &args.names {
        if !known.contains(&name.as_str()) {
            return Err(unknown("flow", name, &known));
        }
    }
    let meant = env.profile.flows.iter();
    let meant = meant.filter(|(name, _)| args.names.is_empty() || args.names.contains(name));
    let asked =
        meant.map(|(name, flow)| async move { Ok::<_, Error>((name, ways(env, flow).await?)) });
    let found = try_join_all(asked).await?;
    let flows = found.iter().map(|(name, ways)| {
        let columns: Vec<Value> = ways.iter().map(object).collect();
        json!({ "name": name, "columns": columns })
    });
    let flows: Vec<Value> = flows.collect();
    stdout::answer(global.output, json!({ "flows": flows }), || {
        let shown = found.iter();
        let shown = shown.map(|(name, ways)| format!("{name}\n{}", listed(ways)));
        shown.collect::<Vec<_>>().join("\n")
    })
}

async fn ways(env: &Environment, flow: &Flow) -> Result<Vec<Way>> {
    let target = components::target(env, flow)?;
    let types = env.profile.reader().and_then(|it| it.kind.reads_topics);
    let types = types.filter(|_| flow.to.is_none());
    let unfit = |column: &str, kind: Option<&String>| match (types, kind) {
        (Some(types), Some(kind)) => flow.unfit_of(column, kind, types),
        _ => Unfit::Error,
    };
    let found = match flow_source(env, flow) {
        Some(source) => source.columns(env, flow).await?,
        None => None,
    };
    let Some(found) = found else {
        let columns = flow.columns.iter();
        let way = |(name, rule): (&String, &ColumnRule)| Way {
            name: rule.source(name).to_owned(),
            at_source: None,
            called: Some(name.clone()),
            unfit: unfit(rule.source(name), rule.kind.as_ref()),
            at_target: rule.kind.clone(),
        };
        return Ok(columns.map(way).collect());
    };
    let way = |column: Column| {
        let arrival = arrival(target, flow, &column);
        let (called, at_target) = arrival.unzip();
        Way {
            name: column.name.clone(),
            called: called.map(str::to_owned),
            unfit: unfit(&column.name, at_target.iter().flatten().next()),
            at_target: at_target.flatten(),
            at_source: Some(column),
        }
    };
    Ok(found.into_iter().map(way).collect())
}

fn object(way: &Way) -> Value {
    let source = way.at_source.as_ref();
    json!({
        "name": way.name,
        "source": source.map(|it| &it.written),
        "nullable": source.map(|it| it.is_nullable),
        "message": source.map(|it| it.kind.arrives()),
        "called": way.called,
        "unfit": way.unfit.as_str(),
        "target": way.at_target,
    })
}

fn listed(ways: &[Way]) -> String {
    let mut table = Table::titled("COLUMN  AT THE SOURCE  IN A CHANGE  AT THE TARGET");
    for way in ways {
        let (written, arrives) = match &way.at_source {
            Some(column) => {
                let null = if column.is_nullable { "" } else { " NOT NULL" };
                (format!("{}{null}", column.written), column.kind.arrives())
            }
            None => ("a field".to_owned(), "extended JSON"),
        };
        let unread = matches!(
            &way.at_source,
            Some(Column {
                kind: Kind::Unread(_),
                ..
            })
        );
        let instead = match way.unfit {
            Unfit::Error => String::new(),
            unfit => format!(", unfit: {}", unfit.as_str()),
        };
        let target = match (&way.at_target, unread) {
            (Some(kind), _) => match way.called.as_ref().filter(|it| **it != way.name) {
                Some(called) => format!("{called} {kind}{instead}"),
                None => format!("{kind}{instead}"),
            },
            (None, true) => "none: no change has it".to_owned(),
            (None, false) if way.called.is_none() => "none: left out".to_owned(),
            (None, false) => "as the sink makes it".to_owned(),
        };
        table.row([way.name.clone(), written, arrives.to_owned(), target]);
    }
    table.text(stdout::palette())
}

async fn add(global: &Global, args: &FlowAdd) -> Result<ExitCode> {
    let env = &*context::existing(global).await?;
    let name = args.name.clone().unwrap_or_else(|| {
        let last = args.table.rsplit('.').next();
        last.unwrap_or(&args.table).to_lowercase()
    });
    if env.profile.flows.contains_key(&name) {
        let what = format!("the profile has a flow `{name}`");
        return Err(Error::new(Code::Usage, what).hint("give this one another with --name NAME"));
    }
    let mut flow = Flow {
        connector: String::new(),
        table: args.table.clone(),
        keep: Keep::Latest,
        key: Vec::new(),
        group: format!("ch_{name}_consumer"),
        columns: indexmap::IndexMap::new(),
        overrides: indexmap::IndexMap::new(),
        omit: Vec::new(),
        unfit: Unfit::Error,
        schema: SchemaChange::Follow,
        to: None,
        canary: None,
    };
    let found = found(env, args, &flow).await?;
    flow.connector = found.connector.to_owned();
    let keys = found.columns.iter().filter(|it| it.is_key);
    flow.key = keys.map(|it| it.name.clone()).collect();
    if flow.key.is_empty() {
        let what = format!(
            "{} has no primary key, so its rows cannot be told apart",
            flow.table
        );
        return Err(Error::new(Code::Drift, what)
            .hint("give it one, or write a flow with `keep: every` into the profile"));
    }
    let mut text = text(&name, &flow, found.keep);
    if let Some(sample) = &found.sample {
        let target = components::target(env, &flow)?;
        let suited = |kind, is_nullable| target.suited(kind, is_nullable);
        text.push_str(&flow_columns::text(sample, suited));
    }
    let path = profile::find(&env.root, &global.profile)?;
    if !args.dry_run {
        write(global, &path, &text)?;
    }
    let object = json!({ "file": path, "flow": name, "text": text });
    stdout::answer(global.output, object, || match args.dry_run {
        true => format!("# below `flows:` in {}\n{text}", path.display()),
        false => format!(
            "wrote flow {name} into {}\nnext: {}\n",
            path.display(),
            printed::ours("cargo xtask up")
        ),
    })
}

/// How many documents of a collection are looked at.
const SAMPLE: u16 = 1_000;

/// What a source has under a table's name.
struct Found<'a> {
    connector: &'a str,
    keep: Keep,
    columns: Vec<Column>,
    /// Where it has documents.
    sample: Option<Sample>,
}

/// What the connector that is meant has there, or the only one that has something.
async fn found<'a>(env: &'a Environment, args: &'a FlowAdd, flow: &Flow) -> Result<Found<'a>> {
    let known: Vec<&str> = env.profile.connectors.keys().map(String::as_str).collect();
    let asked = match args.connector.as_deref() {
        Some(name) if known.contains(&name) => vec![name],
        Some(name) => return Err(unknown("connector", name, &known)),
        None => known,
    };
    if asked.is_empty() {
        return Err(
            Error::new(Code::Usage, "no connector of the profile captures tables")
                .hint("define one under `connectors`"),
        );
    }
    let mut all = Vec::new();
    for connector in asked {
        let of = &env.profile.connectors[connector];
        let source = source(env, of);
        let (columns, sample) = match source.columns(env, flow).await? {
            Some(columns) => (columns, None),
            None => {
                let sample = source.sample(env, flow, SAMPLE).await?;
                let fields = sample.iter().flat_map(|it| &it.fields);
                (fields.map(|(it, _)| it.clone()).collect(), sample)
            }
        };
        let read = env.profile.component(&of.source);
        let read = read.and_then(|it| it.kind.source.as_ref());
        let keep = match read.is_some_and(|it| it.has_positions) {
            true => Keep::Latest,
            false => Keep::Every,
        };
        if !columns.is_empty() {
            all.push(Found {
                connector,
                keep,
                columns,
                sample,
            });
        }
    }
    if all.len() > 1 {
        let names: Vec<&str> = all.iter().map(|it| it.connector).collect();
        let names = names.join(", or --connector ");
        return Err(
            Error::new(Code::Usage, "several connectors could capture it")
                .hint(format!("name one: --connector {names}")),
        );
    }
    all.pop().ok_or_else(|| {
        let what = format!(
            "there is no table {} at the source, or no document in it",
            flow.table
        );
        Error::new(Code::Usage, what)
            .hint("name it with its schema, public.orders, or its database, commerce.events")
    })
}

/// The flow as the profile has it.
fn text(name: &str, flow: &Flow, keep: Keep) -> String {
    let key: Vec<String> = flow.key.iter().map(|it| scalar(it)).collect();
    let keep = match keep {
        Keep::Latest => "latest",
        Keep::Every => "every",
    };
    format!(
        "  {name}:\n    connector: {}\n    table: {}\n    keep: {keep}\n    key: [{}]\n    group: {}\n",
        scalar(&flow.connector),
        scalar(&flow.table),
        key.join(", "),
        scalar(&flow.group),
    )
}

/// A text as YAML, of which a JSON text is one.
pub(super) fn scalar(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_.-".contains(it);
    match text.starts_with(|it: char| it.is_ascii_alphabetic()) && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => json!(text).to_string(),
    }
}

/// Writes it at the end of the profile's `flows`.
fn write(global: &Global, path: &Path, text: &str) -> Result<()> {
    let before = read(path)?;
    let mode = std::fs::metadata(path).map(|it| it.permissions().mode() & 0o777);
    let mode = mode.map_err(|source| Error::io("read", path, &source))?;
    let replace = |text: &str| write_atomic(path, text.as_bytes(), mode);
    replace(&with_flow(&before, text))?;
    let loaded = context::load(&context::selection(global));
    if let Err(error) = loaded {
        replace(&before)?;
        return Err(error.detail(format!("{} is as it was", path.display())));
    }
    Ok(())
}

/// A profile's text with one more flow.
fn with_flow(profile: &str, flow: &str) -> String {
    let mut lines: Vec<&str> = profile.lines().collect();
    let Some(at) = lines.iter().position(|line| line.starts_with("flows:")) else {
        return format!("{}\nflows:\n{flow}", profile.trim_end());
    };
    if lines[at].trim_end() == "flows: {}" {
        lines[at] = "flows:";
    }
    // The block ends with the next key; what is blank before that, or says what follows, stays behind it.
    let is_inside = |line: &&str| line.is_empty() || line.starts_with([' ', '#']);
    let mut end = at
        + 1
        + lines[at + 1..]
            .iter()
            .take_while(|line| is_inside(line))
            .count();
    while end > at + 1 && !lines[end - 1].starts_with(' ') {
        end -= 1;
    }
    let (head, rest) = lines.split_at(end);
    let rest = rest
        .iter()
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    format!("{}\n{flow}{rest}", head.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_written_behind_the_others() {
        let flow = "  b:\n    key: [id]\n";
        for (before, after) in [
            (
                "extends: clickhouse\n",
                "extends: clickhouse\nflows:\n  b:\n    key: [id]\n",
            ),
            ("flows: {}\n", "flows:\n  b:\n    key: [id]\n"),
            (
                "flows:\n  a: {}  # mine\n\n# below\nkafka: {}\n",
                "flows:\n  a: {}  # mine\n  b:\n    key: [id]\n\n# below\nkafka: {}\n",
            ),
            (
                "flows:\n  a:\n    key: [id]",
                "flows:\n  a:\n    key: [id]\n  b:\n    key: [id]\n",
            ),
        ] {
            assert_eq!(with_flow(before, flow), after);
        }
    }
}
