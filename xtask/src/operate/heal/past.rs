//! What follows from a history. No IO.

use std::collections::BTreeMap;

use super::decide::WATCHED_MS;
use super::history::{Event, Key, Reason, Record, Trouble};

/// What is known of a finding that was seen before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Since when it is there; none while it is not.
    pub since: Option<u64>,
    /// When it was healed, while that is watched.
    pub healed: Option<u64>,
    /// Whether it came back after it was healed.
    pub returned: bool,
    /// What a person was last asked about it, since it is there.
    pub asked: Vec<(Reason, String)>,
    /// What is still to be told to the webhook: when it was tried last, and how often.
    pub untold: Option<(u64, u32)>,
    /// What a person was last asked, as it was.
    pub last: Option<(Trouble, Reason, String)>,
}

/// What follows from a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Past {
    troubles: BTreeMap<Key, Known>,
    /// When something was restarted, by subject.
    attempts: BTreeMap<String, Vec<u64>>,
    /// When the last of them ended, or began where a kill kept its end from being written.
    ended: BTreeMap<String, u64>,
    /// How many there were since everything held.
    rungs: BTreeMap<String, u32>,
}

/// How many attempts of one subject are remembered.
const REMEMBERED: usize = 64;

impl Past {
    /// Adds what happened.
    pub fn add(&mut self, record: &Record) {
        let at = record.at;
        match &record.event {
            Event::Found(trouble) => {
                let known = self.of(&trouble.key);
                known.since = Some(at);
                let healed = known.healed.take();
                known.returned =
                    healed.is_some_and(|healed| at < healed.saturating_add(WATCHED_MS));
            }
            Event::Gone(key) => {
                let known = self.of(key);
                *known = Known::default();
            }
            Event::Healed { key, .. } => {
                let known = self.of(key);
                *known = Known {
                    healed: Some(at),
                    ..Known::default()
                };
            }
            Event::Held(key) => {
                self.troubles.remove(key);
                let open = self.troubles.iter();
                let mut of_subject = open.filter(|(other, _)| other.subject == key.subject);
                if of_subject.all(|(_, known)| known.since.is_none() && known.healed.is_none()) {
                    self.rungs.remove(&key.subject);
                }
            }
            Event::Attempt { key, .. } => {
                let all = self.attempts.entry(key.subject.clone()).or_default();
                all.push(at);
                if all.len() > REMEMBERED {
                    all.remove(0);
                }
                self.ended.insert(key.subject.clone(), at);
                *self.rungs.entry(key.subject.clone()).or_default() += 1;
            }
            Event::Ended { key, .. } => {
                self.ended.insert(key.subject.clone(), at);
            }
            Event::Escalated {
                trouble,
                reason,
                why,
            } => {
                let known = self.of(&trouble.key);
                known.asked.push((*reason, mark(&trouble.cause)));
                known.untold = Some((0, 0));
                known.last = Some((trouble.clone(), *reason, why.clone()));
            }
            Event::Alerted { key, delivered, .. } => {
                let known = self.of(key);
                known.untold = match (known.untold, delivered) {
                    (Some((_, tries)), false) => Some((at, tries + 1)),
                    _ => None,
                };
            }
            Event::Began { .. } | Event::Standby { .. } | Event::Resumed => {}
        }
    }

    fn of(&mut self, key: &Key) -> &mut Known {
        self.troubles.entry(key.clone()).or_default()
    }

    /// What is known of a finding.
    pub fn known(&self, key: &Key) -> Option<&Known> {
        self.troubles.get(key)
    }

    /// All findings that were seen and are not forgotten.
    pub fn troubles(&self) -> impl Iterator<Item = (&Key, &Known)> {
        self.troubles.iter()
    }

    /// When something was restarted for a subject, since a moment.
    pub fn attempts(&self, subject: &str, since: u64) -> Vec<u64> {
        let all = self.attempts.get(subject).into_iter().flatten();
        all.copied().filter(|at| *at >= since).collect()
    }

    /// When the last restart for a subject ended.
    pub fn last_end(&self, subject: &str) -> Option<u64> {
        self.ended.get(subject).copied()
    }

    /// How many restarts there were for a subject since it last held.
    pub fn rung(&self, subject: &str) -> u32 {
        self.rungs.get(subject).copied().unwrap_or(0)
    }
}

/// A cause without what changes while it stays the same: numbers and places of a log.
pub fn mark(cause: &str) -> String {
    let words = cause.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
    let mut text = String::new();
    for word in words {
        let (name, end) = match word.char_indices().last() {
            Some((at, c)) if !c.is_ascii_alphanumeric() => word.split_at(at),
            _ => (word, ""),
        };
        match name.bytes().any(|byte| byte.is_ascii_digit()) {
            true => text.push('#'),
            false => text.push_str(name),
        }
        text.push_str(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_stays_the_same_while_its_numbers_change() {
        assert_eq!(
            mark("slot `a` is gone: changes since 0/1A2B3C are not kept"),
            mark("slot `a` is gone: changes since 16/FF00 are not kept")
        );
        assert_eq!(
            mark("its process (pid 12) has ended"),
            "its process (pid #) has ended"
        );
        assert_ne!(mark("login refused"), mark("connection refused"));
    }
}
