//! Keeping a pipeline right: classify, restart what a restart can fix, prove it by positions, watch
//! whether it stays so, and ask a person about everything else.
//!
//! `decide`, `guard`, `past`, `stuck` and `alert` are pure; `history`, `lease`, `act` and `glance` are
//! the edges. Each decision is made again from what is seen and from the history, so that a healer
//! can be killed at any point.

mod act;
mod alert;
pub mod decide;
mod glance;
pub mod guard;
pub mod history;
mod lease;
pub mod past;
mod round;
pub mod stuck;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use decide::Limits;
use glance::Glance;
use history::{Event, Record};
pub use lease::Place;
use lease::{Candidate, Claimed, Lease};
use round::{Healer, Next};

use crate::clock;
use crate::diagnose::{Finding, Unseen};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::operate::webhook::Webhook;
use crate::platform::Platform;
use crate::platform::host::lock;
use crate::wait;

/// How often to ask whether something that stands in the way is gone.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How often to look at what was restarted, until it is seen to work.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often to look at what was healed.
const LOOK_AFTER: Duration = Duration::from_secs(5);
/// How soon after a restart everything is seen to work. Later it is looked at less often, and a healer
/// that need not go on ends.
const SEEN_BY: Duration = Duration::from_secs(60);

/// How to heal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Go on for ever.
    pub watch: bool,
    /// The longest pause between two rounds.
    pub interval: Duration,
    /// What may be done.
    pub limits: Limits,
    /// Who gets the alerts.
    pub webhook: Option<Webhook>,
}

/// How it was left.
#[derive(Debug)]
pub struct Left {
    /// What is still wrong.
    pub findings: Vec<Finding>,
    /// What could not be seen.
    pub unknown: Vec<Unseen>,
    /// Whether changes arrive, and everything that was restarted for is seen to be healed.
    pub sound: bool,
}

/// Heals once, or goes on until the environment is gone. `again` reads the environment again, as other
/// commands may have changed it. Whoever ends this from outside leaves its `place` then.
///
/// # Errors
/// Another healer or command has the environment, and this one does not watch; or the history cannot
/// be kept.
pub async fn run(
    env: Arc<Environment>,
    again: impl AsyncFn() -> Result<Arc<Environment>>,
    options: Options,
    place: &Place,
    tell: &mut dyn FnMut(&Record),
) -> Result<Left> {
    let mut env = env;
    let mut said = String::new();
    loop {
        let lease = Arc::new(claim(&env, &options, tell).await?);
        place.keep(&lease);
        let mut healer = Healer::new(env.clone(), options.clone(), tell)?;
        let end = rounds(&mut healer, &lease, &again).await;
        let told = healer.told().await;
        env = healer.env.clone();
        drop(lease);
        place.leave().await;
        match (end, told) {
            // A full disk, say: nothing is done that could not be written down, until it can be.
            (Err(error), _) | (Ok(_), Err(error))
                if options.watch && error.code == Code::Io && env.dirs.exists() =>
            {
                if error.message != said {
                    said.clone_from(&error.message);
                    tell(&now(Event::Standby { why: error.message }));
                }
                wait::pause(LOOK_AFTER).await;
            }
            (Err(error), _) | (Ok(_), Err(error)) => return Err(error),
            (Ok(Some(left)), Ok(())) => return Ok(left),
            // The lease was lost: whoever has it now knows what was done from the lease's own time.
            (Ok(None), Ok(())) => {}
        }
    }
}

/// Waits for the lease, or refuses to.
async fn claim(
    env: &Environment,
    options: &Options,
    tell: &mut dyn FnMut(&Record),
) -> Result<Lease> {
    let command = match options.watch {
        true => "cargo xtask heal --watch",
        false => "cargo xtask heal",
    };
    let mut candidate = Candidate::of(env)?;
    let mut said = String::new();
    loop {
        let why = match candidate.claim(env, command).await {
            Ok(Claimed::Ours(lease)) => {
                if !said.is_empty() {
                    tell(&now(Event::Resumed));
                }
                return Ok(lease);
            }
            Ok(Claimed::Theirs { who, fresh }) => {
                let why = format!("another healer watches this pipeline: {who}");
                if !options.watch && fresh {
                    return Err(Error::new(Code::Locked, why).hint("end that one, or let it go on"));
                }
                why
            }
            Err(error) if !options.watch || error.code == Code::Io => return Err(error),
            Err(error) => error.message,
        };
        // By the one who stands by nothing is written: the history is the other's.
        if why != said {
            tell(&now(Event::Standby { why: why.clone() }));
            said = why;
        }
        wait::pause(ASK_AGAIN).await;
    }
}

fn now(event: Event) -> Record {
    Record {
        at: clock::now_ms(),
        event,
    }
}

/// One round after the other; none at the end is a lease that was lost.
async fn rounds(
    healer: &mut Healer<'_>,
    lease: &Lease,
    again: &impl AsyncFn() -> Result<Arc<Environment>>,
) -> Result<Option<Left>> {
    let watch = healer.options.watch;
    healer.begin()?;
    let begin = Instant::now();
    let mut acted: Option<Instant> = None;
    let mut blind = false;
    loop {
        if watch && (blind || healer.env.platform == Platform::Host) {
            match again().await {
                Ok(env) => healer.renew(env),
                Err(error) if error.code == Code::NotUp && !healer.env.dirs.exists() => {
                    return Ok(Some(healer.left()));
                }
                // A profile that is just being edited, a server that does not answer: what was
                // known before still holds.
                Err(error) => healer.goes_on_with_what_it_knew(&error.message)?,
            }
        }
        if !lease.holds() {
            healer.stand_by("the lease could not be renewed")?;
            return Ok(None);
        }
        if let Some(owner) = lock::owner(&healer.env.dirs.lock())? {
            in_the_way(healer, &owner, watch)?;
            wait::pause(ASK_AGAIN).await;
            continue;
        }
        let glance = Glance::of(&healer.env).await;
        let next = healer.round(lease).await?;
        blind = healer.is_blind();
        let pause = match &next {
            Next::Again => {
                acted = Some(Instant::now());
                continue;
            }
            Next::Locked(owner) => {
                in_the_way(healer, owner, watch)?;
                ASK_AGAIN
            }
            Next::Unproven if acted.unwrap_or(begin).elapsed() <= SEEN_BY => LOOK_AGAIN,
            Next::Unproven => LOOK_AFTER,
            Next::Watching => LOOK_AFTER,
            Next::At(until) => {
                let left = until.saturating_sub(clock::now_ms());
                Duration::from_millis(left).max(LOOK_AGAIN)
            }
            Next::Settled => healer.options.interval,
        };
        if !watch {
            let settled = match next {
                Next::Settled => {
                    !healer.is_blind() || acted.is_none_or(|acted| acted.elapsed() > SEEN_BY)
                }
                Next::Unproven => acted.unwrap_or(begin).elapsed() > SEEN_BY,
                Next::Watching => healer.is_steady(),
                _ => false,
            };
            if settled {
                return Ok(Some(healer.left()));
            }
        }
        let pause = match watch {
            true => pause.min(healer.options.interval),
            false => pause.min(LOOK_AGAIN * 2),
        };
        match pause <= LOOK_AFTER {
            true => wait::pause(pause).await,
            false => glance.rest(&healer.env, pause).await,
        }
    }
}

/// Another command works on the environment.
fn in_the_way(healer: &mut Healer<'_>, owner: &str, watch: bool) -> Result<()> {
    let what = format!("another command works on this environment: {owner}");
    match watch {
        true => healer.stand_by(&what),
        false => Err(Error::new(Code::Locked, what).hint("wait for it to end")),
    }
}

/// What `heal` would do now.
pub async fn would(env: &Arc<Environment>, limits: &Limits) -> Result<(Left, Vec<String>)> {
    let mut silent = |_: &Record| {};
    let options = Options {
        watch: false,
        interval: LOOK_AGAIN,
        limits: *limits,
        webhook: None,
    };
    let mut healer = Healer::new(env.clone(), options, &mut silent)?;
    let seen = healer.look().await;
    let plans = healer.plans(&seen);
    healer.keep(seen);
    Ok((healer.left(), plans))
}
