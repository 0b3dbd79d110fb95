//! Whether a connector that is said to run does nothing, by positions. No IO.
//!
//! A flow has its own rhythm: how long it usually is between two signs of life. One is stuck when its
//! source has moved and it has not, for clearly longer than that.
//!
//! Heartbeats are a sign of life, but no proof: over a connection that has gone silent Debezium reads
//! nothing for ever and beats on, with the same place. What its source has offered it since then
//! tells: transactions that were decoded for it, or log that nobody reads for it.
//!
//! A rollback or another database's log is no such sign, and since one lone transaction of other
//! tables moves no position, it takes two. One look cannot show this: `diagnose` reports it once
//! nobody has read the slot for 15 s, which PostgreSQL brings about after `wal_sender_timeout`, and
//! reports since version 17.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::clock;
use crate::diagnose::facts::{Facts, Known};
use crate::diagnose::{Finding, Fix, Remedy, Severity, Subject};

/// A machine that runs everything at once may keep a connector from its work for so long.
const FLOOR_MS: u64 = 30_000;
/// How many times its usual pause a connector may rest.
const TIMES: u64 = 3;
/// How many pauses its rhythm is learnt from.
const REMEMBERED: usize = 32;

/// Where a connector and its source are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// When this was seen, in milliseconds.
    pub at: u64,
    /// The end of the source's log.
    pub source: Option<u64>,
    /// What the connector has committed.
    pub committed: Option<Value>,
    /// Messages in its topics.
    pub messages: Option<i64>,
    /// When its newest heartbeat came.
    pub beat: Option<u64>,
    /// Committed transactions that its source has decoded for it.
    pub decoded: Option<u64>,
    /// Whether nobody at the source reads the log for it, though it needs no more than the log.
    pub unread: bool,
}

/// What is remembered of one connector.
#[derive(Clone, Debug, Default)]
pub struct Rhythm {
    last: Option<Sample>,
    /// When it last gave a sign of life.
    sign: u64,
    /// Where its source was then.
    source: Option<u64>,
    /// Pauses between its signs of life.
    pauses: Vec<u64>,
    /// What was decoded for it, and it took nothing since.
    decoded: Option<Offered>,
    /// What nobody read for it at any look since.
    unread: Option<Offered>,
}

/// What a source offers, while its connector takes nothing.
#[derive(Clone, Copy, Debug)]
struct Offered {
    /// Since when.
    since: u64,
    /// Where the source was then.
    source: Option<u64>,
    /// At how many looks there was more.
    times: u32,
}

impl Offered {
    /// There was more at this look.
    fn again(offered: &mut Option<Self>, before: &Sample, now: &Sample) {
        let first = Offered {
            since: now.at,
            source: before.source,
            times: 0,
        };
        offered.get_or_insert(first).times += 1;
    }
}

/// A connector that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// For how long, in milliseconds.
    pub silent_ms: u64,
    /// How long it may rest.
    pub usual_ms: u64,
    /// By how much its source has moved on meanwhile: bytes, or seconds of the oplog.
    pub source: u64,
}

impl Rhythm {
    /// How long it may rest.
    pub fn usual_ms(&self) -> u64 {
        let longest = self.pauses.iter().copied().max().unwrap_or(0);
        longest.saturating_mul(TIMES).max(FLOOR_MS)
    }

    /// Whether there was a sign of life between the two last looks.
    pub fn add(&mut self, sample: Sample) -> bool {
        let Some(last) = self.last.replace(sample.clone()) else {
            self.sign = sample.beat.unwrap_or(sample.at).min(sample.at);
            self.source = sample.source;
            return false;
        };
        let took = took(&last, &sample);
        if took {
            self.decoded = None;
        } else if grew(last.decoded, sample.decoded) {
            Offered::again(&mut self.decoded, &last, &sample);
        }
        // A sender that was not awake yet is at the next look.
        if took || !sample.unread {
            self.unread = None;
        } else if grew(last.source, sample.source) {
            Offered::again(&mut self.unread, &last, &sample);
        }
        // Of a log that nobody reads no heartbeat tells anything.
        let beats = !sample.unread && differs(last.beat.as_ref(), sample.beat.as_ref());
        let moved = took || beats;
        if moved {
            // Of a heartbeat the time is known; anything else came since the last look.
            let beat = sample.beat.filter(|_| sample.beat != last.beat);
            let sign = beat
                .unwrap_or(sample.at)
                .clamp(self.sign, sample.at.max(self.sign));
            self.pauses.push(sign - self.sign);
            if self.pauses.len() > REMEMBERED {
                self.pauses.remove(0);
            }
            self.sign = sign;
            self.source = sample.source.or(self.source);
        } else if self.source.is_none() {
            self.source = sample.source;
        }
        moved
    }

    /// Whether it does nothing although its source moved.
    pub fn stuck(&self) -> Option<Stuck> {
        let silent = self.since(self.sign, self.source);
        // One transaction of tables that are not captured moves nothing: only a later one shows its
        // end to the connector.
        let offered = [self.decoded, self.unread].into_iter().flatten();
        let mut offered = offered.filter(|offered| offered.times > 1);
        silent.or_else(|| offered.find_map(|it| self.since(it.since, it.source)))
    }

    /// Whether it is too long since then, and the source was elsewhere.
    fn since(&self, since: u64, source: Option<u64>) -> Option<Stuck> {
        let last = self.last.as_ref()?;
        let silent_ms = last.at.saturating_sub(since);
        let source = last.source?.checked_sub(source?)?;
        let usual_ms = self.usual_ms();
        (source > 0 && silent_ms > usual_ms).then_some(Stuck {
            silent_ms,
            usual_ms,
            source,
        })
    }
}

/// What cannot be seen is no sign of life, and no silence either.
fn differs<T: PartialEq>(before: Option<&T>, after: Option<&T>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if before != after)
}

/// Whether it has taken anything of its source.
fn took(before: &Sample, after: &Sample) -> bool {
    differs(before.committed.as_ref(), after.committed.as_ref())
        || differs(before.messages.as_ref(), after.messages.as_ref())
}

/// Whether there is more than there was.
fn grew(before: Option<u64>, after: Option<u64>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if after > before)
}

/// Where each connector is that is said to run, and whose place can be seen.
pub fn samples(facts: &Facts) -> BTreeMap<String, Sample> {
    let running = facts.connectors.iter().filter(|it| it.is_running());
    let samples = running.filter_map(|connector| {
        let wanted = connector.wanted.as_ref()?;
        let committed = connector.committed.as_ref()?.seen()?;
        let Some(Known::Seen(log)) = facts.log(&connector.name, wanted) else {
            return None;
        };
        let flows = facts
            .flows
            .iter()
            .filter(|it| it.connector == connector.name);
        let sample = Sample {
            at: facts.at,
            source: log.end,
            committed: Some(committed.offset.clone()),
            messages: flows.map(|flow| flow.messages).sum(),
            beat: connector
                .heartbeat_age_ms
                .map(|age| facts.at.saturating_sub(age)),
            decoded: log.decoded,
            unread: log.unread && connector.streams(),
        };
        Some((connector.name.clone(), sample))
    });
    samples.collect()
}

/// Whether no finding tells why a connector does nothing.
pub fn unexplained(findings: &[Finding], connector: &str) -> bool {
    let explains = |finding: &Finding| {
        let about = |subject: &Subject| match subject {
            Subject::Connector(name) => name == connector,
            Subject::Machine | Subject::Component(_) => finding.severity == Severity::Broken,
            Subject::Flow(_) => false,
        };
        about(&finding.subject) || finding.consequences.iter().any(|it| about(&it.subject))
    };
    !findings.iter().any(explains)
}

/// A connector that positions show to do nothing.
pub fn frozen(connector: &str, stuck: Stuck) -> Finding {
    Finding {
        code: "CONNECTOR_STUCK",
        severity: Severity::Broken,
        subject: Subject::Connector(connector.to_owned()),
        cause: format!(
            "it is RUNNING, and its source has moved on by {}, but it has not moved for {} s",
            stuck.source,
            stuck.silent_ms / 1000
        ),
        evidence: vec![format!(
            "by its own rhythm it is idle for up to {}",
            clock::span(stuck.usual_ms)
        )],
        next: format!("cargo xtask connector restart {connector}"),
        remedy: Remedy::Restart,
        fix: Some(Fix::RestartConnector(connector.to_owned())),
        consequences: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn sample(at: u64, source: u64, committed: u64, beat: Option<u64>) -> Sample {
        Sample {
            at,
            source: Some(source),
            committed: Some(json!({ "lsn": committed })),
            messages: Some(7),
            beat,
            ..Sample::default()
        }
    }

    /// Looks once a second at one that beats, until it is stuck or `seconds` are over. `step` gives
    /// where its source is, what it has committed, what was decoded for it, and whether it is unread.
    fn beating(seconds: u64, step: impl Fn(u64) -> (u64, u64, u64, bool)) -> Option<(u64, Stuck)> {
        let mut rhythm = Rhythm::default();
        (0..seconds).find_map(|second| {
            let (source, committed, decoded, unread) = step(second);
            let at = second * 1_000;
            rhythm.add(Sample {
                decoded: Some(decoded),
                unread,
                ..sample(at, source, committed, Some(at))
            });
            rhythm.stuck().map(|stuck| (second, stuck))
        })
    }

    #[test]
    fn heartbeats_hide_nobody_who_takes_nothing_of_what_is_offered() {
        // The source sends into a connection that nobody reads.
        let found = beating(60, |at| (at * 10, 5, at, false));
        let (at, stuck) = found.expect("stuck");
        assert_eq!((at, stuck.source), (32, 320));
        // Nobody at the source reads its log.
        let unread = beating(60, |at| (at * 10, 5, 5, true));
        assert_eq!(unread.expect("stuck").0, 31);
    }

    #[test]
    fn what_offers_nothing_makes_nobody_stuck_who_beats() {
        // The log of other databases, and of transactions that were rolled back.
        assert_eq!(beating(600, |at| (at * 10, 5, 5, false)), None);
        // A transaction of a table that is not captured, and silence.
        assert_eq!(beating(600, |at| (at * 10, 5, at.min(1), false)), None);
        // More of them: a commit shows to the connector where the one before ended.
        let behind = |at: u64| (at * 10, at.saturating_sub(9) / 10, at / 10, false);
        assert_eq!(beating(600, behind), None);
        // A sender that was not awake yet at every other look.
        assert_eq!(beating(600, |at| (at * 10, at / 2, at, at % 2 == 0)), None);
        // One of those, and the log of other databases behind which the sender was at some looks.
        let tail = |at: u64| (at * 10, 5, at.min(1), at.is_multiple_of(3));
        assert_eq!(beating(600, tail), None);
        // A server that was restarted counts again.
        assert_eq!(beating(600, |at| (5, 5, 600 - at, false)), None);
    }

    #[test]
    fn an_idle_source_makes_nobody_stuck() {
        let mut rhythm = Rhythm::default();
        for at in 0..100 {
            rhythm.add(sample(at * 60_000, 5, 5, None));
        }
        assert_eq!(rhythm.stuck(), None);
    }

    #[test]
    fn what_cannot_be_seen_proves_nothing() {
        let mut rhythm = Rhythm::default();
        rhythm.add(sample(0, 5, 5, None));
        let unseen = Sample {
            at: 900_000,
            ..Sample::default()
        };
        rhythm.add(unseen);
        assert_eq!(rhythm.stuck(), None);
    }

    proptest! {
        #[test]
        fn one_that_moves_is_never_stuck(
            steps in proptest::collection::vec((1_u64..600_000, 0_u64..9, any::<bool>()), 1..60),
        ) {
            let mut rhythm = Rhythm::default();
            let (mut at, mut source, mut committed, mut beat) = (1_000_000, 0, 0, 1_000_000);
            rhythm.add(sample(at, source, committed, Some(beat)));
            for (pause, moved, by_beat) in steps {
                at += pause;
                source += moved;
                match by_beat {
                    true => beat = at,
                    false => committed += 1,
                }
                prop_assert!(rhythm.add(sample(at, source, committed, Some(beat))));
                prop_assert_eq!(rhythm.stuck(), None);
            }
        }

        #[test]
        fn a_frozen_one_is_found_after_its_own_rhythm_and_not_before(
            pauses in proptest::collection::vec(1_u64..300_000, 1..40),
            looks in 1_000_u64..60_000,
        ) {
            let mut rhythm = Rhythm::default();
            let (mut at, mut source) = (0, 0);
            rhythm.add(sample(at, source, source, None));
            for pause in pauses {
                at += pause;
                source += 1;
                rhythm.add(sample(at, source, source, None));
            }
            let (frozen, since, usual) = (source, at, rhythm.usual_ms());
            loop {
                at += looks;
                source += 1;
                prop_assert!(!rhythm.add(sample(at, source, frozen, None)));
                let stuck = rhythm.stuck();
                prop_assert_eq!(stuck.is_some(), at - since > usual);
                if let Some(stuck) = stuck {
                    prop_assert_eq!(stuck.silent_ms, at - since);
                    prop_assert_eq!(stuck.source, source - frozen);
                    break;
                }
            }
        }
    }
}
