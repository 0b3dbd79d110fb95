//! Compares source and target: the same rows, with the same values, while changes flow.
//!
//! What a database computes is its type's (`components::dialect`); here is what is compared with what (`pairs`), how
//! it is divided (`splits`), how differences are proven (`compare`, `fence`), and what is said of it (`report`). When it
//! is repeated is `schedule`; who hears of it otherwise, `metrics` and `alert`.

pub mod alert;
mod compare;
pub mod cronjob;
mod fence;
pub mod formats;
pub mod metrics;
pub mod pairs;
mod progress;
pub mod repair;
pub mod report;
pub mod schedule;
mod splits;
pub mod systemd;

use std::time::{Duration, Instant};

use tokio::sync::watch;

pub use compare::Kind;
use compare::{Found, Tables};
use fence::Fence;
use pairs::{Pair, Place, Side, Wish, plan};
pub use progress::Bar;
use report::{Cell, Difference, Status, TableReport};

use crate::components::dialect::{Dialect, Form, Hash, Key, Table};
use crate::components::{named, of, target as target_of};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind as Kinds};
use crate::profile::Profile;
use crate::profile::columns::Unfit;
use crate::profile::schema::Flow;
use crate::units::Span;

/// For how long a fence waits at least, however soon rows are to settle.
const FENCED: Duration = Duration::from_secs(30);

/// How a comparison is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether values are compared, or rows counted alone.
    pub values: bool,
    /// The cells of so many rows that differ are read.
    pub rows: usize,
    /// About so many rows are compared, chosen by their keys; none compares all.
    pub sample: Option<u64>,
    /// How long rows may take to settle that keep changing.
    pub settle: Duration,
    /// Whether it is found out what would repair them.
    pub repair: bool,
    /// What of the tables is compared.
    pub wish: Wish,
}

/// The values of all rows, with a minute to settle.
impl Default for Options {
    fn default() -> Self {
        Options {
            values: true,
            rows: 0,
            sample: None,
            settle: Duration::from_secs(60),
            repair: false,
            wish: Wish::default(),
        }
    }
}

/// The pair of tables that a flow joins.
///
/// # Errors
/// There is no such flow, or an end of it cannot be compared.
pub fn flow_pair(env: &Environment, name: &str) -> Result<Pair> {
    let flow = flow(env, name)?;
    let source = env.profile.source(flow).ok_or_else(|| {
        Error::new(
            Code::ProfileInvalid,
            format!("flow `{name}` has no connector"),
        )
    })?;
    let reads = target_of(env, flow)?;
    let at = env.profile.written(flow).or_else(|| env.profile.reader());
    let at = at.map_or_else(String::new, |it| it.name.clone());
    Ok(Pair {
        name: name.to_owned(),
        flow: Some(name.to_owned()),
        source: Place {
            component: source.name.clone(),
            table: flow.table.clone(),
        },
        target: Place {
            component: at,
            table: reads.name(env, name),
        },
        key: flow.key.clone(),
    })
}

fn flow<'a>(env: &'a Environment, name: &str) -> Result<&'a Flow> {
    known_flow(&env.profile, name)
}

/// A flow of a profile.
///
/// # Errors
/// There is none of this name.
pub fn known_flow<'a>(profile: &'a Profile, name: &str) -> Result<&'a Flow> {
    profile.flows.get(name).ok_or_else(|| {
        let known = || profile.flows.keys().map(String::as_str);
        let all = format!("flows: {}", known().collect::<Vec<_>>().join(", "));
        Error::new(Code::Usage, format!("there is no flow `{name}`")).meant(name, known(), all)
    })
}

fn dialect<'a>(env: &'a Environment, place: &Place) -> Result<&'a dyn Dialect> {
    named(env, &place.component)?.dialect().ok_or_else(|| {
        let what = format!("{} cannot be compared: not supported yet", place);
        let able = env.profile.components.values().map(of);
        let able = able.filter(|it| it.dialect().is_some());
        let able: Vec<&str> = able.map(|it| it.name()).collect();
        Error::new(Code::Usage, what).hint(format!("compare tables of {}", able.join(", ")))
    })
}

/// Compares a pair of tables. What is wrong with it is in its report, and what was found until `end` says that the user
/// ends it.
pub async fn table(
    env: &Environment,
    pair: &Pair,
    options: &Options,
    bar: &Bar,
    end: &mut watch::Receiver<bool>,
) -> TableReport {
    let begun = Instant::now();
    let mut report = blank(env, pair, options);
    let compared = compared(env, pair, options, bar, end, &mut report).await;
    if let Err(mut error) = compared {
        error.hint = error.hint.as_deref().map(crate::printed::ours);
        report.status = Status::Error;
        report.error = Some(error.to_json());
    }
    report.took_ms = Span(begun.elapsed()).ms();
    report
}

/// The bar of a pair that is about to be compared.
pub fn bar(pair: &Pair) -> Bar {
    Bar::new(&pair.name)
}

/// A report of which nothing is known yet.
pub fn blank(env: &Environment, pair: &Pair, options: &Options) -> TableReport {
    let flow = pair.flow.as_ref().and_then(|it| env.profile.flows.get(it));
    TableReport {
        source: pair.source.to_string(),
        target: pair.target.to_string(),
        values: options.values,
        fenced: pair.flow.is_some(),
        key: pair.key.clone(),
        connector: flow.map(|it| it.connector.clone()),
        ..TableReport::of(&pair.name, Status::Interrupted)
    }
}

async fn compared(
    env: &Environment,
    pair: &Pair,
    options: &Options,
    bar: &Bar,
    end: &mut watch::Receiver<bool>,
    report: &mut TableReport,
) -> Result<()> {
    let flow = match &pair.flow {
        Some(name) => Some(flow(env, name)?),
        None => None,
    };
    let (source, target) = (dialect(env, &pair.source)?, dialect(env, &pair.target)?);
    let opened = async {
        tokio::try_join!(
            source.open(env, &pair.source.table, flow),
            target.open(env, &pair.target.table, flow)
        )
    };
    let (source, target) = tokio::select! {
        biased;
        _ = end.wait_for(|it| *it) => return Ok(()),
        opened = opened => opened?,
    };
    let mut plan = {
        let cannot = |table: &dyn Table, column: &Column, form: Form| table.cannot(column, form);
        let source_cannot = |column: &Column, form: Form| cannot(&*source, column, form);
        let target_cannot = |column: &Column, form: Form| cannot(&*target, column, form);
        let side = |columns, cannot| Side { columns, cannot };
        let (one, other) = (
            side(
                source.columns(),
                &source_cannot as &dyn Fn(&Column, Form) -> Option<String>,
            ),
            side(
                target.columns(),
                &target_cannot as &dyn Fn(&Column, Form) -> Option<String>,
            ),
        );
        plan(
            pair,
            flow,
            &one,
            &other,
            &|one, other| moved(env, flow, one, other),
            &options.wish,
        )?
    };
    report.not_compared.clone_from(&plan.not_compared);
    if !(source.has_md5() && target.has_md5()) {
        (plan.source.hash, plan.target.hash) = (Hash::Sha256, Hash::Sha256);
    }
    if let Some(sample) = options.sample {
        let rows = source.extent(&plan.source, false).await?.rows;
        let below = u128::from(sample) * 65_536 / u128::from(rows.max(1));
        let below = u32::try_from(below).unwrap_or(u32::MAX).max(1);
        if below < 65_536 {
            (plan.source.sample, plan.target.sample) = (Some(below), Some(below));
        }
    }
    let fence = match flow {
        Some(flow) => Some(Fence::of(env, flow, options.settle.max(FENCED)).await?),
        None => None,
    };
    let tables = Tables {
        source,
        target,
        plan,
        fence,
        settle: options.settle,
    };
    let mut found = Found::default();
    let work = async {
        match options.values {
            true => tables.compare(&mut found, bar).await,
            false => tables.count().await.map(|it| found = it),
        }
    };
    let done = tokio::select! {
        biased;
        _ = end.wait_for(|it| *it) => None,
        done = work => Some(done),
    };
    fill(report, &tables, &found);
    let Some(done) = done else {
        return Ok(());
    };
    done?;
    report.status = match () {
        () if report.differing() > 0 => Status::Fail,
        () if report.not_settled > 0 => Status::Error,
        () if report.source_count == 0 && report.target_count == 0 => Status::NoData,
        () => Status::Pass,
    };
    if let Some((flow, name)) = flow
        .zip(pair.flow.as_deref())
        .filter(|_| report.missing_rows > 0)
    {
        let reasons = target_of(env, flow)?
            .table(env, name, flow)
            .reasons()
            .await?;
        report.held_back = Some(reasons.iter().map(|it| it.count).sum());
    }
    if let Some(flow) = flow.filter(|_| options.repair && report.differing() > 0) {
        report.repair = Some(repair::of(env, flow, &tables, &found)?);
    }
    if options.rows > 0 {
        let keys: Vec<&(Key, Kind)> = found.named.iter().take(options.rows).collect();
        cells(&tables, &keys, report).await?;
    }
    Ok(())
}

/// Why the target may have another value than the source and be right: the flow has those changed that its type cannot
/// hold.
fn moved(env: &Environment, flow: Option<&Flow>, source: &Column, at: &Column) -> Option<String> {
    let flow = flow.filter(|it| it.to.is_none())?;
    let types = env.profile.reader()?.kind.reads_topics?;
    if flow.unfit_of(&source.name, &at.written, types) == Unfit::Error {
        return None;
    }
    let is_wide = target_of(env, flow).is_ok_and(|it| it.holds(&at.written, source.kind, false));
    let has_bounds = matches!(
        source.kind,
        Kinds::Date | Kinds::LocalTime { .. } | Kinds::Instant { .. } | Kinds::Decimal { .. }
    );
    (has_bounds || !is_wide)
        .then(|| "`unfit` gives it another value where its type cannot hold the source's".into())
}

fn fill(report: &mut TableReport, tables: &Tables<'_>, found: &Found) {
    [report.source_count, report.target_count] = found.rows;
    report.missing_rows = found.missing;
    report.extra_rows = found.extra;
    report.changed_rows = found.changed;
    report.not_settled = found.unsettled;
    let read = &tables.plan.source;
    let forms: Vec<Form> = read.key.iter().map(|at| read.columns[*at].form).collect();
    let shown = |key: &Key| {
        let parts = key.iter().zip(&forms);
        parts.map(|(text, form)| form.shown(text)).collect()
    };
    let named = found.named.iter().map(|(key, kind)| Difference {
        key: shown(key),
        kind: *kind,
        cells: Vec::new(),
    });
    report.differences = named.collect();
}

/// Reads the cells of rows that differ, which are the report's first.
async fn cells(tables: &Tables<'_>, rows: &[&(Key, Kind)], report: &mut TableReport) -> Result<()> {
    let keys: Vec<Key> = rows.iter().map(|it| it.0.clone()).collect();
    let (mut source, mut target) = (Vec::new(), Vec::new());
    for keys in keys.chunks(100) {
        let (one, other) = tokio::try_join!(
            tables.source.cells(&tables.plan.source, keys),
            tables.target.cells(&tables.plan.target, keys)
        )?;
        source.extend(one);
        target.extend(other);
    }
    for (key, difference) in keys.iter().zip(&mut report.differences) {
        let row = |rows: &[(Key, Vec<Option<String>>)]| {
            let found = rows.iter().find(|it| it.0 == *key);
            found.map(|it| it.1.clone())
        };
        let (one, other) = (row(&source), row(&target));
        for (at, compared) in tables.plan.source.columns.iter().enumerate() {
            let cell = |row: &Option<Vec<Option<String>>>| {
                let text = row.as_ref()?.get(at)?.as_deref()?;
                Some(compared.form.shown(text))
            };
            let raw =
                |row: &Option<Vec<Option<String>>>| row.as_ref().and_then(|it| it.get(at).cloned());
            difference.cells.push(Cell {
                column: compared.column.name.clone(),
                source: cell(&one),
                target: cell(&other),
                differs: raw(&one) != raw(&other),
            });
        }
    }
    Ok(())
}
