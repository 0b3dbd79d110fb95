//! What a profile says of a flow's columns: `columns` names exactly those that arrive; `override` and `omit` say
//! what differs from all of the source's.
//!
//! An entry stands under the column's name at the target, and `from` is what the source calls it. Everything else
//! that names columns (`key`, `canary`, `omit`) means the source's.

use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserialize, Deserializer};

use super::check::OWN_COLUMNS;
use super::component::{ColumnTypes, Source, WrongType};
use super::rules::{WORD, invalid, key_obeys, obeys};
use super::schema::Flow;
use super::{Node, Value};
use crate::error::{Error, Result};

/// What a profile says of a column: its type, or a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnRule {
    /// Its type at the target; none follows from the source's.
    pub kind: Option<String>,
    /// What the source calls it; none as the target does.
    pub from: Option<String>,
    /// What becomes of a value that its type cannot hold; none as the flow says.
    pub unfit: Option<Unfit>,
}

/// What becomes of a value that its column's type at the target cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unfit {
    /// Its row goes to the errors.
    #[default]
    Error,
    /// NULL.
    Null,
    /// The nearest bound of the type.
    Clamp,
}

impl Unfit {
    /// As a profile has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Unfit::Error => "error",
            Unfit::Null => "null",
            Unfit::Clamp => "clamp",
        }
    }
}

impl<'de> Deserialize<'de> for Unfit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl de::Visitor<'_> for Word {
            type Value = Unfit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`error`, `null` or `clamp`")
            }

            /// YAML reads `null` as nothing.
            fn visit_unit<E: de::Error>(self) -> Result<Unfit, E> {
                Ok(Unfit::Null)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Unfit, E> {
                let known = [Unfit::Error, Unfit::Null, Unfit::Clamp];
                let found = known.into_iter().find(|it| it.as_str() == text);
                found.ok_or_else(|| E::unknown_variant(text, &["error", "null", "clamp"]))
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// What becomes of columns that a flow's table gets at the source, where all of the source's arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaChange {
    /// `up` adds them to the target, and completes the rows that came without them.
    #[default]
    Follow,
    /// They are reported. Rows arrive without them, and can be completed later.
    Report,
    /// Rows with them are held back, and `up` fails.
    Refuse,
}

impl ColumnTypes {
    /// Whether a column of a type may have something else instead of a value that the type cannot hold.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn allows(&self, kind: &str, unfit: Unfit) -> Result<(), WrongType> {
        let wrong = |message: String, hint: &str| {
            let hint = Some(hint.to_owned());
            Err(WrongType { message, hint })
        };
        match unfit {
            Unfit::Null if !(self.is_nullable)(kind) => wrong(
                format!("`unfit: null`, and {kind} is not Nullable"),
                &format!("declare it as Nullable({kind})"),
            ),
            Unfit::Clamp if !(self.has_bounds)(kind) => wrong(
                format!("`unfit: clamp`, and {kind} has no bounds"),
                "integers, decimals, dates and times have: use `error` or `null`",
            ),
            _ => Ok(()),
        }
    }
}

impl ColumnRule {
    /// What the source calls the column that the target calls so.
    pub fn source<'a>(&'a self, name: &'a str) -> &'a str {
        self.from.as_deref().unwrap_or(name)
    }
}

impl<'de> Deserialize<'de> for ColumnRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            r#type: Option<String>,
            from: Option<String>,
            #[serde(default, deserialize_with = "given")]
            unfit: Option<Unfit>,
        }
        /// A null is a value here.
        fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Unfit>, D::Error> {
            Unfit::deserialize(deserializer).map(Some)
        }
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = ColumnRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type, or a map such as `{type: String, from: e_mail}`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ColumnRule, E> {
                Ok(ColumnRule {
                    kind: Some(text.to_owned()),
                    ..ColumnRule::default()
                })
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ColumnRule, A::Error> {
                let written = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ColumnRule {
                    kind: written.r#type,
                    from: written.from,
                    unfit: written.unfit,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Flow {
    /// Whether all of the source's columns arrive that it does not leave out: it does not name those that do.
    pub fn has_source_columns(&self) -> bool {
        self.columns.is_empty()
    }

    /// Whether some column's type is known to the source alone.
    pub fn asks_source(&self) -> bool {
        self.has_source_columns() || self.columns.values().any(|it| it.kind.is_none())
    }

    /// The key that it says something of columns under, and what.
    pub fn rules(&self) -> (&'static str, &IndexMap<String, ColumnRule>) {
        match self.has_source_columns() {
            true => ("override", &self.overrides),
            false => ("columns", &self.columns),
        }
    }

    /// What a source's column is called at the target, and what the profile says of it; none where it is left out.
    pub fn arrival<'a>(&'a self, column: &'a str) -> Option<(&'a str, Option<&'a ColumnRule>)> {
        let mut rules = self.rules().1.iter();
        match rules.find(|(name, rule)| rule.source(name) == column) {
            Some((name, rule)) => Some((name, Some(rule))),
            None if !self.has_source_columns() => None,
            None if self.omit.iter().any(|it| it == column) => None,
            None => Some((column, None)),
        }
    }

    /// What becomes of a value of a source's column that its type at the target cannot hold. What the flow says is for
    /// the columns that can have it; a key with another value would be another row's.
    pub fn unfit_of(&self, column: &str, kind: &str, types: &ColumnTypes) -> Unfit {
        if self.key.iter().any(|key| key == column) {
            return Unfit::Error;
        }
        let own = self.arrival(column).and_then(|(_, rule)| rule?.unfit);
        let usual = match types.allows(kind, self.unfit) {
            Ok(()) => self.unfit,
            Err(_) => Unfit::Error,
        };
        own.unwrap_or(usual)
    }

    /// What a source's column that is not left out is called at the target.
    pub fn at_target<'a>(&'a self, column: &'a str) -> &'a str {
        self.arrival(column).map_or(column, |(name, _)| name)
    }
}

/// The error at an entry of a flow's list.
pub(crate) fn at_entry(
    tree: &Node,
    path: &[&str],
    entry: &str,
    error: impl FnOnce(&[&str]) -> Error,
) -> Error {
    let error = error(path);
    match tree.at(path.iter().copied()).map(|node| &node.value) {
        Some(Value::List(items)) => match items.iter().find(|it| it.scalar_text() == entry) {
            Some(item) => error.at(item.origin.clone()),
            None => error,
        },
        _ => error,
    }
}

/// Checks what can be seen without the source.
///
/// # Errors
/// The first that is wrong, at its place.
pub(super) fn check(
    tree: &Node,
    name: &str,
    flow: &Flow,
    source: &Source,
    types: Option<&'static ColumnTypes>,
) -> Result<()> {
    let at = |key: &str, message: &str| {
        invalid(
            tree,
            &["flows", name, key],
            format!("flow `{name}`: {message}"),
        )
    };
    let given = [
        ("columns", !flow.columns.is_empty()),
        ("override", !flow.overrides.is_empty()),
        ("omit", !flow.omit.is_empty()),
        ("unfit", flow.unfit != Unfit::Error),
        ("schema", flow.schema != SchemaChange::Follow),
    ];
    let mut given = given.into_iter().filter(|(_, is_given)| *is_given);
    if let (Some((key, _)), true) = (given.next(), flow.to.is_some()) {
        let what = format!(
            "`{key}` says nothing to a sink, which makes the columns as the source has them"
        );
        return Err(at(key, &what).hint("leave it out, or leave `to` out"));
    }
    let mut others = given.filter(|(key, _)| *key != "unfit");
    if let (false, Some((key, _))) = (flow.has_source_columns(), others.next()) {
        let what =
            format!("`columns` names all that arrive, and `{key}` what differs from the source's");
        return Err(at(key, &what).hint("leave one of them out"));
    }
    let (section, rules) = flow.rules();
    let mut sources = BTreeMap::new();
    for (column, rule) in rules {
        one(tree, &["flows", name, section, column], rule, types)?;
        if flow.key.iter().any(|key| key == rule.source(column))
            && rule.unfit.is_some_and(|it| it != Unfit::Error)
        {
            let path = ["flows", name, section, column, "unfit"];
            let what = format!(
                "column `{column}`: it is of the key, and with another value it would be another row's"
            );
            return Err(invalid(tree, &path, what).hint("leave `unfit` out"));
        }
        if rule.kind.is_none() && !source.has_columns {
            let what =
                format!("column `{column}` has no type, and documents have none to follow from");
            let path = ["flows", name, section, column];
            return Err(invalid(tree, &path, what).hint("give it one, such as `type: String`"));
        }
        if let Some(other) = sources.insert(rule.source(column), column) {
            let what = format!(
                "flow `{name}`: columns `{other}` and `{column}` are both the source's `{}`",
                rule.source(column)
            );
            return Err(
                invalid(tree, &["flows", name, section, column], what).hint("leave one out")
            );
        }
    }
    for column in &flow.omit {
        let at = |message: String| {
            at_entry(tree, &["flows", name, "omit"], column, |path| {
                invalid(tree, path, format!("flow `{name}`: {message}"))
            })
        };
        if flow.key.contains(column) {
            let what = format!("`{column}` is of the key, which cannot be left out");
            return Err(at(what).hint("take it out of `omit`"));
        }
        if let Some(other) = sources.get(column.as_str()) {
            let what = format!("`{column}` is left out, and `override` has it as `{other}`");
            return Err(at(what).hint("leave one of them out"));
        }
    }
    key(tree, name, flow, types)
}

/// Checks what a profile says of one column.
fn one(
    tree: &Node,
    path: &[&str],
    rule: &ColumnRule,
    types: Option<&'static ColumnTypes>,
) -> Result<()> {
    let column = path.last().copied().unwrap_or_default();
    key_obeys(tree, path, &WORD)?;
    if OWN_COLUMNS.contains(&column) {
        let what = format!("column `{column}`: silver has a column of its own with this name");
        return Err(invalid(tree, path, what)
            .hint("leave it out, or call it otherwise: `other: {from: ...}`"));
    }
    if let Some(from) = &rule.from
        && (from.is_empty() || from.chars().any(char::is_control))
    {
        let path = [path, &["from"]].concat();
        let what = format!("column `{column}`: no column of a source is called {from:?}");
        return Err(invalid(tree, &path, what));
    }
    let (Some(kind), Some(types)) = (&rule.kind, types) else {
        return Ok(());
    };
    let at = |key: &str, wrong: WrongType| {
        let written = [path, &[key]].concat();
        let is_map = tree.at(written.iter().copied()).is_some();
        let place = if is_map { &written } else { path };
        let error = invalid(tree, place, format!("column `{column}`: {}", wrong.message));
        match wrong.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    };
    (types.check)(kind).map_err(|wrong| at("type", wrong))?;
    let allowed = types.allows(kind, rule.unfit.unwrap_or_default());
    allowed.map_err(|wrong| at("unfit", wrong))
}

fn key(tree: &Node, name: &str, flow: &Flow, types: Option<&'static ColumnTypes>) -> Result<()> {
    let at_key = |message: String| invalid(tree, &["flows", name, "key"], message);
    if flow.key.is_empty() {
        let what = format!("flow `{name}` needs at least one key column");
        return Err(at_key(what));
    }
    for (index, key) in flow.key.iter().enumerate() {
        if flow.key[..index].contains(key) {
            let what = format!("flow `{name}`: key column `{key}` stands there twice");
            return Err(at_key(what));
        }
        // It may have the source's columns: whether this is one of them, its catalogue says.
        if flow.has_source_columns() {
            obeys(tree, &["flows", name, "key"], key, &WORD)?;
        }
        let Some((_, rule)) = flow.arrival(key) else {
            let what = format!("flow `{name}`: key column {key:?} is not among its columns");
            return Err(among(at_key(what), key, flow));
        };
        let kind = rule.and_then(|it| it.kind.as_deref());
        if let (Some(kind), Some(types)) = (kind, types)
            && (types.is_nullable)(kind)
        {
            let what =
                format!("flow `{name}`: key column `{key}` is {kind}, and a key is never NULL");
            return Err(at_key(what).hint("use the type without `Nullable`"));
        }
    }
    Ok(())
}

/// Says which of the flow's columns may have been meant by a name at the source.
pub(super) fn among(error: Error, name: &str, flow: &Flow) -> Error {
    let known = flow.columns.iter();
    let known: Vec<&str> = known.map(|(column, rule)| rule.source(column)).collect();
    let otherwise = format!("add it under `columns`, or use one of {}", known.join(", "));
    error.meant(name, known, otherwise)
}
