//! What a database answers where a table of its own is compared with one of another database.
//!
//! Each side computes a hash of every row ([`Hash`]) over a canonical text, which is the same in all databases, and adds these
//! up for each bucket of keys. So rows stay where they are, and only buckets that differ are looked at again.
//!
//! The canonical text of a row is its fields with `|` between them. A field is `~` for NULL; a text is its length in
//! bytes, `:` and the text in UTF-8; what has no `|` in it, such as a number, stands as it is. As every column has one
//! [`Form`], no two rows have the same text. Halves of hashes are added up as unsigned numbers of 64 bits: unlike XOR,
//! a sum also sees a row that is there twice.

mod forms;
pub(super) mod sql;

use async_trait::async_trait;

use crate::environment::Environment;
use crate::error::Result;
use crate::flows::types::Column;
use crate::profile::schema::Flow;

pub use forms::{Form, UNTIL_2000, form};

/// A database whose tables can be compared.
#[async_trait]
pub trait Dialect: Sync {
    /// Opens a table by its name, in a session of its own. `flow` is the flow whose rows it has, if it is one's.
    ///
    /// # Errors
    /// The server does not answer, or has no such table.
    async fn open<'a>(
        &'a self,
        env: &'a Environment,
        table: &str,
        flow: Option<&'a Flow>,
    ) -> Result<Box<dyn Table + 'a>>;
}

/// A table that is compared. It is an error where the server does not answer or refuses.
#[async_trait]
pub trait Table: Send + Sync {
    /// Its columns that are data.
    fn columns(&self) -> &[Column];

    /// Whether it can compute MD5.
    fn has_md5(&self) -> bool {
        true
    }

    /// Why it cannot write a column's values in a form; none if it can.
    fn cannot(&self, column: &Column, form: Form) -> Option<String>;

    /// How many rows it has, about, and the lowest and the highest value of the key's first column where it is asked
    /// for: of an integer.
    async fn extent(&self, read: &Read, bounds: bool) -> Result<Extent>;

    /// Counts and adds up the rows of each bucket, in one scan.
    async fn buckets(&self, read: &Read, split: &Split) -> Result<Vec<Bucket>>;

    /// The rows of some of it.
    async fn rows(&self, read: &Read, part: Part<'_>) -> Result<Vec<Row>>;

    /// The canonical values of rows by their keys, each with its key.
    async fn cells(&self, read: &Read, keys: &[Key]) -> Result<Vec<(Key, Cells)>>;

    /// That a row has one of these keys, in the server's own SQL.
    ///
    /// # Errors
    /// A column has no canonical form.
    fn has_key(&self, read: &Read, keys: &[Key]) -> Result<String>;

    /// How many transactions have written to the server until now, a source's marker among them; none while one writes,
    /// and where nobody counts them.
    async fn writes(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

/// The hash function that both sides compute, of which the first 128 bits count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hash {
    /// The fastest that databases have.
    #[default]
    Md5,
    /// Where one of them has no MD5.
    Sha256,
}

/// A key's canonical values.
pub type Key = Vec<String>;

/// A row's canonical values; none is NULL.
pub type Cells = Vec<Option<String>>;

/// A column that is compared, as one side has it.
#[derive(Clone, Debug)]
pub struct Compared {
    /// The column.
    pub column: Column,
    /// The form in which both sides write it.
    pub form: Form,
}

/// What is read of a table.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The columns, in the same order on both sides.
    pub columns: Vec<Compared>,
    /// Which of them are the key.
    pub key: Vec<usize>,
    /// Only rows for which this holds, in the server's own SQL.
    pub condition: Option<String>,
    /// Only rows whose key's hash is below this, of 65536.
    pub sample: Option<u32>,
    /// How rows and keys are hashed.
    pub hash: Hash,
}

impl Read {
    /// The key's first column.
    pub fn leading(&self) -> &Compared {
        &self.columns[self.key[0]]
    }
}

/// How large a table is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Rows, about.
    pub rows: u64,
    /// The lowest and the highest value of the key's first column, as far as they fit.
    pub bounds: Option<(i64, i64)>,
}

/// How a table's keys are put into buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// By ranges of one width, of the key's first column, which is an integer. An index on it serves them.
    Ranges {
        /// The first value.
        first: i64,
        /// The last value.
        last: i64,
        /// How many values are in one range.
        width: u64,
    },
    /// By the first bits of the key's hash, whatever the key is: no collation matters, and no skew.
    Hashed {
        /// How many, up to 16.
        bits: u32,
        /// Only keys whose first column is between these.
        within: Option<(i64, i64)>,
        /// Only those of a bucket of fewer bits: how many, and its number.
        of: Option<(u32, i64)>,
    },
}

impl Split {
    /// The values of the key's first column in a bucket of [`Split::Ranges`], or in all of them.
    pub fn values(&self, bucket: i64) -> Option<(i64, i64)> {
        match *self {
            Split::Ranges { first, last, width } => {
                let from = i128::from(first) + i128::from(bucket) * i128::from(width);
                let to = (from + i128::from(width) - 1).min(i128::from(last));
                Some((i64::try_from(from).ok()?, i64::try_from(to).ok()?))
            }
            Split::Hashed { within, .. } => within,
        }
    }
}

/// Some rows of a table.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Those in buckets, whose numbers ascend.
    Buckets(&'a Split, &'a [i64]),
    /// Those with keys.
    Keys(&'a [Key]),
}

/// A bucket's rows together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its number.
    pub number: i64,
    /// How many rows.
    pub count: u64,
    /// The sums of the rows' two halves of their hashes, each modulo 2^64.
    pub sums: [u64; 2],
}

/// A row by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: Key,
    /// Its hash.
    pub hash: [u8; 16],
}
