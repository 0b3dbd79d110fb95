//! What healers saw and did, as JSON lines: append-only, on disk before the next step begins.
//!
//! It is read back at every start: a healer that was killed tries nothing again sooner than the one
//! before would have, and tells nobody the same thing twice. A line that a kill cut off is passed over.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::past::Past;
use crate::diagnose::{Finding, Severity};
use crate::error::{Error, Result};

/// When the file is longer, it is put aside in place of the one before. Thousands of events.
const LONGEST: u64 = 1 << 20;
/// How many lines of evidence are kept.
const EVIDENCE: usize = 6;

/// What a trouble is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
pub struct Key {
    /// The rule's code.
    pub code: String,
    /// What it is about, as findings print it.
    pub subject: String,
}

impl Key {
    /// A finding's.
    pub fn of(finding: &Finding) -> Self {
        Key {
            code: finding.code.to_owned(),
            subject: finding.subject.to_string(),
        }
    }
}

/// What is kept of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Trouble {
    /// What it is known by.
    #[serde(flatten)]
    pub key: Key,
    /// Whether changes do not arrive.
    pub broken: bool,
    /// The cause.
    pub cause: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// The next command.
    pub next: String,
    /// The stack trace of what failed, where a person is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl Trouble {
    /// Of a finding, with its texts as `clean` gives them.
    pub fn of(finding: &Finding, clean: impl Fn(&str) -> String) -> Self {
        let evidence = finding.evidence.iter().take(EVIDENCE);
        Trouble {
            key: Key::of(finding),
            broken: finding.severity == Severity::Broken,
            cause: clean(&finding.cause),
            evidence: evidence.map(|line| clean(line)).collect(),
            next: clean(&finding.next),
            trace: None,
        }
    }
}

/// Why a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No restart fixes it.
    Person,
    /// It came back after it was healed.
    Returned,
    /// Restarts did not fix it, and there were enough.
    Exhausted,
    /// It should have passed by itself.
    Lasts,
    /// A restart could lose rows, or what makes it safe cannot be seen.
    Unsafe,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A healer begins.
    Began {
        /// Its process.
        pid: u32,
    },
    /// A finding that was not there before.
    Found(Trouble),
    /// A finding is no longer there. Nothing was restarted for it.
    Gone(Key),
    /// A finding is no longer there after something was restarted for it, and changes move.
    Healed {
        /// Which.
        #[serde(flatten)]
        key: Key,
        /// Since it was found, in milliseconds.
        after_ms: u64,
    },
    /// What was healed stayed so for as long as it was watched.
    Held(Key),
    /// Something is about to be restarted.
    Attempt {
        /// For which finding.
        #[serde(flatten)]
        key: Key,
        /// What is done, as a command.
        act: String,
        /// The how manieth within the hour, from 1.
        number: u32,
    },
    /// It was.
    Ended {
        /// For which finding.
        #[serde(flatten)]
        key: Key,
        /// What was done, as a command.
        act: String,
        /// Whether it says that it worked.
        ok: bool,
        /// What it says.
        said: String,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
    /// A person is asked.
    Escalated {
        /// For what.
        #[serde(flatten)]
        trouble: Trouble,
        /// Why.
        reason: Reason,
        /// The same in words.
        why: String,
    },
    /// The webhook was called.
    Alerted {
        /// For which finding.
        #[serde(flatten)]
        key: Key,
        /// Whether it took it.
        delivered: bool,
        /// What went wrong.
        #[serde(skip_serializing_if = "Option::is_none")]
        said: Option<String>,
    },
    /// Something else has the environment, or cannot be asked: nothing is done meanwhile.
    Standby {
        /// What.
        why: String,
    },
    /// That is over.
    Resumed,
}

/// An event and its time.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Record {
    /// Milliseconds since the epoch.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// An environment's history, and what follows from it.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    past: Past,
}

/// The history's file.
pub fn path(state: &Path) -> PathBuf {
    state.join("heal.jsonl")
}

fn previous(path: &Path) -> PathBuf {
    path.with_extension("previous.jsonl")
}

impl History {
    /// Reads what is there.
    ///
    /// # Errors
    /// A file is there and cannot be read.
    pub fn open(state: &Path) -> Result<Self> {
        let path = path(state);
        let mut past = Past::default();
        for file in [previous(&path), path.clone()] {
            for record in read(&file)? {
                past.add(&record);
            }
        }
        Ok(History { path, past })
    }

    /// What follows from it.
    pub fn past(&self) -> &Past {
        &self.past
    }

    /// Adds an event. When this returns, it is on disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn add(&mut self, record: &Record) -> Result<()> {
        append(&self.path, record).map_err(|source| Error::io("write", &self.path, &source))?;
        self.past.add(record);
        Ok(())
    }
}

/// All of an environment's history, the oldest first; empty where no healer ever ran.
///
/// # Errors
/// A file is there and cannot be read.
pub fn text(state: &Path) -> Result<String> {
    let path = path(state);
    let all = [bytes(&previous(&path))?, bytes(&path)?].concat();
    Ok(String::from_utf8_lossy(&all).into_owned())
}

/// What a file holds; nothing where there is none.
fn bytes(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::io("read", path, &source)),
    }
}

/// The records of a file, without lines that are none.
///
/// # Errors
/// It is there and cannot be read.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = bytes(path)?;
    let lines = bytes.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

fn append(path: &Path, record: &Record) -> std::io::Result<()> {
    let mut line = serde_json::to_string(record)?;
    line.push('\n');
    if fs::metadata(path).is_ok_and(|file| file.len() > LONGEST) {
        fs::rename(path, previous(path))?;
    }
    let mut options = File::options();
    options.append(true).create(true).read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    if !ends_whole(&mut file)? {
        line.insert(0, '\n');
    }
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

/// Whether the last line has its end: what a kill cut off must not swallow the next line.
fn ends_whole(file: &mut File) -> std::io::Result<bool> {
    use std::io::{Read, Seek, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(subject: &str) -> Key {
        Key {
            code: "TASK_FAILED".into(),
            subject: subject.into(),
        }
    }

    fn attempt(at: u64) -> Record {
        Record {
            at,
            event: Event::Attempt {
                key: key("connector c"),
                act: "cargo xtask connector restart c".into(),
                number: 1,
            },
        }
    }

    #[test]
    fn events_are_flat_lines_that_are_read_back() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut history = History::open(dir.path()).expect("none yet");
        let trouble = Trouble {
            key: key("connector c"),
            broken: true,
            cause: "it\nfailed".into(),
            evidence: vec!["a line".into()],
            next: "cargo xtask".into(),
            trace: None,
        };
        let events = [
            Event::Began { pid: 1 },
            Event::Found(trouble.clone()),
            Event::Escalated {
                trouble,
                reason: Reason::Exhausted,
                why: "w".into(),
            },
            Event::Gone(key("connector c")),
            Event::Resumed,
        ];
        let records: Vec<Record> = (5..)
            .zip(events)
            .map(|(at, event)| Record { at, event })
            .collect();
        for record in &records {
            history.add(record).expect("written");
        }
        let file = path(dir.path());
        let text = fs::read_to_string(&file).expect("there");
        assert_eq!(text.lines().count(), records.len());
        let found: serde_json::Value =
            serde_json::from_str(text.lines().nth(1).expect("a line")).expect("JSON");
        assert_eq!(found["event"], "found");
        assert_eq!(found["subject"], "connector c");
        assert_eq!(read(&file).expect("read"), records);
    }

    #[test]
    fn a_line_that_was_cut_off_costs_no_other_line() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = path(dir.path());
        let mut history = History::open(dir.path()).expect("none yet");
        history.add(&attempt(1)).expect("written");
        let whole = fs::read(&file).expect("there");
        for cut in 1..whole.len() {
            let mut bytes = whole.clone();
            bytes.extend(&whole[..cut]);
            fs::write(&file, &bytes).expect("written");
            let mut history = History::open(dir.path()).expect("read");
            history.add(&attempt(2)).expect("written");
            let read = read(&file).expect("read");
            // A line that only lacks its end is whole.
            let left: Vec<u64> = read.iter().map(|record| record.at).collect();
            let whole_line = cut == whole.len() - 1;
            assert_eq!(
                left,
                if whole_line {
                    vec![1, 1, 2]
                } else {
                    vec![1, 2]
                },
                "{cut}"
            );
        }
    }

    #[test]
    fn it_stays_bounded_and_forgets_no_recent_attempt() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = path(dir.path());
        let mut history = History::open(dir.path()).expect("none yet");
        history.add(&attempt(1)).expect("written");
        let long = Event::Standby {
            why: "x".repeat(100_000),
        };
        for at in 2..13 {
            let event = long.clone();
            history.add(&Record { at, event }).expect("written");
        }
        history.add(&attempt(20)).expect("written");
        assert!(fs::metadata(&file).expect("there").len() < LONGEST);
        let past = History::open(dir.path()).expect("read").past;
        assert_eq!(past.attempts("connector c", 0), [1, 20]);
        let all = text(dir.path()).expect("read");
        let first = all.find("\"at\":1,").expect("the oldest");
        assert!(first < all.find("\"at\":20,").expect("the newest"));
        let none = tempfile::tempdir().expect("a directory");
        assert_eq!(text(none.path()).expect("read"), "");
    }
}
