//! A collection that is compared with a table.
//!
//! MongoDB has no hash of 128 bits that a pipeline of its own computes, and running JavaScript is forbidden on most
//! servers. So documents come here, one batch of the cursor after the other and with no fields but those that are
//! compared, and are hashed here: memory stays small, the network does not.
//!
//! A collection has no columns: those of the flow are compared, with the types that the target has for them.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use md5::{Digest, Md5};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use sha2::Sha256;

use super::canonical::{absent, canonical};
use super::settings::MongodbSettings;
use crate::clients::mongodb::Mongodb;
use crate::components::dialect::{
    Bucket, Cells, Dialect, Extent, Form, Hash, Key, Part, Read, Row, Split, Table,
};
use crate::components::{named, service, target};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::flows::types::Column;
use crate::profile::schema::Flow;

#[async_trait]
impl Dialect for MongodbSettings {
    async fn open<'a>(
        &'a self,
        env: &'a Environment,
        table: &str,
        flow: Option<&'a Flow>,
    ) -> Result<Box<dyn Table + 'a>> {
        let Some(flow) = flow else {
            let what = format!("{table} has no columns: a collection is compared by its flow");
            return Err(Error::new(Code::Usage, what).hint("cargo xtask reconcile FLOW"));
        };
        let columns = columns(env, flow).await?;
        Ok(Box::new(Documents {
            client: self.client(env),
            collection: table.to_owned(),
            columns,
        }))
    }
}

/// The columns of a flow as its target has them, by the fields that they are made of.
async fn columns(env: &Environment, flow: &Flow) -> Result<Vec<Column>> {
    let name = env.profile.flows.iter().find(|it| std::ptr::eq(it.1, flow));
    let name = name.map_or("", |it| it.0.as_str());
    let at = env.profile.written(flow).or_else(|| env.profile.reader());
    let at = at.map_or("", |it| it.name.as_str());
    let dialect = named(env, at)?.dialect();
    let dialect = dialect.ok_or_else(|| {
        let what = format!("{at} cannot be compared: not supported yet");
        Error::new(Code::Usage, what)
    })?;
    let table = target(env, flow)?.name(env, name);
    let table = dialect.open(env, &table, Some(flow)).await?;
    let rules = flow.rules().1;
    let field = |column: &Column| {
        let rule = rules.get(&column.name);
        let name = rule.map_or(column.name.as_str(), |rule| rule.source(&column.name));
        let is_key = flow.key.iter().any(|it| it == name);
        Column {
            name: name.to_owned(),
            // A key's values may be of several types: there are no ranges of them.
            is_nullable: column.is_nullable || is_key,
            is_key,
            ..column.clone()
        }
    };
    Ok(table.columns().iter().map(field).collect())
}

struct Documents {
    client: Mongodb,
    collection: String,
    columns: Vec<Column>,
}

/// A document as it is compared.
struct Hashed {
    key: Key,
    /// The hash of the key's canonical text.
    of_key: [u8; 16],
    row: [u8; 16],
    cells: Cells,
}

impl Hashed {
    /// The first bits of the key's hash.
    fn bits(&self, bits: u32) -> i64 {
        let first = u16::from_be_bytes([self.of_key[0], self.of_key[1]]);
        i64::from(first) >> (16 - bits)
    }
}

/// A column's field of a canonical text.
fn field(cell: Option<&String>, form: Form) -> String {
    match cell {
        None => "~".to_owned(),
        Some(text) if form.has_length() => format!("{}:{text}", text.len()),
        Some(text) => text.clone(),
    }
}

fn digest(fields: &[String], hash: Hash) -> [u8; 16] {
    let text = fields.join("|");
    match hash {
        Hash::Md5 => Md5::digest(text).into(),
        Hash::Sha256 => {
            let mut first = [0; 16];
            first.copy_from_slice(&Sha256::digest(text)[..16]);
            first
        }
    }
}

fn hashed(read: &Read, document: &Document) -> Hashed {
    let cell = |it: &crate::components::dialect::Compared| {
        let found = document.get(&it.column.name);
        let is_absent = found.is_none() && !it.column.is_nullable;
        match is_absent {
            true => Some(absent(it.form, &it.column.written)),
            false => found.and_then(|value| canonical(value, it.form)),
        }
    };
    let cells: Cells = read.columns.iter().map(cell).collect();
    let fields = cells.iter().zip(&read.columns);
    let fields: Vec<String> = fields
        .map(|(cell, it)| field(cell.as_ref(), it.form))
        .collect();
    let of_key: Vec<String> = read.key.iter().map(|at| fields[*at].clone()).collect();
    let key = read.key.iter();
    Hashed {
        key: key
            .map(|at| cells[*at].clone().unwrap_or_default())
            .collect(),
        of_key: digest(&of_key, read.hash),
        row: digest(&fields, read.hash),
        cells,
    }
}

impl Documents {
    /// Shows the documents that are compared, one after the other.
    async fn each(
        &self,
        read: &Read,
        filter: Document,
        mut each: impl FnMut(Hashed) + Send,
    ) -> Result<()> {
        if read.condition.is_some() {
            let what = format!("--where is SQL, which {} does not speak", self.collection);
            return Err(Error::new(Code::Usage, what).hint("--sample N compares some of the rows"));
        }
        let mut fields = doc! { "_id": 1 };
        for it in &read.columns {
            fields.insert(it.column.name.clone(), 1);
        }
        let take = |document: &Document| {
            let hashed = hashed(read, document);
            if read
                .sample
                .is_none_or(|below| hashed.bits(16) < i64::from(below))
            {
                each(hashed);
            }
        };
        let read = self
            .client
            .each(&self.collection, filter, fields, take)
            .await;
        read.map_err(|error| service(&error))
    }

    /// The documents that may have these keys. An id is meant as the target shows it.
    fn with_keys(&self, read: &Read, keys: &[Key]) -> Document {
        let leading = read.leading();
        if leading.column.name != "_id"
            || leading.form != Form::Text && leading.form != Form::Integer
        {
            return doc! {};
        }
        let mut ids: Vec<Bson> = Vec::new();
        for key in keys {
            let Some(id) = key.first() else { continue };
            ids.push(Bson::String(id.clone()));
            ids.extend(ObjectId::parse_str(id).ok().map(Bson::ObjectId));
            ids.extend(id.parse::<i64>().ok().map(Bson::Int64));
            ids.extend(id.parse::<f64>().ok().map(Bson::Double));
            // Other ids are looked for among all.
            if id.starts_with('{') || ["true", "false", "null", ""].contains(&id.as_str()) {
                return doc! {};
            }
        }
        doc! { "_id": { "$in": ids } }
    }
}

#[async_trait]
impl Table for Documents {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn cannot(&self, column: &Column, form: Form) -> Option<String> {
        let is_bytes = matches!(form, Form::Bytes | Form::Span { .. });
        is_bytes.then(|| format!("{} has no canonical form yet", column.written))
    }

    async fn extent(&self, _: &Read, _: bool) -> Result<Extent> {
        let rows = self.client.count(&self.collection).await;
        Ok(Extent {
            rows: rows.map_err(|error| service(&error))?,
            bounds: None,
        })
    }

    async fn buckets(&self, read: &Read, split: &Split) -> Result<Vec<Bucket>> {
        let bits = bits(split, &self.collection)?;
        let mut buckets: HashMap<i64, Bucket> = HashMap::new();
        self.each(read, doc! {}, |it| {
            if !is_of(split, &it) {
                return;
            }
            let number = it.bits(bits);
            let bucket = buckets.entry(number).or_insert(Bucket {
                number,
                count: 0,
                sums: [0, 0],
            });
            bucket.count += 1;
            let row = u128::from_be_bytes(it.row);
            #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
            let halves = [(row >> 64) as u64, row as u64];
            for (sum, half) in bucket.sums.iter_mut().zip(halves) {
                *sum = sum.wrapping_add(half);
            }
        })
        .await?;
        Ok(buckets.into_values().collect())
    }

    async fn rows(&self, read: &Read, part: Part<'_>) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let row = |it: Hashed| Row {
            key: it.key,
            hash: it.row,
        };
        match part {
            Part::Buckets(split, numbers) => {
                let bits = bits(split, &self.collection)?;
                self.each(read, doc! {}, |it| {
                    if is_of(split, &it) && numbers.binary_search(&it.bits(bits)).is_ok() {
                        rows.push(row(it));
                    }
                })
                .await?;
            }
            Part::Keys(keys) => {
                let wanted: HashSet<&Key> = keys.iter().collect();
                self.each(read, self.with_keys(read, keys), |it| {
                    if wanted.contains(&it.key) {
                        rows.push(row(it));
                    }
                })
                .await?;
            }
        }
        Ok(rows)
    }

    async fn cells(&self, read: &Read, keys: &[Key]) -> Result<Vec<(Key, Cells)>> {
        let wanted: HashSet<&Key> = keys.iter().collect();
        let mut rows = Vec::new();
        self.each(read, self.with_keys(read, keys), |it| {
            if wanted.contains(&it.key) {
                rows.push((it.key, it.cells));
            }
        })
        .await?;
        Ok(rows)
    }

    fn has_key(&self, _: &Read, _: &[Key]) -> Result<String> {
        let what = format!("{} cannot be read again in parts", self.collection);
        Err(Error::new(Code::Usage, what))
    }
}

/// How many bits of the key's hash tell the bucket.
fn bits(split: &Split, collection: &str) -> Result<u32> {
    match split {
        Split::Hashed { bits, .. } => Ok(*bits),
        // No column of a collection has ranges.
        Split::Ranges { .. } => {
            let what = format!("{collection} was divided by ranges");
            Err(Error::new(Code::Usage, what))
        }
    }
}

fn is_of(split: &Split, it: &Hashed) -> bool {
    match split {
        Split::Hashed {
            of: Some((bits, number)),
            ..
        } => it.bits(*bits) == *number,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::dialect::Compared;
    use crate::flows::types::Kind;

    fn read() -> Read {
        let column = |name: &str, kind, is_nullable| Column {
            name: name.into(),
            written: "String".into(),
            kind,
            is_nullable,
            is_key: name == "_id",
            is_filled: false,
        };
        let integer = Kind::Integer {
            bits: 64,
            signed: true,
        };
        let compared = |column, form| Compared { column, form };
        Read {
            columns: vec![
                compared(column("_id", Kind::Text, true), Form::Text),
                compared(column("n", integer, false), Form::Integer),
                compared(column("t", Kind::Text, true), Form::Text),
            ],
            key: vec![0],
            ..Read::default()
        }
    }

    /// As `md5` of a database answers for the same fields.
    #[test]
    fn a_document_is_hashed_as_its_row_is() {
        let it = hashed(&read(), &doc! { "_id": "a", "n": 5_i64, "t": "ä" });
        assert_eq!(it.row, <[u8; 16]>::from(Md5::digest("1:a|5|2:ä")));
        assert_eq!(it.of_key, <[u8; 16]>::from(Md5::digest("1:a")));
        let lacking = hashed(&read(), &doc! { "_id": "a" });
        assert_eq!(lacking.row, <[u8; 16]>::from(Md5::digest("1:a|0|~")));
        let null = hashed(
            &read(),
            &doc! { "_id": "a", "n": Bson::Null, "t": Bson::Null },
        );
        assert_eq!(null.row, <[u8; 16]>::from(Md5::digest("1:a|~|~")));
    }

    #[test]
    fn buckets_are_the_first_bits_of_the_key_s_hash() {
        let it = hashed(&read(), &doc! { "_id": "a" });
        // MD5("1:a") begins with these bytes.
        let first = i64::from(u16::from_be_bytes([it.of_key[0], it.of_key[1]]));
        assert_eq!(it.bits(16), first);
        assert_eq!(it.bits(0), 0);
        assert_eq!(it.bits(4), first >> 12);
    }
}
