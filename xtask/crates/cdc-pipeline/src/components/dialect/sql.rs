//! The statements of databases that speak SQL: what they have in common. What differs are small answers ([`Words`]).

use async_trait::async_trait;

use super::{Bucket, Cells, Compared, Extent, Form, Hash, Key, Part, Read, Row, Split, Table};
use crate::clients::answer;
use crate::error::{Code, Error, Result};
use crate::flows::types::Column;

/// Up to so many ranges of keys are looked up by an index; more are found by one scan.
const LOOKED_UP: usize = 100;
/// A function takes so many arguments at most (PostgreSQL: 100).
const ARGUMENTS: usize = 40;

/// How a server writes what comparisons need. Expressions are of texts unless they say otherwise.
#[async_trait]
pub(in crate::components) trait Words: Send + Sync {
    /// A name.
    fn ident(&self, name: &str) -> String;
    /// A text.
    fn literal(&self, text: &str) -> String;
    /// What rows are selected from.
    fn relation(&self) -> &str;
    /// Which of them are there: those that are marked as deleted are not.
    fn present(&self) -> Option<&str> {
        None
    }
    /// The columns.
    fn columns(&self) -> &[Column];
    /// A column's value in a form, NULL where it is NULL.
    ///
    /// # Errors
    /// Why that cannot be.
    fn canonical(&self, column: &Column, form: Form) -> Result<String, String>;
    /// A text with its length in bytes and `:` before it, NULL where it is NULL.
    fn prefixed(&self, text: &str) -> String;
    /// See [`Table::has_md5`].
    fn has_md5(&self) -> bool {
        true
    }
    /// The first 128 bits of a text's hash, in the form that the following take.
    fn digest(&self, text: &str, hash: Hash) -> String;
    /// Its digits in small letters.
    fn digits(&self, digest: &str) -> String;
    /// Its first 16 bits as a number.
    fn bits(&self, digest: &str) -> String;
    /// The exact sums of its halves as unsigned or signed numbers of 64 bits, over rows.
    fn sums(&self, digest: &str) -> [String; 2];
    /// How often `width` fits between `first` and an integer column that is not less.
    fn quotient(&self, column: &str, first: i64, width: u64) -> String;
    /// What stands after a subquery so that what it computes is computed once.
    fn once(&self) -> &'static str {
        ""
    }
    /// How many rows there are, about.
    async fn estimate(&self) -> Result<u64>;
    /// See [`Table::writes`].
    async fn writes(&self) -> Result<Option<u64>> {
        Ok(None)
    }
    /// Runs a statement.
    async fn query(&self, sql: &str) -> Result<Vec<answer::Row>>;
}

/// A table of such a server.
pub(in crate::components) struct SqlTable<W>(pub(in crate::components) W);

impl<W: Words> SqlTable<W> {
    fn value(&self, it: &Compared) -> Result<String> {
        let canonical = self.0.canonical(&it.column, it.form);
        canonical.map_err(|why| Error::new(Code::Usage, format!("{}: {why}", it.column.name)))
    }

    /// A column as a field of a canonical text.
    fn field(&self, it: &Compared) -> Result<String> {
        let value = self.value(it)?;
        let value = match it.form.has_length() {
            true => self.0.prefixed(&value),
            false => value,
        };
        Ok(match it.column.is_nullable {
            true => format!("coalesce({value}, '~')"),
            false => value,
        })
    }

    fn joined(
        &self,
        columns: impl Iterator<Item = impl std::borrow::Borrow<Compared>>,
    ) -> Result<String> {
        let fields: Result<Vec<String>> = columns.map(|it| self.field(it.borrow())).collect();
        Ok(concat(fields?))
    }

    fn row(&self, read: &Read) -> Result<String> {
        let text = self.joined(read.columns.iter())?;
        Ok(self.0.digest(&text, read.hash))
    }

    fn key(&self, read: &Read) -> Result<String> {
        let key = read.key.iter().map(|at| &read.columns[*at]);
        Ok(self.0.bits(&self.0.digest(&self.joined(key)?, read.hash)))
    }

    fn bucket(&self, read: &Read, split: &Split) -> Result<String> {
        Ok(match *split {
            Split::Ranges { first, width, .. } => {
                let leading = self.0.ident(&read.leading().column.name);
                self.0.quotient(&leading, first, width)
            }
            Split::Hashed { bits, .. } => self.first_bits(read, bits)?,
        })
    }

    fn first_bits(&self, read: &Read, bits: u32) -> Result<String> {
        Ok(format!(
            "floor({} / {})",
            self.key(read)?,
            1_u32 << (16 - bits)
        ))
    }

    /// That a row is of a split at all.
    fn is_of(&self, read: &Read, split: &Split) -> Result<Vec<String>> {
        let (values, of) = match *split {
            Split::Ranges { first, last, .. } => (Some((first, last)), None),
            Split::Hashed { within, of, .. } => (within, of),
        };
        let of = match of {
            Some((bits, number)) => Some(format!("{} = {number}", self.first_bits(read, bits)?)),
            None => None,
        };
        Ok(self.between(read, values).into_iter().chain(of).collect())
    }

    fn between(&self, read: &Read, values: Option<(i64, i64)>) -> Option<String> {
        let (first, last) = values?;
        let leading = self.0.ident(&read.leading().column.name);
        Some(format!("{leading} BETWEEN {first} AND {last}"))
    }

    /// Which rows are compared at all, and of them those for which this holds.
    fn condition(&self, read: &Read, more: impl IntoIterator<Item = String>) -> Result<String> {
        let present = self.0.present().map(str::to_owned);
        let own = read.condition.iter().map(|it| format!("({it})"));
        let sample = match read.sample {
            Some(below) => Some(format!("{} < {below}", self.key(read)?)),
            None => None,
        };
        let all: Vec<String> = present
            .into_iter()
            .chain(own)
            .chain(sample)
            .chain(more)
            .collect();
        Ok(match all.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", all.join(" AND ")),
        })
    }

    /// That a row is of a part.
    fn is_in(&self, read: &Read, part: Part<'_>) -> Result<Vec<String>> {
        let (split, buckets) = match part {
            Part::Keys(keys) => return Ok(vec![self.is_one_of(read, keys)?]),
            Part::Buckets(split, buckets) => (split, buckets),
        };
        if let Split::Ranges { .. } = split {
            let runs = runs(split, buckets);
            if runs.len() <= LOOKED_UP {
                let each = runs.iter().filter_map(|it| self.between(read, Some(*it)));
                let each: Vec<String> = each.collect();
                return Ok(vec![format!("({})", each.join(" OR "))]);
            }
            let all = runs
                .first()
                .zip(runs.last())
                .map(|(first, last)| (first.0, last.1));
            let is_in = format!("{} IN ({})", self.bucket(read, split)?, list(buckets));
            return Ok(self.between(read, all).into_iter().chain([is_in]).collect());
        }
        let within = self.between(read, split.values(0));
        let is_in = format!("{} IN ({})", self.bucket(read, split)?, list(buckets));
        Ok(within.into_iter().chain([is_in]).collect())
    }

    fn is_one_of(&self, read: &Read, keys: &[Key]) -> Result<String> {
        let same = |at: usize, text: &str| -> Result<String> {
            let it = &read.columns[at];
            let value = match it.form {
                Form::Integer => return Ok(format!("{} = {text}", self.0.ident(&it.column.name))),
                // The column alone, so that an index serves it. It may find more.
                Form::Text | Form::Uuid => self.0.ident(&it.column.name),
                _ => self.value(it)?,
            };
            Ok(format!("{value} = {}", self.0.literal(text)))
        };
        if let [at] = *read.key
            && let it = &read.columns[at]
            && matches!(it.form, Form::Integer | Form::Text | Form::Uuid)
        {
            let values = keys.iter().flatten().map(|text| match it.form {
                Form::Integer => text.clone(),
                _ => self.0.literal(text),
            });
            let values: Vec<String> = values.collect();
            let name = self.0.ident(&it.column.name);
            return Ok(format!("{name} IN ({})", values.join(", ")));
        }
        let each = keys.iter().map(|key| {
            let parts = read.key.iter().zip(key);
            let parts: Result<Vec<String>> = parts.map(|(at, text)| same(*at, text)).collect();
            Ok(format!("({})", parts?.join(" AND ")))
        });
        let each: Result<Vec<String>> = each.collect();
        Ok(format!("({})", each?.join(" OR ")))
    }

    fn keys(&self, read: &Read) -> Result<Vec<String>> {
        read.key
            .iter()
            .map(|at| self.value(&read.columns[*at]))
            .collect()
    }

    fn unexpected(&self) -> Error {
        let what = format!("{} gave an answer of another form", self.0.relation());
        Error::new(Code::Service, what)
    }
}

#[async_trait]
impl<W: Words> Table for SqlTable<W> {
    fn columns(&self) -> &[Column] {
        self.0.columns()
    }

    fn has_md5(&self) -> bool {
        self.0.has_md5()
    }

    fn cannot(&self, column: &Column, form: Form) -> Option<String> {
        self.0.canonical(column, form).err()
    }

    async fn extent(&self, read: &Read, bounds: bool) -> Result<Extent> {
        let rows = self.0.estimate().await?;
        if !bounds {
            return Ok(Extent { rows, bounds: None });
        }
        let leading = self.0.ident(&read.leading().column.name);
        // Those that are marked as deleted count, too: what is outside is not looked at.
        let sql = format!(
            "SELECT min({leading}), max({leading}) FROM {}",
            self.0.relation()
        );
        let found = self
            .0
            .query(&sql)
            .await?
            .pop()
            .ok_or_else(|| self.unexpected())?;
        let number = |at: usize| found.get(at)?.as_deref()?.parse().ok();
        Ok(Extent {
            rows,
            bounds: number(0).zip(number(1)),
        })
    }

    async fn buckets(&self, read: &Read, split: &Split) -> Result<Vec<Bucket>> {
        let [high, low] = self.0.sums("h");
        let sql = format!(
            "SELECT b, count(*), {high}, {low} FROM (SELECT {} AS b, {} AS h FROM {}{}{}) AS it GROUP BY b",
            self.bucket(read, split)?,
            self.row(read)?,
            self.0.relation(),
            self.condition(read, self.is_of(read, split)?)?,
            self.0.once()
        );
        let rows = self.0.query(&sql).await?;
        let bucket = |row: &answer::Row| {
            let number = |at: usize| row.get(at)?.as_deref()?.parse::<i128>().ok();
            // Modulo 2^64, of negative sums too.
            let sum = |at: usize| {
                Some(u64::try_from(number(at)?.rem_euclid(1 << 64)).unwrap_or_default())
            };
            Some(Bucket {
                number: i64::try_from(number(0)?).ok()?,
                count: u64::try_from(number(1)?).ok()?,
                sums: [sum(2)?, sum(3)?],
            })
        };
        let buckets: Option<Vec<Bucket>> = rows.iter().map(bucket).collect();
        buckets.ok_or_else(|| self.unexpected())
    }

    async fn rows(&self, read: &Read, part: Part<'_>) -> Result<Vec<Row>> {
        let sql = format!(
            "SELECT {}, {} FROM {}{}",
            self.keys(read)?.join(", "),
            self.0.digits(&self.row(read)?),
            self.0.relation(),
            self.condition(read, self.is_in(read, part)?)?,
        );
        let rows = self.0.query(&sql).await?.into_iter();
        let row = |mut row: answer::Row| {
            let hash = u128::from_str_radix(row.pop()??.as_str(), 16).ok()?;
            Some(Row {
                key: row.into_iter().map(Option::unwrap_or_default).collect(),
                hash: hash.to_be_bytes(),
            })
        };
        let rows: Option<Vec<Row>> = rows.map(row).collect();
        rows.ok_or_else(|| self.unexpected())
    }

    async fn cells(&self, read: &Read, keys: &[Key]) -> Result<Vec<(Key, Cells)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let values: Result<Vec<String>> = read.columns.iter().map(|it| self.value(it)).collect();
        let sql = format!(
            "SELECT {}, {} FROM {}{}",
            self.keys(read)?.join(", "),
            values?.join(", "),
            self.0.relation(),
            self.condition(read, [self.is_one_of(read, keys)?])?,
        );
        let rows = self.0.query(&sql).await?.into_iter();
        let split = |mut row: answer::Row| {
            let cells = row.split_off(read.key.len());
            (
                row.into_iter().map(Option::unwrap_or_default).collect(),
                cells,
            )
        };
        Ok(rows.map(split).collect())
    }

    fn has_key(&self, read: &Read, keys: &[Key]) -> Result<String> {
        self.is_one_of(read, keys)
    }

    async fn writes(&self) -> Result<Option<u64>> {
        self.0.writes().await
    }
}

/// Fields with `|` between them as one text.
fn concat(fields: Vec<String>) -> String {
    match fields.as_slice() {
        [one] => format!("concat({one}, '')"),
        few if few.len() <= ARGUMENTS => format!("concat({})", few.join(", '|', ")),
        many => {
            let parts = many.chunks(ARGUMENTS).map(|it| concat(it.to_vec()));
            concat(parts.collect())
        }
    }
}

fn list(numbers: &[i64]) -> String {
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    texts.join(", ")
}

/// The values in buckets, without a gap between one range and the next.
fn runs(split: &Split, buckets: &[i64]) -> Vec<(i64, i64)> {
    let each = buckets.chunk_by(|one, next| one + 1 == *next);
    let run = |it: &[i64]| {
        let (first, last) = (split.values(*it.first()?)?, split.values(*it.last()?)?);
        Some((first.0, last.1))
    };
    each.filter_map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_beside_each_other_are_one() {
        let split = Split::Ranges {
            first: -5,
            last: 100,
            width: 10,
        };
        assert_eq!(
            runs(&split, &[0, 1, 4, 10]),
            [(-5, 14), (35, 44), (95, 100)]
        );
    }

    #[test]
    fn many_fields_are_one_text() {
        let fields = |count: usize| (0..count).map(|it| it.to_string()).collect::<Vec<_>>();
        assert_eq!(concat(fields(2)), "concat(0, '|', 1)");
        let many = concat(fields(41));
        assert!(
            many.starts_with("concat(concat(0, ") && many.ends_with(", '|', concat(40, ''))"),
            "{many}"
        );
    }
}
