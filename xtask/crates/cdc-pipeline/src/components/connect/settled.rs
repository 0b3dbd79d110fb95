//! Requests that Connect refuses for a while, and answers then.

use std::time::Duration;

use crate::clients::connect::ConnectError;
use crate::components::service;
use crate::error::Result;
use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// How long Connect may rebalance before it counts as broken.
const REBALANCES: Duration = Duration::from_secs(60);

/// Asks Connect, again while it rebalances or begins: it refuses requests then, and every worker does
/// so for some seconds after one has come or gone.
///
/// # Errors
/// Connect refuses for another reason, or rebalances for a minute.
pub async fn settled<T, F>(progress: &Progress, ask: impl Fn() -> F) -> Result<T>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let patience = Patience {
        deadline: REBALANCES,
        first: Duration::from_millis(100),
        slowest: Duration::from_secs(1),
    };
    let answer = wait::answer("Connect has rebalanced", patience, progress, || async {
        match ask().await {
            Err(error) if error.is_rebalance() => {
                Err(Status::in_progress("Connect is rebalancing"))
            }
            Err(error @ ConnectError::Unmounted { .. }) => {
                Err(Status::in_progress(error.to_string()))
            }
            other => Ok(other),
        }
    })
    .await
    .map_err(|error| {
        error.hint("workers that come and go keep it from ending: cargo xtask logs connect")
    })?;
    answer.map_err(|error| match error {
        ConnectError::Silent { .. } => service(&error).hint("cargo xtask diagnose connect"),
        error => service(&error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn refusal(status: u16) -> ConnectError {
        let message = match status {
            500 => "Request cannot be completed because a rebalance is expected",
            _ => "no",
        };
        ConnectError::Refused {
            status,
            message: message.into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_rebalance_is_waited_for_and_nothing_else() {
        let progress = Progress::silent();
        let asked = std::sync::atomic::AtomicU32::new(0);
        let count = || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let answer = settled(&progress, || async {
            match count() {
                0 | 1 => Err(refusal(409)),
                2 => Err(refusal(500)),
                number => Ok(number),
            }
        });
        assert_eq!(answer.await.expect("an answer"), 3);
        let error = settled::<(), _>(&progress, || async { Err(refusal(400)) }).await;
        let error = error.expect_err("refused");
        assert_eq!(error.code, Code::Service);
        let error = settled::<(), _>(&progress, || async { Err(refusal(409)) }).await;
        let error = error.expect_err("for ever");
        assert_eq!(error.code, Code::GateTimeout);
        assert!(error.to_string().contains("rebalancing"), "{error}");
        let next = error.hint.expect("what to do");
        assert!(next.contains("cargo xtask logs connect"), "{next}");
    }
}
