//! What came of it: rounds, differing keys, and how long each fault took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::faults::Group;
use crate::report::table::Table;
use crate::report::text::{self, Palette};

/// How many differing keys people are shown.
const SHOWN: usize = 20;

/// What `diagnose` said of a fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Named {
    /// It named it.
    As(String),
    /// It was over before anything looked, or nothing is to be found.
    NotSeen,
    /// It did not name it. What it said first instead, if anything.
    Wrongly(Option<String>),
}

/// A row that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Its flow.
    pub flow: String,
    /// Its key.
    pub key: Vec<String>,
    /// `missing`, `extra` or `changed`.
    pub how: String,
    /// `source`, beside what was acknowledged, or `target`, beside the source.
    pub at: &'static str,
}

/// A round that was played.
#[derive(Clone, Debug, Serialize)]
pub struct Played {
    /// From 1.
    pub round: usize,
    /// `kafka killed`.
    pub fault: String,
    /// Its kind.
    pub group: Group,
    /// What `diagnose` said.
    pub named: Named,
    /// How long after the fault.
    pub named_after_ms: Option<u64>,
    /// What fixed it, in words.
    pub fixed_by: String,
    /// How long after the fault a row that was written after it was at every target.
    pub arrived_after_ms: Option<u64>,
    /// Changes of rows that were acknowledged since the beginning.
    pub acknowledged: u64,
    /// Rows that were compared.
    pub rows: u64,
    /// Rows that are not as they should be.
    pub differences: Vec<Difference>,
    /// What else is wrong.
    pub problems: Vec<String>,
}

impl Played {
    /// Whether all of it is as it should be.
    pub fn is_fine(&self) -> bool {
        self.differences.is_empty() && self.problems.is_empty()
    }
}

/// All that was played.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// How many rounds were wanted.
    pub wanted: usize,
    /// Rounds.
    pub rounds: Vec<Played>,
}

/// How long a fault took, over all its rounds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Times {
    /// The fault.
    pub fault: String,
    /// How often.
    pub count: usize,
    /// How often `diagnose` named it.
    pub named: usize,
    /// By which codes.
    pub codes: Vec<String>,
    /// The median of the times until it was named.
    pub named_ms: Option<u64>,
    /// The median of the times until a row arrived.
    pub median_ms: Option<u64>,
    /// The longest of them.
    pub max_ms: Option<u64>,
}

impl Report {
    /// Rows that are not as they should be.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.rounds.iter().flat_map(|it| &it.differences)
    }

    /// Whether every round was as it should be.
    pub fn is_fine(&self) -> bool {
        self.rounds.iter().all(Played::is_fine)
    }

    /// Changes of rows that were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.rounds.last().map_or(0, |it| it.acknowledged)
    }

    /// How long each fault took, in the order of their names.
    pub fn times(&self) -> Vec<Times> {
        let mut by: BTreeMap<&str, Vec<&Played>> = BTreeMap::new();
        for played in &self.rounds {
            by.entry(&played.fault).or_default().push(played);
        }
        let of = |(fault, rounds): (&str, Vec<&Played>)| {
            let arrived = sorted(rounds.iter().filter_map(|it| it.arrived_after_ms));
            let named = sorted(rounds.iter().filter_map(|it| it.named_after_ms));
            let mut codes: Vec<String> = rounds
                .iter()
                .filter_map(|it| match &it.named {
                    Named::As(code) => Some(code.clone()),
                    Named::NotSeen | Named::Wrongly(_) => None,
                })
                .collect();
            let count = codes.len();
            codes.sort();
            codes.dedup();
            Times {
                fault: fault.to_owned(),
                count: rounds.len(),
                named: count,
                codes,
                named_ms: median(&named),
                median_ms: median(&arrived),
                max_ms: arrived.last().copied(),
            }
        };
        by.into_iter().map(of).collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "seed": self.seed,
            "wanted": self.wanted,
            "played": self.rounds.len(),
            "acknowledged": self.acknowledged(),
            "fine": self.is_fine(),
            "faults": self.times(),
            "rounds": self.rounds,
        })
    }

    /// For people.
    pub fn text(&self, palette: Palette) -> String {
        let mut table = Table::titled("FAULT  >ROUNDS  NAMED AS  >AFTER  >ARRIVES AGAIN  >LONGEST");
        let time = |ms: Option<u64>| ms.map_or_else(|| "-".into(), span);
        for it in self.times() {
            let unseen = it.count - it.named;
            let codes = match (it.codes.join(", "), unseen) {
                (codes, 0) => codes,
                (codes, _) if codes.is_empty() => "-".into(),
                (codes, unseen) => format!("{codes} ({unseen} not seen)"),
            };
            table.row([
                it.fault,
                it.count.to_string(),
                codes,
                time(it.named_ms),
                time(it.median_ms),
                time(it.max_ms),
            ]);
        }
        let mut text = table.text(palette);
        for played in self.rounds.iter().filter(|it| !it.is_fine()) {
            let (round, fault) = (played.round, &played.fault);
            for problem in &played.problems {
                text += &format!("round {round}, {fault}: {problem}\n");
            }
            for it in played.differences.iter().take(SHOWN) {
                let key = it.key.join(", ");
                text += &format!(
                    "round {round}, {fault}: {} {key} is {} at the {}\n",
                    it.flow, it.how, it.at
                );
            }
            if let Some(more @ 1..) = played.differences.len().checked_sub(SHOWN) {
                text += &format!("round {round}: and {more} more: --output json lists all\n");
            }
        }
        let (seed, changes) = (self.seed, self.acknowledged());
        let rows = self.rounds.last().map_or(0, |it| it.rows);
        let played = text::count(self.rounds.len(), "round");
        let end = match (self.differences().count(), self.is_fine()) {
            (0, true) => "nothing lost, nothing extra".to_owned(),
            (0, false) => "no row differs; see above".to_owned(),
            (differing, _) => format!("{} not as they should be", text::count(differing, "row")),
        };
        text + &format!(
            "seed {seed}: {played}, {changes} acknowledged changes, {rows} rows at the end: {end}\n"
        )
    }
}

/// A time for people.
pub fn span(ms: u64) -> String {
    text::duration(Duration::from_millis(ms))
}

fn sorted(times: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times
}

/// The one in the middle; of two the later.
fn median(sorted: &[u64]) -> Option<u64> {
    sorted.get(sorted.len() / 2).copied()
}
