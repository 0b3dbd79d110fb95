//! How far a comparison is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// The rows of a table that are done, of how many. It is shared with who prints it.
#[derive(Debug)]
pub struct Bar {
    begun: Instant,
    name: String,
    rows: AtomicU64,
    done: AtomicU64,
    doing: Mutex<&'static str>,
}

impl Bar {
    pub(super) fn new(name: &str) -> Self {
        Bar {
            begun: Instant::now(),
            name: name.to_owned(),
            rows: AtomicU64::new(0),
            done: AtomicU64::new(0),
            doing: Mutex::new("connecting"),
        }
    }

    pub(super) fn says(&self, doing: &'static str) {
        *self.doing.lock().unwrap_or_else(PoisonError::into_inner) = doing;
    }

    pub(super) fn expects(&self, rows: u64) {
        self.rows.store(rows, Ordering::Relaxed);
    }

    pub(super) fn advances(&self, rows: u64) {
        self.done.fetch_add(rows, Ordering::Relaxed);
    }

    /// A line for people: the table, what is done with it, rows, rate and time left.
    pub fn line(&self) -> String {
        let doing = *self.doing.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows, done) = (
            self.rows.load(Ordering::Relaxed),
            self.done.load(Ordering::Relaxed),
        );
        line(&self.name, doing, self.begun.elapsed(), rows, done)
    }
}

fn line(name: &str, doing: &str, took: Duration, rows: u64, done: u64) -> String {
    let done = done.min(rows);
    if done == 0 {
        return format!("{name}: {doing}");
    }
    let seconds = took.as_secs_f64().max(0.001);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    let (rate, left) = {
        let rate = done as f64 / seconds;
        (rate as u64, ((rows - done) as f64 / rate * 1000.0) as u64)
    };
    format!(
        "{name}: {doing}, {done} of {rows} rows, {rate}/s, {} left",
        clock::span(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_time_left_follow_from_what_is_done() {
        let line = line("users", "reading", Duration::from_secs(2), 1_000, 200);
        assert_eq!(line, "users: reading, 200 of 1000 rows, 100/s, 8.0 s left");
    }
}
