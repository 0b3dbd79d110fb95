//! What is written, and what must be there after it. No IO: a step follows from the seed and from the rows that a session
//! knows to be there, and a step whose answer was lost with its connection is decided by the rows that are found.
//!
//! Each session has keys of its own, so that no other explains what it finds. The keys of a step are all different: what it
//! leaves follows from its changes alone.

use std::collections::{BTreeMap, BTreeSet};

use super::random::Random;

/// About how many rows a session keeps.
const ROWS: usize = 150;
/// How many changes a step has at most. They are one transaction.
const STEP: usize = 4;
/// How many deleted keys are remembered, to be used again.
const GONE: usize = 20;
/// What short texts are made of: what is quoted, escaped or several bytes long somewhere.
const PIECES: [&str; 16] = [
    "a", "Zoë", "'", "\"", "\\", "\\n", "\n", "\t", "{", "}", "null", "NULL", "%", "日本", "🦀",
    " ",
];

/// A table that is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The flow that reads it.
    pub flow: String,
    /// Its name with the schema.
    pub name: String,
    /// The columns of its key; all are integers.
    pub key: Vec<String>,
}

/// A table's index, and the values of the key's columns.
pub type Key = (usize, Vec<i64>);

/// A row without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Tells this version of the row from every other.
    pub label: String,
    /// A number with two decimals, as the source writes it.
    pub amount: Option<String>,
    /// Anything from NULL to 150 kB.
    pub body: Option<String>,
}

/// The rows that are there.
pub type Rows = BTreeMap<Key, Row>;

/// A change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert(Key, Row),
    /// New values; the body only where it says so.
    Update(Key, Row, bool),
    /// The row goes.
    Delete(Key),
    /// The row gets another key, and new values but for its body.
    Rekey(Key, Key, Row),
}

impl Change {
    /// What it leaves of each key that it touches.
    fn leaves(&self) -> Vec<(&Key, Option<&Row>)> {
        match self {
            Change::Insert(key, row) | Change::Update(key, row, _) => vec![(key, Some(row))],
            Change::Delete(key) => vec![(key, None)],
            Change::Rekey(from, to, row) => vec![(from, None), (to, Some(row))],
        }
    }
}

/// What became of a step whose answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was committed.
    Done,
    /// It was not.
    Undone,
    /// What is there is neither: the source lost something, or another program writes.
    Neither,
}

/// The keys that a step touches.
pub fn touched(step: &[Change]) -> BTreeSet<Key> {
    let leaves = step.iter().flat_map(Change::leaves);
    leaves.map(|(key, _)| key.clone()).collect()
}

/// One session's part of the workload.
#[derive(Clone, Debug)]
pub struct Writer {
    number: i64,
    of: i64,
    tables: Vec<Table>,
    random: Random,
    /// How many keys it has made.
    made: i64,
    /// How many versions of rows it has made.
    versions: u64,
    rows: Rows,
    gone: Vec<Key>,
}

impl Writer {
    /// Session `number` of `of`, without rows.
    pub fn new(seed: u64, number: u16, of: u16, tables: &[Table]) -> Self {
        Writer {
            number: i64::from(number),
            of: i64::from(of),
            tables: tables.to_vec(),
            random: Random::new(seed, u64::from(number) + 1),
            made: 0,
            versions: 0,
            rows: Rows::new(),
            gone: Vec::new(),
        }
    }

    /// The rows that must be there.
    pub fn rows(&self) -> &Rows {
        &self.rows
    }

    /// How long to wait before the next step, in milliseconds.
    pub fn rest(&mut self) -> u64 {
        20 + self.random.number() % 80
    }

    /// The next step. Nothing is known of it yet.
    pub fn step(&mut self) -> Vec<Change> {
        let mut step: Vec<Change> = Vec::new();
        let mut used = BTreeSet::new();
        for _ in 0..=self.random.below(STEP) {
            let Some(change) = self.change() else {
                continue;
            };
            let keys = touched(std::slice::from_ref(&change));
            if keys.is_disjoint(&used) {
                used.extend(keys);
                step.push(change);
            }
        }
        step
    }

    fn change(&mut self) -> Option<Change> {
        // More inserts while there are few rows, more deletes while there are many.
        let most = match self.rows.len() {
            0..ROWS => 12,
            _ => 6,
        };
        let dice = self.random.below(20);
        if self.rows.is_empty() || dice < most / 2 {
            let key = self.new_key()?;
            let row = self.row(None);
            return Some(Change::Insert(key, row));
        }
        let at = self.random.below(self.rows.len());
        let (key, row) = self.rows.iter().nth(at)?;
        let (key, body) = (key.clone(), row.body.clone());
        Some(match dice {
            18.. => {
                let mut to = self.new_key()?;
                // Of the same table, where another row may have it.
                to.0 = key.0;
                to.1 = self.of_width(to.1.first().copied()?, key.1.len());
                if self.rows.contains_key(&to) {
                    let id = self.fresh();
                    to.1 = self.of_width(id, key.1.len());
                }
                Change::Rekey(key, to, self.row(Some(body)))
            }
            15..18 => Change::Delete(key),
            11..15 => {
                let row = self.row(None);
                Change::Update(key, row, true)
            }
            _ => {
                let row = self.row(Some(body));
                Change::Update(key, row, false)
            }
        })
    }

    /// The row that tells when changes arrive: of this table, with a key that no row has had.
    pub fn probe(&mut self, table: usize) -> Change {
        let width = self.tables.get(table).map_or(1, |it| it.key.len());
        let id = self.fresh();
        let key = (table, self.of_width(id, width));
        let mut row = self.row(None);
        // An empty text would not be told from none.
        row.label = format!("probe-{id}");
        Change::Insert(key, row)
    }

    /// A key that no row has: a new one, or one whose row was deleted.
    fn new_key(&mut self) -> Option<Key> {
        if !self.gone.is_empty() && self.random.below(4) == 0 {
            let at = self.random.below(self.gone.len());
            return self.gone.get(at).cloned();
        }
        let table = self.random.below(self.tables.len());
        let width = self.tables.get(table)?.key.len();
        let id = self.fresh();
        Some((table, self.of_width(id, width)))
    }

    fn fresh(&mut self) -> i64 {
        self.made += 1;
        self.made * self.of + self.number
    }

    /// A key of so many columns.
    fn of_width(&self, id: i64, width: usize) -> Vec<i64> {
        let rest = (1..width).map(|at| (id + i64::try_from(at).unwrap_or(0)) % 7);
        std::iter::once(id).chain(rest).collect()
    }

    /// Values; the body may be one that stays.
    fn row(&mut self, body: Option<Option<String>>) -> Row {
        self.versions += 1;
        let label = match self.random.below(12) {
            // An empty value is one, too. Its row is told from others by its body.
            0 => String::new(),
            _ => format!("{}-{}", self.number, self.versions),
        };
        let amount = (self.random.below(6) > 0).then(|| {
            let cents = self.random.number() % 1_000_000_000_000;
            let sign = if self.random.below(2) == 0 { "-" } else { "" };
            match cents {
                0 => "0.00".into(),
                cents => format!("{sign}{}.{:02}", cents / 100, cents % 100),
            }
        });
        let body = body.unwrap_or_else(|| self.body());
        Row {
            label,
            amount,
            body,
        }
    }

    fn body(&mut self) -> Option<String> {
        match self.random.below(40) {
            0..4 => None,
            4..8 => Some(String::new()),
            // Kept outside of the row by the source.
            8..11 => {
                let size = 2_000 + self.random.below(8_000);
                Some(self.digits(size))
            }
            11 => {
                let size = 50_000 + self.random.below(100_000);
                Some(self.digits(size))
            }
            _ => {
                let pieces = 1 + self.random.below(12);
                let pieces = (0..pieces).filter_map(|_| self.random.of(&PIECES).copied());
                Some(pieces.collect())
            }
        }
    }

    /// Text that does not compress well.
    fn digits(&mut self, size: usize) -> String {
        let mut text = String::with_capacity(size + 16);
        while text.len() < size {
            text += &format!("{:016x}", self.random.number());
        }
        text
    }

    /// The step was acknowledged.
    pub fn done(&mut self, step: &[Change]) {
        for (key, row) in step.iter().flat_map(Change::leaves) {
            match row {
                Some(row) => {
                    self.rows.insert(key.clone(), row.clone());
                    self.gone.retain(|it| it != key);
                }
                None => {
                    self.rows.remove(key);
                    self.gone.push(key.clone());
                }
            }
        }
        let over = self.gone.len().saturating_sub(GONE);
        self.gone.drain(..over);
    }

    /// What became of a step, by the rows that were found under the keys that it touches.
    pub fn fate(&self, step: &[Change], found: &Rows) -> Fate {
        let after = step.iter().flat_map(Change::leaves);
        let mut after = after.map(|(key, row)| (key, row.cloned()));
        if after.all(|(key, row)| found.get(key) == row.as_ref()) {
            return Fate::Done;
        }
        let keys = touched(step);
        match keys.iter().all(|key| found.get(key) == self.rows.get(key)) {
            true => Fate::Undone,
            false => Fate::Neither,
        }
    }
}

/// How what is there differs from what must be: keys in words, and how.
pub fn differences(
    tables: &[Table],
    truth: &Rows,
    found: &Rows,
) -> Vec<(String, Vec<String>, How)> {
    let keys: BTreeSet<&Key> = truth.keys().chain(found.keys()).collect();
    let differing = keys.into_iter().filter_map(|key| {
        let how = match (truth.get(key), found.get(key)) {
            (Some(_), None) => How::Missing,
            (None, Some(_)) => How::Extra,
            (one, other) if one != other => How::Changed,
            _ => return None,
        };
        let flow = tables.get(key.0).map_or("", |it| it.flow.as_str());
        let values = key.1.iter().map(ToString::to_string).collect();
        Some((flow.to_owned(), values, how))
    });
    differing.collect()
}

/// How a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is not there.
    Missing,
    /// It must not be there.
    Extra,
    /// Its values are others.
    Changed,
}

impl How {
    /// As reports write it.
    pub fn text(self) -> &'static str {
        match self {
            How::Missing => "missing",
            How::Extra => "extra",
            How::Changed => "changed",
        }
    }
}
