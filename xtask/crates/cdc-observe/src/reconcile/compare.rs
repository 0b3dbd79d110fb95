//! Compares the rows of two tables.
//!
//! One scan of each side counts and adds up buckets of keys, at the same time. Only buckets that differ are looked at
//! again: split where they have too many rows, and read row by row, as key and hash, where they have not.
//!
//! A row that differs may be a change that is on its way. It is read again behind a fence that was asked for after the
//! source's row was read: first at the target, then at the source. Where the source's row is still the same, the target
//! has had all of its changes and differs all the same; that is proven. Where it has changed, it is read once more
//! behind another fence, for as long as it may take to settle.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::fence::Fence;
use super::pairs::Plan;
use super::progress::Bar;
use super::splits::{self, BATCH, Hashes, again, batches, different, sides};
use crate::components::dialect::{Key, Part, Row, Split, Table};
use crate::error::Result;
use crate::wait;

/// So many keys are looked up; of more their buckets are read again.
const LOOKED_UP: usize = 500;
/// The most keys that are looked up with one statement.
const KEYS: usize = 100;
/// The pause before rows are read again that no fence orders.
const PAUSE: Duration = Duration::from_millis(500);

/// How many transactions have written to the source and to the target, where that is known.
type Writes = [Option<u64>; 2];

/// Two tables in sessions of their own.
pub(super) struct Tables<'a> {
    pub(super) source: Box<dyn Table + 'a>,
    pub(super) target: Box<dyn Table + 'a>,
    pub(super) plan: Plan,
    /// Where a flow joins them.
    pub(super) fence: Option<Fence<'a>>,
    /// How long rows may take to settle that keep changing.
    pub(super) settle: Duration,
}

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The target does not have it.
    Missing,
    /// Only the target has it.
    Extra,
    /// Its values differ.
    Changed,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rows of the source's and of the target's.
    pub(super) rows: [u64; 2],
    pub(super) missing: u64,
    pub(super) extra: u64,
    pub(super) changed: u64,
    /// Rows that kept changing until the time was over.
    pub(super) unsettled: u64,
    /// The first rows that differ, by canonical keys.
    pub(super) named: Vec<(Key, Kind)>,
}

/// The most rows that are named.
pub(super) const NAMED: usize = 10_000;

impl Found {
    fn add(&mut self, key: Key, hashes: Hashes) {
        let kind = match hashes {
            [Some(_), None] => Kind::Missing,
            [None, _] => Kind::Extra,
            [Some(_), Some(_)] => Kind::Changed,
        };
        match kind {
            Kind::Missing => self.missing += 1,
            Kind::Extra => self.extra += 1,
            Kind::Changed => self.changed += 1,
        }
        if self.named.len() < NAMED {
            self.named.push((key, kind));
        }
    }
}

impl Tables<'_> {
    /// The split of all rows.
    pub(super) async fn split(&self) -> Result<Split> {
        let read = [&self.plan.source, &self.plan.target];
        let bounds = splits::has_ranges(read);
        let (source, target) = tokio::try_join!(
            self.source.extent(read[0], bounds),
            self.target.extent(read[1], bounds)
        )?;
        Ok(splits::first(read, [source, target]))
    }

    /// Counts the rows of both sides.
    pub(super) async fn count(&self) -> Result<Found> {
        let all = Split::Hashed {
            bits: 0,
            within: None,
            of: None,
        };
        let mut read = [self.plan.source.clone(), self.plan.target.clone()];
        for read in &mut read {
            // The key alone: what is computed for nobody costs as much.
            let key = read.key.iter().map(|at| read.columns[*at].clone());
            read.columns = key.collect();
            read.key = (0..read.columns.len()).collect();
        }
        let (source, target) = tokio::try_join!(
            self.source.buckets(&read[0], &all),
            self.target.buckets(&read[1], &all)
        )?;
        let found = sides(source, target);
        let [source, target] = found.rows;
        Ok(Found {
            rows: found.rows,
            missing: source.saturating_sub(target),
            extra: target.saturating_sub(source),
            ..Found::default()
        })
    }

    /// Compares all rows. What is in `found` is true whenever this is given up.
    pub(super) async fn compare(&self, found: &mut Found, bar: &Bar) -> Result<()> {
        // Before the fence: what was committed after it may not be at the target.
        let before = self.writes().await?;
        if let Some(fence) = &self.fence {
            bar.says("waiting for the target to have what the source has");
            fence.pass().await?;
        }
        let mut work = vec![self.split().await?];
        let mut is_first = true;
        while let Some(split) = work.pop() {
            bar.says("adding up both sides");
            let (source, target) = tokio::try_join!(
                self.source.buckets(&self.plan.source, &split),
                self.target.buckets(&self.plan.target, &split)
            )?;
            let seen = sides(source, target);
            if is_first {
                bar.expects(seen.rows[0].max(seen.rows[1]));
                is_first = false;
            }
            found.rows[0] += seen.same;
            found.rows[1] += seen.same;
            bar.advances(seen.same);
            let mut small = Vec::new();
            for (bucket, rows) in seen.differing {
                match again(&split, bucket, rows).filter(|_| rows > BATCH) {
                    Some(split) => work.push(split),
                    None => small.push((bucket, rows)),
                }
            }
            for batch in batches(&small) {
                let rows = small
                    .iter()
                    .filter(|(bucket, _)| batch.binary_search(bucket).is_ok());
                let rows: u64 = rows.map(|(_, rows)| rows).sum();
                self.examine(&split, &batch, &before, found, bar).await?;
                bar.advances(rows);
            }
        }
        Ok(())
    }

    /// How many transactions have written to each side.
    async fn writes(&self) -> Result<Writes> {
        let both = tokio::try_join!(self.source.writes(), self.target.writes())?;
        Ok(both.into())
    }

    /// Whether nothing was written since but markers, so that nothing can be on its way.
    async fn is_quiet(&self, before: &Writes) -> Result<bool> {
        let now = self.writes().await?;
        let markers = self.fence.as_ref().map_or(0, Fence::markers);
        let none = |at: usize, own: u64| before[at].is_some_and(|it| Some(it + own) == now[at]);
        // Behind a fence the target has all, and only the source could have changed.
        Ok(none(0, markers) && (self.fence.is_some() || none(1, 0)))
    }

    /// Reads the rows of some buckets, and proves those that differ.
    async fn examine(
        &self,
        split: &Split,
        batch: &[i64],
        before: &Writes,
        found: &mut Found,
        bar: &Bar,
    ) -> Result<()> {
        bar.says("reading what differs");
        let part = Part::Buckets(split, batch);
        let (source, target) = tokio::try_join!(
            self.source.rows(&self.plan.source, part),
            self.target.rows(&self.plan.target, part)
        )?;
        found.rows[0] += source.len() as u64;
        found.rows[1] += target.len() as u64;
        let mut left = different(source, target);
        if left.is_empty() {
            return Ok(());
        }
        if self.is_quiet(before).await? {
            left.into_iter()
                .for_each(|(key, hashes)| found.add(key, hashes));
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            bar.says("proving what differs");
            match &self.fence {
                Some(fence) => fence.pass().await?,
                None => wait::pause(PAUSE).await,
            }
            let keys: Vec<Key> = left.keys().cloned().collect();
            let target = self.again(1, part, &keys).await?;
            let source = self.again(0, part, &keys).await?;
            let mut changing = BTreeMap::new();
            for (key, was) in left {
                let now = [source.get(&key).copied(), target.get(&key).copied()];
                if now[0] == now[1] {
                    continue;
                }
                // Without a fence, the target's row must have been left alone, too.
                if now[0] == was[0] && (self.fence.is_some() || now[1] == was[1]) {
                    found.add(key, now);
                } else {
                    changing.insert(key, now);
                }
            }
            left = changing;
            if left.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > self.settle {
                found.unsettled += left.len() as u64;
                return Ok(());
            }
        }
    }

    /// Hashes of rows that differed, as they are now, by their keys.
    async fn again(
        &self,
        side: usize,
        part: Part<'_>,
        keys: &[Key],
    ) -> Result<BTreeMap<Key, [u8; 16]>> {
        let (table, read) = match side {
            0 => (&self.source, &self.plan.source),
            _ => (&self.target, &self.plan.target),
        };
        let mut rows: Vec<Row> = Vec::new();
        if keys.len() > LOOKED_UP {
            rows = table.rows(read, part).await?;
        } else {
            for keys in keys.chunks(KEYS) {
                rows.extend(table.rows(read, Part::Keys(keys)).await?);
            }
        }
        Ok(rows.into_iter().map(|it| (it.key, it.hash)).collect())
    }
}
