//! How long an answer is waited for that may never come: as long as the machine needs for one.
//!
//! What hangs and what is slow look the same for a while. So the limit follows what the machine shows: how
//! many processes want its processors, and how long other answers took. While nothing at all has answered,
//! there is no measure, and everything is waited for as long as the user allows.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::status::Status;

/// An idle machine answers within this.
const LEAST: Duration = Duration::from_secs(2);
/// Of what is asked at once, the slowest answer takes so many times as long as another one.
const SPREAD: u32 = 4;
/// How often the limit is looked at again.
const TICK: Duration = Duration::from_millis(100);

/// A limit that many waits share: each answer is a measure for the others.
#[derive(Clone, Debug)]
pub struct Limit {
    /// Where there is no measure, and on an idle machine.
    least: Duration,
    /// Never longer.
    most: Duration,
    /// The slowest answer yet in milliseconds; none while nothing has answered.
    slowest: Arc<OnceLock<AtomicU64>>,
}

/// An answer that did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    after: Duration,
    /// Whether it would have come by then, if it came at all.
    had_time: bool,
}

impl Limit {
    /// Grows with what the machine needs, up to `most`.
    pub fn growing(most: Duration) -> Self {
        Limit {
            least: LEAST.min(most),
            most,
            slowest: Arc::default(),
        }
    }

    /// The same for whatever happens.
    pub fn fixed(limit: Duration) -> Self {
        Limit {
            least: limit,
            most: limit,
            slowest: Arc::default(),
        }
    }

    /// For what cannot answer and need not be waited for: it is asked nevertheless, as it may be wrong
    /// that it cannot.
    #[must_use]
    pub fn short(&self) -> Self {
        Limit::fixed(self.least)
    }

    /// The longest that anything is waited for.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// What the future gives, unless it takes too long.
    ///
    /// # Errors
    /// It does.
    pub async fn within<T>(&self, answer: impl Future<Output = T>) -> Result<T, Late> {
        let begin = Instant::now();
        let mut answer = std::pin::pin!(answer);
        loop {
            let (allowed, had_time) = self.allowed(pressure());
            let passed = begin.elapsed();
            let Some(left) = allowed.checked_sub(passed).filter(|left| !left.is_zero()) else {
                return Err(Late {
                    after: passed,
                    had_time,
                });
            };
            if let Ok(answer) = timeout(left.min(TICK), &mut answer).await {
                self.measure(begin.elapsed());
                return Ok(answer);
            }
        }
    }

    fn measure(&self, took: Duration) {
        let took = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let slowest = self.slowest.get_or_init(AtomicU64::default);
        slowest.fetch_max(took, Relaxed);
    }

    /// How long is waited at this pressure, and whether that is as long as the machine needs.
    fn allowed(&self, pressure: f64) -> (Duration, bool) {
        if self.least == self.most {
            return (self.most, false);
        }
        let Some(slowest) = self.slowest.get() else {
            return (self.most, false);
        };
        let by_answers = Duration::from_millis(slowest.load(Relaxed)).saturating_mul(SPREAD);
        let needed = self.least.mul_f64(pressure.clamp(1.0, 1e6)).max(by_answers);
        (needed.min(self.most), needed <= self.most)
    }
}

impl Late {
    /// What it says of who was asked: that it does not answer, or that it was not heard, which may be
    /// this machine's fault.
    pub fn status(self) -> Status {
        match self.had_time {
            true => Status::in_progress(self.to_string()),
            false => Status::unknown(self.to_string()),
        }
    }
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:.0?}", self.after)
    }
}

/// How many processes there are for each processor that want one; 1 where the system does not tell.
fn pressure() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    wanting(&text) / processors as f64
}

/// Of `proc_loadavg(5)`: the mean of the last minute, or what runs now, whichever is more.
fn wanting(loadavg: &str) -> f64 {
    let mut fields = loadavg.split_whitespace();
    let mean = fields.next().and_then(|it| it.parse().ok()).unwrap_or(0.0);
    let now = fields
        .nth(2)
        .and_then(|it| it.split('/').next()?.parse().ok());
    now.unwrap_or(0.0_f64).max(mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::State;

    const WAIT: Duration = Duration::from_secs(30);

    fn measured(ms: u64) -> Limit {
        let limit = Limit::growing(WAIT);
        limit.measure(Duration::from_millis(ms));
        limit
    }

    #[test]
    fn the_limit_follows_the_machine_and_ends_at_what_the_user_allows() {
        let seconds = |seconds| Duration::from_secs(seconds);
        // An idle machine.
        assert_eq!(measured(50).allowed(0.5), (seconds(2), true));
        // The loads at which 4 and 10 of 10 facts were given up after 2 s, on 2 processors.
        assert_eq!(measured(50).allowed(13.5), (seconds(27), true));
        assert_eq!(measured(50).allowed(30.0), (seconds(30), false));
        // A slow server of an idle machine.
        assert_eq!(measured(5_000).allowed(0.5), (seconds(20), true));
        // No measure at all.
        assert_eq!(Limit::growing(WAIT).allowed(0.0), (WAIT, false));
        assert_eq!(Limit::fixed(seconds(8)).allowed(30.0), (seconds(8), false));
        assert_eq!(measured(50).short().allowed(30.0), (seconds(2), false));
        assert_eq!(wanting("1.50 0.4 0.3 12/345 6789\n"), 12.0);
        assert_eq!(wanting("60.02 50.4 0.3 3/345 6789\n"), 60.02);
        assert_eq!(wanting(""), 0.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fact_that_is_on_its_way_is_waited_for() {
        let limit = Limit::growing(WAIT);
        let slow = async |seconds| tokio::time::sleep(Duration::from_secs(seconds)).await;
        let all = tokio::join!(
            limit.within(slow(6)),
            limit.within(slow(8)),
            limit.within(slow(20)),
        );
        assert!(matches!(all, (Ok(()), Ok(()), Ok(()))), "{all:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_hangs_beside_answers_is_given_up_as_silent_and_no_later_than_allowed() {
        let limit = Limit::growing(WAIT);
        let never = std::future::pending::<()>();
        let (quick, late) = tokio::join!(limit.within(async {}), limit.within(never));
        quick.expect("an answer");
        let late = late.expect_err("late");
        assert!(late.after <= WAIT, "{late:?}");
        let alone = Limit::growing(WAIT);
        let late = alone.within(std::future::pending::<()>()).await;
        let status = late.expect_err("late").status();
        assert_eq!(status.state, State::Unknown);
        assert_eq!(status.message, "no answer within 30s");
    }
}
