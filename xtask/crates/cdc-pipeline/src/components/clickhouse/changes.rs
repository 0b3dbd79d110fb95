//! The values of a Debezium message as ClickHouse expressions.
//!
//! None of them may throw: one bad message would stop the consumer for ever. And none invents a value: each
//! is NULL where the message's value has no equal in the column's type, and [`Column::fault`] says so then.
//! ClickHouse's own conversions are not strict enough for that. `JSONExtract` reads 1.5 and `true` as the
//! integer 1; `accurateCastOrNull` cuts the digits of a decimal; `parseDateTime64BestEffort` moves times
//! outside 1900 to 2299 to these bounds and adds the fraction of a time before 1970 on the wrong side;
//! a date or a number of microseconds outside them wraps. So every value is read as text, which loses nothing,
//! in one pass over the message (`JSONExtract` into a tuple), and converted from there within bounds.

use serde::Serialize;

use super::bounds::{self, Bounds};
use super::types::{COLUMNS, bare, is_nullable, parts as parts_of};
use crate::clients::clickhouse::{ident, literal};
use crate::components::source::{Changes, Values};
use crate::flows::types::SECONDS;
use crate::profile::columns::Unfit;
use crate::profile::schema::Flow;

/// What Debezium writes for a long value that an update left alone, which the log does not have then: as a
/// text, as bytes, and as the one element of an array.
const UNAVAILABLE: &str = "('__debezium_unavailable_value', \
     'X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==', '[\"__debezium_unavailable_value\"]')";

/// Between which `DateTime64` lies, in seconds since the epoch.
const FIRST: i64 = SECONDS.0;
const LAST: i64 = SECONDS.1;

/// The first and the last day of `Date` and of `Date32`, since the epoch.
const DATE: (i64, i64) = (0, 65_535);
const DATE_32: (i64, i64) = (FIRST / 86_400, LAST / 86_400);

/// A time with its zone as sources and people write it.
const ISO: &str = "'^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\\\\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})$'";

/// A column of silver, and how it is read out of a message.
pub(super) struct Column<'a> {
    /// What the source calls it.
    pub(super) name: &'a str,
    /// Its type, with what is around it.
    kind: &'a str,
    pub(super) changes: Changes,
    /// What becomes of a value that its type cannot hold.
    unfit: Unfit,
    /// Its number, from 0.
    at: usize,
}

/// The flow's columns, each with its type.
pub(super) fn columns(changes: Changes, flow: &Flow) -> Vec<Column<'_>> {
    let columns = flow.columns.iter().enumerate();
    columns
        .map(|(at, (name, rule))| {
            let (name, kind) = (rule.source(name), rule.kind.as_deref().unwrap_or_default());
            Column {
                name,
                kind,
                changes,
                unfit: flow.unfit_of(name, kind, &COLUMNS),
                at,
            }
        })
        .collect()
}

/// What reads the columns' values out of a message's row, stage by stage: each uses what the one before has named.
#[derive(Default, Serialize)]
pub(super) struct Stages {
    /// The whole row as a tuple of texts, in one pass over the message.
    pub(super) fields: String,
    /// The tuple's elements.
    pub(super) texts: Vec<String>,
    /// What of them are numbers.
    pub(super) numbers: Vec<String>,
    /// The values, by the names that bronze has for them.
    pub(super) values: Vec<String>,
}

/// The expressions of each stage, those of columns with their aliases.
pub(super) fn stages(columns: &[Column<'_>]) -> Stages {
    let elements = columns.iter().map(|it| {
        // Read from its text, a float loses its last digits.
        let kind = if it.is_float() { "Float64" } else { "String" };
        format!("{} Nullable({kind})", ident(it.name))
    });
    let tuple = format!("Tuple({})", elements.collect::<Vec<_>>().join(", "));
    let image = columns.first().map_or("", |it| it.changes.image);
    let mut stages = Stages {
        fields: format!("JSONExtract({image}, {})", literal(&tuple)),
        ..Stages::default()
    };
    for column in columns {
        let (at, element) = (column.at, column.at + 1);
        let alias = if column.is_float() { "_n" } else { "_t" };
        let text = format!("tupleElement(fields, {element}) AS {alias}{at}");
        stages.texts.push(text);
        let number = column.number().map(|it| format!("{it} AS _n{at}"));
        stages.numbers.extend(number);
        let (value, read) = (column.value(), column.expression());
        match column.bounds() {
            Some(bounds) => {
                let scalar = format!("{} AS _s{at}", column.scalar());
                stages.numbers.push(scalar);
                let nearest = bounds.nearest(&format!("_s{at}"));
                let value = format!("if(isNotNull(_e{at}), _e{at}, {nearest}) AS {value}");
                stages.values.extend([format!("{read} AS _e{at}"), value]);
            }
            None => stages.values.push(format!("{read} AS {value}")),
        }
    }
    stages
}

impl Column<'_> {
    fn is_float(&self) -> bool {
        bare(self.kind).contains("Float")
    }

    /// What bronze calls it: a source's column may have any name.
    pub(super) fn value(&self) -> String {
        format!("_v{}", self.at)
    }

    fn is_clamped(&self) -> bool {
        self.unfit == Unfit::Clamp
    }

    /// The bounds of a number that is clamped. Dates and times are clamped where they are counted.
    fn bounds(&self) -> Option<Bounds> {
        Bounds::of(bare(self.kind)).filter(|_| self.is_clamped())
    }

    /// What it is in bronze.
    pub(super) fn bronze_type(&self) -> String {
        format!("Nullable({})", bare(self.kind))
    }

    /// Its value in silver. A row without a fault has one, but for those that are deleted.
    pub(super) fn silver(&self) -> String {
        let value = self.value();
        match is_nullable(self.kind) {
            true => value,
            false => format!(
                "assumeNotNull(ifNull({value}, defaultValueOfTypeName({})))",
                literal(bare(self.kind))
            ),
        }
    }

    /// Its text; NULL where the message has none or a null. A float's is asked for where it has no number.
    fn text(&self) -> String {
        match self.is_float() {
            true => format!(
                "JSONExtract({}, {}, 'Nullable(String)')",
                self.changes.image,
                literal(self.name)
            ),
            false => format!("_t{}", self.at),
        }
    }

    /// Its text as a scalar.
    fn scalar(&self) -> String {
        match self.changes.values {
            Values::Columns => self.text(),
            Values::ExtendedJson => unwrapped(&self.text()),
        }
    }

    /// A date as days since the epoch, a time as the number in the unit that its scale gives, a decimal as itself
    /// with what digits it has room for; none of another type.
    fn number(&self) -> Option<String> {
        let (kind, text) = (bare(self.kind), self.text());
        let (name, numbers) = parts_of(kind);
        Some(match (name, numbers.first()) {
            ("Date" | "Date32", _) => match self.changes.values {
                Values::Columns => match (format!("toInt64OrNull({text})"), self.is_clamped()) {
                    (number, true) => bounds::days(&number),
                    (number, false) => number,
                },
                Values::ExtendedJson => {
                    let millis = document_millis(&text);
                    let (first, last) = if name == "Date" { DATE } else { DATE_32 };
                    let beyond = match self.is_clamped() {
                        true => format!(
                            " OR {millis} < {} OR {millis} >= {}",
                            first * 86_400_000,
                            (last + 1) * 86_400_000
                        ),
                        false => String::new(),
                    };
                    format!("if({millis} % 86400000 = 0{beyond}, intDiv({millis}, 86400000), NULL)")
                }
            },
            ("DateTime", _) => self.time(0),
            ("DateTime64", Some(scale)) => self.time(*scale),
            ("Decimal", _) => {
                format!("accurateCastOrNull({}, {})", self.scalar(), literal(kind))
            }
            _ => return None,
        })
    }

    /// Reads it out of its text, as [`Column::bronze_type`].
    fn expression(&self) -> String {
        let kind = bare(self.kind);
        let (text, scalar) = (self.text(), self.scalar());
        let (at, value) = (self.at, format!("to{kind}OrNull({scalar})"));
        let (name, numbers) = parts_of(kind);
        match (name, numbers.as_slice()) {
            ("String", _) => match self.changes.values {
                Values::Columns => format!("if({text} IN {UNAVAILABLE}, NULL, {text})"),
                Values::ExtendedJson => scalar,
            },
            ("FixedString", [length]) => {
                format!("if(length({scalar}) = {length}, toFixedString({scalar}, {length}), NULL)")
            }
            ("Bool", _) => format!(
                "multiIf({scalar} IN ('true', '1'), true, {scalar} IN ('false', '0'), false, NULL)"
            ),
            ("Float32" | "Float64" | "BFloat16", _) => self.float(kind),
            ("Decimal", [precision, scale]) => {
                decimal(&scalar, &format!("_n{at}"), *precision, *scale)
            }
            ("Date", _) => self.date(DATE, "toDate"),
            ("Date32", _) => self.date(DATE_32, ""),
            ("DateTime", _) => format!("toDateTime({})", self.within(0, 0, 4_294_967_295)),
            // Nanoseconds are 64 bits: they end in 2262.
            ("DateTime64", [scale]) if *scale > 6 => self.within(*scale, FIRST, 9_223_372_035),
            ("DateTime64", [scale]) => self.within(*scale, FIRST, LAST),
            // What does not fit wraps.
            (wide, _) if wide.ends_with("128") || wide.ends_with("256") => {
                format!("if(toString({value}) = {scalar}, {value}, NULL)")
            }
            (integer, _) if integer.contains("Int") => format!(
                "to{kind}OrNull(multiIf({scalar} = 'true', '1', {scalar} = 'false', '0', {scalar}))"
            ),
            _ => value,
        }
    }

    /// A float that is one: what overflows is no infinity, and in a document an integer beyond a float's digits is
    /// no other one.
    fn float(&self, kind: &str) -> String {
        let number = format!("_n{}", self.at);
        let value = match self.changes.values {
            Values::Columns => number,
            Values::ExtendedJson => {
                let (text, scalar) = (self.text(), self.scalar());
                let exact = format!("accurateCastOrNull(toInt64OrNull({scalar}), 'Float64')");
                format!(
                    "if(isNotNull({number}) AND abs({number}) < 9007199254740992, {number}, \
                     if(isNotNull(toInt64OrNull({scalar})), {exact}, \
                     if(startsWith({text}, '{{'), toFloat64OrNull({scalar}), {number})))"
                )
            }
        };
        match kind {
            "Float64" => value,
            _ => format!(
                "if(isInfinite(to{kind}({value})) = isInfinite({value}), to{kind}({value}), NULL)"
            ),
        }
    }

    /// A date within these days.
    fn date(&self, (first, last): (i64, i64), to: &str) -> String {
        let at = self.at;
        let date = |days: &str| format!("{to}(addDays(toDate32('1970-01-01'), {days}))");
        match self.is_clamped() {
            true => date(&bounds::clamped(at, first, last, "")),
            false => {
                let date = date(&format!("_n{at}"));
                format!("if(_n{at} BETWEEN {first} AND {last}, {date}, NULL)")
            }
        }
    }

    /// A time within these seconds, whose digits the column has all.
    fn within(&self, scale: u32, first: i64, last: i64) -> String {
        let at = self.at;
        let (from, unit) = unit(scale);
        let step = unit / 10_i64.pow(scale);
        let exact = match step {
            1 => String::new(),
            step => format!(" AND _n{at} % {step} = 0"),
        };
        let first = first * unit;
        let last = last.saturating_mul(unit).saturating_add(unit - step);
        match self.is_clamped() {
            true => format!("{from}({})", bounds::clamped(at, first, last, &exact)),
            false => {
                format!("if(_n{at} BETWEEN {first} AND {last}{exact}, {from}(_n{at}), NULL)")
            }
        }
    }

    /// A time in the unit of its scale: a number in it, or a text.
    fn time(&self, scale: u32) -> String {
        let text = self.text();
        let (_, unit) = unit(scale);
        let digits = unit.ilog10();
        let number = match self.changes.values {
            Values::Columns => format!("toInt64OrNull({text})"),
            Values::ExtendedJson => match (document_millis(&text), unit / 1_000) {
                (millis, 1) => millis,
                // What 64 bits cannot count is beyond the type's bounds, and stays beyond them.
                (millis, step) => {
                    let most = i64::MAX / step;
                    format!(
                        "multiIf({millis} > {most}, toInt64({most}), {millis} < -{most}, toInt64(-{most}), {millis}) * {step}"
                    )
                }
            },
        };
        // The fraction is added to the second that it belongs to, which comes before it in 1969, too.
        let seconds = format!(
            "intDiv(toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull(\
             concat(substring({text}, 1, 19), extract({text}, '(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})$')), 3, 'UTC')), 1000)"
        );
        let fraction = format!("extract({text}, '\\\\.([0-9]*?)0*(?:Z|[+-])')");
        let year = format!("toUInt16OrZero(substring({text}, 1, 4)) BETWEEN 1900 AND 2299");
        let (seconds, beyond) = match self.is_clamped() {
            // The year 2299 has more nanoseconds than 64 bits count.
            true if unit == 1_000_000_000 => (
                format!("if({seconds} > 9223372036, toInt64(9223372036), {seconds})"),
                bounds::beyond(&text),
            ),
            true => (seconds, bounds::beyond(&text)),
            false => (seconds, "NULL".to_owned()),
        };
        format!(
            "if(isNotNull({number}), {number}, \
             if(match({text}, {ISO}) AND {year} AND length({fraction}) <= {digits}, \
             {seconds} * {unit} + toInt64OrZero(rightPad({fraction}, {digits}, '0')), {beyond}))"
        )
    }

    /// When a message's row has nothing for it that silver could hold, and why: SQL of both.
    pub(super) fn fault(&self) -> [String; 2] {
        let (value, text, name) = (self.value(), self.text(), literal(self.name));
        let why = |why: &str| literal(&format!("column {}: {why}", self.name));
        let unfit = why(&format!("no value of {}", bare(self.kind)));
        let null = why(&format!("NULL, and {} is not Nullable", self.kind));
        let unavailable = why("unchanged, and the source's log does not have it");
        let is_fault = match (is_nullable(self.kind), self.changes.values) {
            // What the change does not have is no value that the type could not hold.
            (true, _) if self.unfit == Unfit::Null => format!("{text} IN {UNAVAILABLE}"),
            (true, _) => format!("isNotNull({text})"),
            (false, Values::Columns) => "true".to_owned(),
            // A document without the field is as it should be; one with a null is not.
            (false, Values::ExtendedJson) => {
                format!(
                    "(isNotNull({text}) OR JSONHas({}, {name}))",
                    self.changes.image
                )
            }
        };
        [
            format!("change != 'd' AND isNull({value}) AND {is_fault}"),
            format!(
                "multiIf({text} IN {UNAVAILABLE}, {unavailable}, isNull({text}), {null}, {unfit})"
            ),
        ]
    }
}

/// How a time of this scale is made of a number, and how many of its unit a second has.
fn unit(scale: u32) -> (&'static str, i64) {
    match scale {
        0..=3 => ("fromUnixTimestamp64Milli", 1_000),
        4..=6 => ("fromUnixTimestamp64Micro", 1_000_000),
        _ => ("fromUnixTimestamp64Nano", 1_000_000_000),
    }
}

/// A decimal with all of its digits. `BigDecimal` writes small ones with an exponent.
fn decimal(text: &str, value: &str, precision: u32, scale: u32) -> String {
    let exponent = format!("toInt32OrZero(extract({text}, '[eE]\\\\+?(-?[0-9]+)$'))");
    let digits = format!("length(extract({text}, '\\\\.([0-9]*?)0*(?:[eE]|$)'))");
    let exact = format!("{digits} - {exponent} <= {scale}");
    // Most have no more digits than that and no exponent, which is seen without a pattern.
    let plain = format!(
        "positionCaseInsensitive({text}, 'e') = 0 AND \
         (position({text}, '.') = 0 OR length({text}) - position({text}, '.') <= {scale})"
    );
    // The type's own bound is that of the integer behind it.
    let bound = match precision {
        76 => String::new(),
        _ => format!(
            " AND abs({value}) < toDecimal256('1{}', 0)",
            "0".repeat(precision.saturating_sub(scale) as usize)
        ),
    };
    format!("if((({plain}) OR {exact}){bound}, {value}, NULL)")
}

/// A scalar in extended JSON, where one that JSON has no type for is an object of one field.
fn unwrapped(text: &str) -> String {
    let fields = [
        "$oid",
        "$numberLong",
        "$numberInt",
        "$numberDecimal",
        "$numberDouble",
        "$uuid",
    ];
    let fields: Vec<String> = fields
        .iter()
        .map(|field| format!("JSONExtract({text}, '{field}', 'Nullable(String)')"))
        .collect();
    format!(
        "if(startsWith({text}, '{{\"$'), coalesce({}, {text}), {text})",
        fields.join(", ")
    )
}

/// The milliseconds of a date in a document, or of a timestamp, which counts seconds.
fn document_millis(text: &str) -> String {
    format!(
        "coalesce(JSONExtract({text}, '$date', 'Nullable(Int64)'), \
         toInt64OrNull(JSONExtractString({text}, '$date', '$numberLong')), \
         JSONExtract({text}, '$timestamp', 't', 'Nullable(Int64)') * 1000)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_lose_their_wrappers() {
        assert_eq!(bare("Nullable(Int64)"), "Int64");
        assert_eq!(bare("LowCardinality(Nullable(String))"), "String");
        assert_eq!(bare("DateTime64(6)"), "DateTime64(6)");
        assert_eq!(parts_of("Decimal(18, 2)"), ("Decimal", vec![18, 2]));
        assert_eq!(parts_of("Int64"), ("Int64", Vec::new()));
    }

    fn expression(values: Values, name: &str, kind: &str) -> String {
        let changes = Changes {
            image: "image",
            position: "0",
            reread: None,
            nothing: "false",
            values,
        };
        let flow = serde_json::json!({
            "connector": "c", "table": "a.b", "keep": "latest", "key": ["id"], "group": "g", "columns": {name: kind},
        });
        let flow = serde_json::from_value(flow).expect("a flow");
        let stages = stages(&columns(changes, &flow));
        let all = [
            vec![stages.fields],
            stages.texts,
            stages.numbers,
            stages.values,
        ];
        all.concat().join(",\n")
    }

    #[test]
    fn times_keep_their_precision() {
        let micro = expression(Values::Columns, "at", "DateTime64(6)");
        assert!(micro.contains("fromUnixTimestamp64Micro"), "{micro}");
        let milli = expression(Values::Columns, "at", "DateTime64(3)");
        assert!(milli.contains("fromUnixTimestamp64Milli"), "{milli}");
        let mongo = expression(Values::ExtendedJson, "at", "DateTime64(3)");
        assert!(mongo.contains("'$date'"), "{mongo}");
    }

    #[test]
    fn column_names_are_literals() {
        let text = expression(Values::Columns, "it's", "String");
        assert!(text.contains("`it\\'s` Nullable(String)"), "{text}");
    }
}
