//! A flow's columns and those of its table at a relational source: what of them arrives, as what; and, before anything
//! is made at the target, whether that fits. A column that is not there would be empty for ever, and a type that does
//! not hold all values would have rows in the errors.

use std::collections::BTreeMap;

use super::target::Target;
use super::{flow_source, target};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::{Column, Kind};
use crate::profile::check::OWN_COLUMNS;
use crate::profile::columns::at_entry;
use crate::profile::rules::invalid;
use crate::profile::schema::Flow;

/// The error that a flow does not fit its table, at the place of what it says under a path.
pub(super) fn unfit(env: &Environment, name: &str, path: &[&str], message: &str) -> Error {
    let path = [&["flows", name], path].concat();
    let mut error = invalid(&env.tree, &path, format!("flow `{name}`: {message}"));
    error.code = Code::Drift;
    error
}

/// A flow with what its source says of its columns.
#[derive(Clone, Debug)]
pub(super) struct Arriving {
    /// The flow with the name and the type of each column that arrives.
    pub(super) flow: Flow,
    /// Those columns at the source, by their names at the target, whose types follow from it.
    pub(super) following: BTreeMap<String, Column>,
    /// All columns that its changes may have; none where the profile names those that arrive.
    pub(super) known: Option<Vec<String>>,
}

impl Arriving {
    /// What a profile alone says of a flow.
    pub(super) fn given(flow: &Flow) -> Self {
        Arriving {
            flow: flow.clone(),
            following: BTreeMap::new(),
            known: None,
        }
    }
}

/// The flow with the name and the type of each column that arrives, where only its source knows all of them.
///
/// # Errors
/// The source does not answer.
pub(super) async fn whole(env: &Environment, flow: &Flow) -> Result<Arriving> {
    let source = flow_source(env, flow).filter(|_| flow.asks_source());
    let found = match source {
        Some(source) => source.columns(env, flow).await?.unwrap_or_default(),
        None => return Ok(Arriving::given(flow)),
    };
    let target = target(env, flow)?;
    let following = found.iter().filter_map(|column| {
        let (name, rule) = flow.arrival(&column.name)?;
        let follows = rule.is_none_or(|it| it.kind.is_none());
        follows.then(|| (name.to_owned(), column.clone()))
    });
    let names = || found.iter().map(|it| it.name.clone()).collect();
    Ok(Arriving {
        flow: typed(target, flow, &found),
        following: following.collect(),
        known: flow.has_source_columns().then(names),
    })
}

fn typed(target: &dyn Target, flow: &Flow, found: &[Column]) -> Flow {
    let mut whole = flow.clone();
    for column in found {
        // What no change has would be empty for ever.
        if let Some((name, Some(kind))) = arrival(target, flow, column) {
            let given = || flow.overrides.get(name).cloned().unwrap_or_default();
            let rule = whole.columns.entry(name.to_owned()).or_insert_with(given);
            rule.kind = Some(kind);
            rule.from = Some(column.name.clone());
        }
    }
    whole.overrides.clear();
    whole.omit.clear();
    whole
}

/// What a source's column is called at the target and its type there, if it has one; none where it is left out.
pub fn arrival<'a>(
    target: &dyn Target,
    flow: &'a Flow,
    column: &'a Column,
) -> Option<(&'a str, Option<String>)> {
    let (name, rule) = flow.arrival(&column.name)?;
    let kind = rule.and_then(|it| it.kind.clone());
    let suited = || target.suited(column.kind, column.is_nullable_in(flow));
    Some((name, kind.or_else(suited)))
}

/// What is wrong with a flow's columns; `own` is the component that has its table.
pub(super) fn check(
    env: &Environment,
    name: &str,
    flow: &Flow,
    found: &[Column],
    own: &str,
) -> Vec<Error> {
    if found.is_empty() {
        let what = format!(
            "flow `{name}`: there is no table {} at the source",
            flow.table
        );
        let hint = format!(
            "create it, cargo xtask query {own} 'CREATE TABLE ...', or name a file that does under {own}.schema, beside the \
             profile; then: cargo xtask up"
        );
        return vec![Error::new(Code::Drift, what).hint(hint)];
    }
    let Ok(target) = target(env, flow) else {
        return Vec::new();
    };
    let names = || found.iter().map(|it| it.name.as_str());
    let (section, rules) = flow.rules();
    let ruled = rules.iter().filter_map(|(column, rule)| {
        let at = |message: String| unfit(env, name, &[section, column], &message);
        let source = rule.source(column);
        let Some(found) = found.iter().find(|it| it.name == source) else {
            let place: &[&str] = match rule.from {
                Some(_) => &[section, column, "from"],
                None => &[section, column],
            };
            let what = format!("{} has no column `{source}`", flow.table);
            let error = unfit(env, name, place, &what);
            let otherwise = format!("correct flows.{name}.{section} in the profile");
            return Some(error.meant(source, names(), otherwise));
        };
        if let Kind::Unread(why) = found.kind {
            let what = format!("`{source}` is {}: {why}", found.written);
            return Some(at(what).hint(format!("leave it out of `{section}`")));
        }
        let is_nullable = found.is_nullable_in(flow);
        let Some(kind) = &rule.kind else {
            let suited = target.suited(found.kind, is_nullable)?;
            let types = env.profile.reader()?.kind.reads_topics?;
            let wrong = types.allows(&suited, rule.unfit?).err()?;
            let path = [section, column, "unfit"];
            let error = unfit(env, name, &path, &format!("`{column}`: {}", wrong.message));
            return Some(error.hint(wrong.hint.unwrap_or_default()));
        };
        if target.holds(kind, found.kind, is_nullable) {
            return None;
        }
        let null = match is_nullable {
            true => ", which may be NULL,",
            false => "",
        };
        let error = at(format!(
            "`{source}` is {}{null} at the source, and {kind} does not hold all of its values",
            found.written
        ));
        Some(match target.suited(found.kind, is_nullable) {
            Some(right) => error.hint(format!("declare it as {right}")),
            None => error,
        })
    });
    let omitted = flow.omit.iter().filter_map(|column| {
        if names().any(|it| it == column) {
            return None;
        }
        let what = format!("{} has no column `{column}`", flow.table);
        let error = at_entry(&env.tree, &["flows", name, "omit"], column, |_| {
            unfit(env, name, &["omit"], &what)
        });
        Some(error.meant(column, names(), "take it out of `omit`"))
    });
    let mut wrong: Vec<Error> = ruled.chain(omitted).collect();
    if flow.has_source_columns() && flow.to.is_none() {
        wrong.extend(taken(env, name, flow, found));
    }
    wrong
}

/// Columns of the source whose names are others' at the target.
fn taken(env: &Environment, name: &str, flow: &Flow, found: &[Column]) -> Vec<Error> {
    let carried = found
        .iter()
        .filter(|it| !matches!(it.kind, Kind::Unread(_)));
    let mut called: BTreeMap<&str, &str> = BTreeMap::new();
    let wrong = carried.filter_map(|column| {
        let source = column.name.as_str();
        let (at_target, _) = flow.arrival(source)?;
        let what = if OWN_COLUMNS.contains(&at_target) {
            format!("{} has a column `{source}`, which is one of silver's own", flow.table)
        } else {
            let other = called.insert(at_target, source)?;
            format!("the columns `{other}` and `{source}` of {} would both be `{at_target}`", flow.table)
        };
        let hint = format!("leave it out, `omit: [{source}]`, or call it otherwise, `override: {{other: {{from: {source}}}}}`");
        Some(unfit(env, name, &[], &what).hint(hint))
    });
    wrong.collect()
}
