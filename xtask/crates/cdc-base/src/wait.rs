//! The only loop that waits.
//!
//! Everything else asks [`until`] with an observation that returns a [`Status`], or [`answer`] where
//! what was seen is wanted itself; a step never sleeps. [`until_changed`] is notified when to look instead
//! of looking again and again. A wait ends at once on `Current` and on `Failed`, and a timeout says
//! what was last seen. It also ends where what its node does leads nowhere any more.
//!
//! A wait for a change checks now and then whether the change can still come
//! ([`until_or_stopped`]).

mod limit;

use std::time::Duration;

pub use limit::{Late, Limit};

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::status::{State, Status};

/// How often and how long to look.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Give up after this long.
    pub deadline: Duration,
    /// Pause before the second look; it doubles up to `slowest`.
    pub first: Duration,
    /// The longest pause between two looks.
    pub slowest: Duration,
}

impl Patience {
    /// Looks often: for what is about to happen on this machine.
    pub fn local(deadline: Duration) -> Self {
        Patience {
            deadline,
            first: Duration::from_millis(10),
            slowest: Duration::from_millis(80),
        }
    }
}

/// Looks until the status is `Current`, and returns its message.
///
/// A look that itself hangs is cut off at the deadline.
///
/// # Errors
/// `GateFailed` as soon as the status is `Failed`; `GateTimeout` with the last status seen.
pub async fn until<F>(
    what: &str,
    patience: Patience,
    progress: &Progress,
    observe: impl Fn() -> F,
) -> Result<String>
where
    F: Future<Output = Status>,
{
    let look = || async {
        let status = observe().await;
        match status.state {
            State::Current => Ok(status.message),
            _ => Err(status),
        }
    };
    answer(what, patience, progress, look).await
}

/// Asks until there is an answer, as [`until`]; the status of a question without one says why.
///
/// # Errors
/// As [`until`].
pub async fn answer<T, F>(
    what: &str,
    patience: Patience,
    progress: &Progress,
    ask: impl Fn() -> F,
) -> Result<T>
where
    F: Future<Output = std::result::Result<T, Status>>,
{
    let begin = Instant::now();
    let end = begin + patience.deadline;
    let mut pause = patience.first;
    let mut last = Status::unknown("nothing was seen yet");
    loop {
        match timeout_at(end, ask()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(status)) => last = status,
            Err(_) => {}
        }
        match last.state {
            State::Failed => return Err(failed(what, last)),
            _ => progress.observe(last.message.clone()),
        }
        if Instant::now() + pause >= end {
            return Err(timed_out(what, patience.deadline, last));
        }
        tokio::select! {
            biased;
            () = progress.give_up() => {}
            () = sleep(pause) => {}
        }
        pause = (pause * 2).min(patience.slowest);
    }
}

/// Looks until the status is `Current`, as [`until`], and now and again at what would make the wait
/// vain: looking there as often would slow down what is waited for.
///
/// # Errors
/// As [`until`]; also `GateFailed` as soon as `stopped` tells a status that is `Failed`.
pub async fn until_or_stopped<F, S>(
    what: &str,
    patience: Patience,
    progress: &Progress,
    observe: impl Fn() -> F,
    stopped: impl Fn() -> S,
) -> Result<String>
where
    F: Future<Output = Status>,
    S: Future<Output = Option<Status>>,
{
    let seldom = Patience {
        deadline: patience.deadline,
        first: Duration::from_millis(250),
        slowest: Duration::from_secs(1),
    };
    let stop = async {
        let look = || async {
            stopped()
                .await
                .filter(|status| status.state == State::Failed)
                .unwrap_or_else(|| Status::in_progress("nothing speaks against waiting"))
        };
        match until(what, seldom, &Progress::silent(), look).await {
            Err(error) if error.code == Code::GateFailed => error,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = until(what, patience, progress, observe) => result,
        error = stop => Err(error),
    }
}

/// How long a wait for a change goes on without a look: some rules depend on how long something
/// has lasted, and nothing changes while it lasts.
pub const AT_LEAST_EVERY: Duration = Duration::from_secs(1);
/// How often a wait for a time asks how much is left.
const ASKED_EVERY: Duration = Duration::from_secs(10);

/// Looks at every change until the status is `Current`, and returns its message.
///
/// # Errors
/// As [`until`].
pub async fn until_changed<F>(
    what: &str,
    deadline: Duration,
    progress: &Progress,
    changes: &mut watch::Receiver<u64>,
    mut observe: impl FnMut() -> F,
) -> Result<String>
where
    F: Future<Output = Status>,
{
    let end = Instant::now() + deadline;
    let mut last = Status::unknown("nothing was seen yet");
    loop {
        // Before the look: what changes during it is looked at afterwards.
        changes.mark_unchanged();
        if let Ok(status) = timeout_at(end, observe()).await {
            last = status;
        }
        match last.state {
            State::Current => return Ok(last.message),
            State::Failed => return Err(failed(what, last)),
            _ => progress.observe(last.message.clone()),
        }
        let next = end.min(Instant::now() + AT_LEAST_EVERY);
        let changed = tokio::select! {
            biased;
            () = progress.give_up() => continue,
            changed = timeout_at(next, changes.changed()) => changed,
        };
        if Instant::now() >= end {
            return Err(timed_out(what, deadline, last));
        }
        if changed.is_ok_and(|changed| changed.is_err()) {
            // Nobody sends any more. What does not change is still looked at.
            sleep(AT_LEAST_EVERY.min(end - Instant::now())).await;
        }
    }
}

fn failed(what: &str, last: Status) -> Error {
    let mut error =
        Error::new(Code::GateFailed, format!("{what}: {}", last.message)).details(last.evidence);
    error.hint = last.next;
    error
}

fn timed_out(what: &str, deadline: Duration, last: Status) -> Error {
    let mut error = Error::new(
        Code::GateTimeout,
        format!(
            "{what}: not ready after {deadline:.0?}; last seen: {}",
            last.message
        ),
    )
    .details(last.evidence);
    // Where nothing more is known, the code's own hint is printed.
    if last.next.is_some() {
        error.hint = last.next;
    }
    error
}

/// Rests between two refreshes of what a person watches. Never for something to happen.
pub async fn pause(period: Duration) {
    sleep(period).await;
}

/// Waits until a time of a schedule: until nothing is left. That is asked again now and then, since a clock may be
/// set meanwhile, and a machine may sleep.
pub async fn until_due(left: impl Fn() -> Duration) {
    loop {
        match left() {
            Duration::ZERO => return,
            left => sleep(left.min(ASKED_EVERY)).await,
        }
    }
}

/// Rests before a request that a server refused for now is sent again.
pub async fn before_retry(period: Duration) {
    sleep(period).await;
}

/// Calls `tick` every `period` for as long as `work` runs, and returns what `work` returns.
pub async fn while_running<T>(
    work: impl Future<Output = T>,
    period: Duration,
    mut tick: impl FnMut(),
) -> T {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = sleep(period) => tick(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_on_current_with_its_message() {
        let looks = std::cell::Cell::new(0);
        let message = until(
            "x",
            Patience::local(Duration::from_secs(5)),
            &Progress::silent(),
            || async {
                looks.set(looks.get() + 1);
                if looks.get() < 3 {
                    Status::in_progress("not yet")
                } else {
                    Status::current("there")
                }
            },
        )
        .await
        .expect("current");
        assert_eq!((message.as_str(), looks.get()), ("there", 3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_is_waited_for_also_when_the_clock_is_set_meanwhile() {
        let begin = Instant::now();
        // After 25 s the clock is set an hour ahead.
        let left = || match begin.elapsed() < Duration::from_secs(25) {
            true => Duration::from_secs(3_600) - begin.elapsed(),
            false => Duration::ZERO,
        };
        until_due(left).await;
        assert_eq!(begin.elapsed(), Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_ends_at_once_with_evidence() {
        let begin = Instant::now();
        let error = until(
            "kafka answers",
            Patience::local(Duration::from_secs(60)),
            &Progress::silent(),
            || async {
                Status::failed("the process ended").with_evidence(vec!["last line".into()])
            },
        )
        .await
        .expect_err("failed");
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(error.code, Code::GateFailed);
        assert_eq!(error.details, ["last line"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_became_vain_ends_within_a_second_with_the_reason_and_the_next_command() {
        let begin = Instant::now();
        let looks = std::cell::Cell::new(0);
        let error = until_or_stopped(
            "the row arrives",
            Patience::local(Duration::from_secs(90)),
            &Progress::silent(),
            || async { Status::in_progress("not yet") },
            || async {
                looks.set(looks.get() + 1);
                match looks.get() {
                    1 => None,
                    2 => Some(Status::current("runs")),
                    3 => Some(Status::in_progress("is assigned")),
                    _ => Some(Status::failed("its task ended").next("cargo xtask logs connect")),
                }
            },
        )
        .await
        .expect_err("failed");
        assert!(begin.elapsed() < Duration::from_secs(3));
        assert_eq!(error.code, Code::GateFailed);
        assert_eq!(error.message, "the row arrives: its task ended");
        assert_eq!(error.hint.as_deref(), Some("cargo xtask logs connect"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_already_counts_more_than_a_stop() {
        let message = until_or_stopped(
            "the row arrives",
            Patience::local(Duration::from_secs(90)),
            &Progress::silent(),
            || async { Status::current("there") },
            || async { Some(Status::failed("its task ended")) },
        )
        .await
        .expect("current");
        assert_eq!(message, "there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_says_what_was_last_seen_even_if_a_look_hangs() {
        let looks = std::cell::Cell::new(0);
        let error = until(
            "kafka answers",
            Patience::local(Duration::from_secs(2)),
            &Progress::silent(),
            || async {
                looks.set(looks.get() + 1);
                if looks.get() > 1 {
                    std::future::pending::<()>().await;
                }
                Status::in_progress("connection refused")
            },
        )
        .await
        .expect_err("timeout");
        assert_eq!(error.code, Code::GateTimeout);
        assert!(error.message.contains("last seen: connection refused"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_looked_at_at_once() {
        let (changes, mut seen) = watch::channel(0);
        let begin = Instant::now();
        let looks = std::cell::Cell::new(0);
        let silent = Progress::silent();
        let wait = until_changed("x", Duration::from_secs(60), &silent, &mut seen, || async {
            looks.set(looks.get() + 1);
            match begin.elapsed() >= Duration::from_millis(300) {
                true => Status::current("there"),
                false => Status::in_progress("not yet"),
            }
        });
        let change = async {
            sleep(Duration::from_millis(300)).await;
            changes.send_modify(|version| *version += 1);
        };
        let (message, ()) = tokio::join!(wait, change);
        assert_eq!(message.expect("current"), "there");
        assert_eq!(
            (begin.elapsed(), looks.get()),
            (Duration::from_millis(300), 2)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_looked_at_without_a_change_and_gives_up_in_time() {
        // With somebody who could still send, and with nobody.
        for keep in [true, false] {
            let (changes, mut seen) = watch::channel(0);
            let kept = keep.then_some(changes);
            let begin = Instant::now();
            let looks = std::cell::Cell::new(0);
            let error = until_changed(
                "x",
                Duration::from_millis(3500),
                &Progress::silent(),
                &mut seen,
                || async {
                    looks.set(looks.get() + 1);
                    Status::in_progress("1 of 2 pods ready")
                },
            )
            .await
            .expect_err("timeout");
            assert_eq!(error.code, Code::GateTimeout);
            assert!(
                error.message.ends_with("last seen: 1 of 2 pods ready"),
                "{error}"
            );
            assert!((3..=5).contains(&looks.get()), "{}", looks.get());
            assert!(
                begin.elapsed() <= Duration::from_millis(3502),
                "{:?}",
                begin.elapsed()
            );
            drop(kept);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_a_look_is_not_lost() {
        let (changes, mut seen) = watch::channel(0);
        let looks = std::cell::Cell::new(0);
        let begin = Instant::now();
        until_changed(
            "x",
            Duration::from_secs(60),
            &Progress::silent(),
            &mut seen,
            || async {
                looks.set(looks.get() + 1);
                if looks.get() > 1 {
                    return Status::current("there");
                }
                changes.send_modify(|version| *version += 1);
                Status::in_progress("before the change")
            },
        )
        .await
        .expect("current");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    /// A look: how long it takes, and what it sees.
    fn look() -> impl proptest::strategy::Strategy<Value = (u64, State)> {
        use proptest::prelude::*;
        let state = prop_oneof![
            12 => Just(State::InProgress),
            4 => Just(State::Unknown),
            4 => Just(State::NotFound),
            1 => Just(State::Failed),
            1 => Just(State::Current),
        ];
        (0_u64..400, state)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]

        #[test]
        fn a_wait_ends_at_the_first_end_and_never_late(
            looks in proptest::collection::vec(look(), 1..40),
            deadline in 0_u64..3_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let patience = Patience::local(Duration::from_millis(deadline));
            let seen = std::cell::RefCell::new(Vec::new());
            let begun = std::cell::Cell::new(0);
            let (result, took) = runtime.block_on(async {
                let begin = Instant::now();
                let result = until("x", patience, &Progress::silent(), || async {
                    let (takes, state) = looks[begun.get() % looks.len()];
                    begun.set(begun.get() + 1);
                    sleep(Duration::from_millis(takes)).await;
                    seen.borrow_mut().push(state);
                    Status { state, message: format!("{state:?}"), evidence: Vec::new(), cause: None, next: None }
                })
                .await;
                (result, begin.elapsed())
            });
            let seen = seen.into_inner();
            let end = |state: &State| matches!(state, State::Current | State::Failed);
            // tokio's clock counts whole milliseconds.
            proptest::prop_assert!(took <= patience.deadline + Duration::from_millis(2), "{took:?}");
            if let Some((last, before)) = seen.split_last() {
                proptest::prop_assert!(!before.iter().any(end));
                proptest::prop_assert_eq!(result.is_ok(), *last == State::Current);
                let failed = result.as_ref().is_err_and(|error| error.code == Code::GateFailed);
                proptest::prop_assert_eq!(failed, *last == State::Failed);
            }
            if let Err(error) = result
                && error.code == Code::GateTimeout
            {
                // It gave up no earlier than one pause before the end.
                proptest::prop_assert!(took + patience.slowest >= patience.deadline, "{took:?}");
                let last = seen.last().map_or("nothing was seen yet".into(), |s| format!("{s:?}"));
                let told = format!("last seen: {last}");
                proptest::prop_assert!(error.message.ends_with(&told));
            }
        }
    }
}
