//! How keys are put into buckets, and which rows differ: pure.

use std::collections::{BTreeMap, HashMap};

use crate::components::dialect::{Bucket, Extent, Form, Key, Read, Row, Split};

/// Rows of a bucket, about: so many are read again for one row that differs.
const ROWS: u64 = 64;
/// The most buckets of one scan. Both sides keep a count and a sum for each.
const MOST: u64 = 1 << BITS;
/// As bits of a hash.
const BITS: u32 = 16;
/// The most rows of one side that are in memory.
pub(super) const BATCH: u64 = 50_000;

/// The first split of two tables.
pub(super) fn first(read: [&Read; 2], extents: [Extent; 2]) -> Split {
    let rows = extents.iter().map(|it| it.rows).max().unwrap_or(0);
    let bounds = extents.iter().filter_map(|it| it.bounds);
    let bounds = bounds.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
    match bounds.filter(|_| has_ranges(read)) {
        Some(values) => ranges(values, rows).unwrap_or_else(|| hashed(rows, None)),
        None => hashed(rows, None),
    }
}

/// Whether ranges of the key's first column can be made: of an integer that every row has.
pub(super) fn has_ranges(read: [&Read; 2]) -> bool {
    read.iter().all(|it| {
        let leading = it.leading();
        leading.form == Form::Integer && !leading.column.is_nullable
    })
}

/// The split of a bucket that has too many rows; none where it cannot be split any more.
pub(super) fn again(split: &Split, bucket: i64, rows: u64) -> Option<Split> {
    match *split {
        Split::Ranges { .. } => {
            let values = split.values(bucket)?;
            let apart = ranges(values, rows).filter(|_| values.0 < values.1);
            // One value has them all: the key's other columns tell them apart.
            Some(apart.unwrap_or_else(|| hashed(rows, Some(values))))
        }
        Split::Hashed { bits, within, .. } => (bits < BITS).then(|| Split::Hashed {
            bits: (bits + buckets(rows).next_power_of_two().ilog2()).min(BITS),
            within,
            of: Some((bits, bucket)),
        }),
    }
}

fn ranges((first, last): (i64, i64), rows: u64) -> Option<Split> {
    let values = last.checked_sub(first)?.checked_add(1)?;
    let width = values.unsigned_abs().div_ceil(buckets(rows));
    Some(Split::Ranges { first, last, width })
}

fn hashed(rows: u64, within: Option<(i64, i64)>) -> Split {
    Split::Hashed {
        bits: buckets(rows).next_power_of_two().ilog2(),
        within,
        of: None,
    }
}

fn buckets(rows: u64) -> u64 {
    rows.div_ceil(ROWS).clamp(1, MOST)
}

/// A bucket whose sides differ, with the rows of the side that has more.
pub(super) type Differing = (i64, u64);

/// What two scans say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sides {
    /// Rows of buckets that are the same.
    pub(super) same: u64,
    /// Rows of each side in all buckets.
    pub(super) rows: [u64; 2],
    /// The buckets that differ, in order.
    pub(super) differing: Vec<Differing>,
}

/// Compares the buckets of both sides.
pub(super) fn sides(source: Vec<Bucket>, target: Vec<Bucket>) -> Sides {
    let mut found = Sides::default();
    let mut others: HashMap<i64, Bucket> = target.into_iter().map(|it| (it.number, it)).collect();
    for bucket in source {
        found.rows[0] += bucket.count;
        match others.remove(&bucket.number) {
            Some(other) => {
                found.rows[1] += other.count;
                if other == bucket {
                    found.same += bucket.count;
                } else {
                    found
                        .differing
                        .push((bucket.number, bucket.count.max(other.count)));
                }
            }
            None => found.differing.push((bucket.number, bucket.count)),
        }
    }
    for other in others.into_values() {
        found.rows[1] += other.count;
        found.differing.push((other.number, other.count));
    }
    found.differing.sort_unstable();
    found
}

/// Buckets that are read together, each batch within [`BATCH`] rows.
pub(super) fn batches(differing: &[Differing]) -> Vec<Vec<i64>> {
    let (mut batches, mut rows): (Vec<Vec<i64>>, u64) = (Vec::new(), 0);
    for (bucket, count) in differing {
        match batches.last_mut().filter(|_| rows + count <= BATCH) {
            Some(last) => last.push(*bucket),
            None => {
                batches.push(vec![*bucket]);
                rows = 0;
            }
        }
        rows += count;
    }
    batches
}

/// The hashes of a row that differs, of the source's and of the target's; none where it is not there.
pub(super) type Hashes = [Option<[u8; 16]>; 2];

/// The rows that are not the same on both sides, by their keys.
pub(super) fn different(source: Vec<Row>, target: Vec<Row>) -> BTreeMap<Key, Hashes> {
    let mut others: HashMap<Key, [u8; 16]> =
        target.into_iter().map(|it| (it.key, it.hash)).collect();
    let mut found = BTreeMap::new();
    for row in source {
        let other = others.remove(&row.key);
        if other != Some(row.hash) {
            found.insert(row.key, [Some(row.hash), other]);
        }
    }
    found.extend(
        others
            .into_iter()
            .map(|(key, hash)| (key, [None, Some(hash)])),
    );
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(key: u32, hash: u8) -> Row {
        Row {
            key: vec![key.to_string()],
            hash: [hash; 16],
        }
    }

    #[test]
    fn rows_are_missing_extra_or_changed() {
        let found = different(
            vec![row(1, 1), row(2, 2), row(3, 3)],
            vec![row(2, 2), row(3, 4), row(4, 4)],
        );
        let key = |it: u32| vec![it.to_string()];
        assert_eq!(
            found.into_iter().collect::<Vec<_>>(),
            [
                (key(1), [Some([1; 16]), None]),
                (key(3), [Some([3; 16]), Some([4; 16])]),
                (key(4), [None, Some([4; 16])]),
            ]
        );
    }

    #[test]
    fn one_far_value_is_split_again() {
        let split = ranges((1, i64::MAX - 1), 1_000_000).expect("ranges");
        assert!(matches!(split, Split::Ranges { width, .. } if width > 1_000_000));
        let again = again(&split, 0, 1_000_000);
        let Some(Split::Ranges { first, last, .. }) = again else {
            panic!("{again:?}");
        };
        assert_eq!(Some((first, last)), split.values(0));
        let one = ranges((7, 7), 1_000_000).expect("a range");
        let hashed = super::again(&one, 0, 1_000_000).expect("a split");
        assert!(matches!(
            hashed,
            Split::Hashed {
                bits: 14,
                within: Some((7, 7)),
                of: None
            }
        ));
        let deeper = super::again(&hashed, 5, 100_000).expect("a split");
        assert!(matches!(
            deeper,
            Split::Hashed {
                bits: 16,
                of: Some((14, 5)),
                ..
            }
        ));
        assert_eq!(super::again(&deeper, 5, 100_000), None);
        // More values than a number of 64 bits counts.
        assert_eq!(ranges((i64::MIN, i64::MAX), 10), None);
    }

    proptest! {
        #[test]
        fn every_value_is_in_the_bucket_that_has_it(
            first in -1_000_i64..1_000, more in 0_i64..100_000, rows in 0_u64..10_000_000, at in 0_i64..100_000,
        ) {
            let last = first + more;
            let value = first + at % (more + 1);
            let Some(split @ Split::Ranges { width, .. }) = ranges((first, last), rows) else {
                panic!("no ranges");
            };
            let bucket = (value - first) / i64::try_from(width).expect("a width");
            let (from, to) = split.values(bucket).expect("values");
            prop_assert!(from <= value && value <= to && to <= last);
        }

        #[test]
        fn batches_have_every_bucket_once(counts in proptest::collection::vec(0_u64..80_000, 0..60)) {
            let differing: Vec<Differing> = (0..).zip(counts).collect();
            let batches = batches(&differing);
            let all: Vec<i64> = batches.iter().flatten().copied().collect();
            prop_assert_eq!(all, differing.iter().map(|it| it.0).collect::<Vec<_>>());
            for batch in batches {
                let rows: u64 = batch.iter().map(|it| differing[usize::try_from(*it).unwrap()].1).sum();
                prop_assert!(batch.len() == 1 || rows <= BATCH);
            }
        }
    }
}
