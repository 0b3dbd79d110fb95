//! What `up` says of flows and connectors that the profile no longer has, and that it removes what they left behind
//! when it is told to.

use std::io::IsTerminal;

use serde_json::{Value, json};

use super::confirm;
use crate::cli::Up;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::operate::leftovers::{self, Leftovers};
use crate::plan::Progress;
use crate::platform::Platform;
use crate::printed;

/// What was found, and what became of it.
#[derive(Default)]
pub(super) struct Pruned {
    left: Leftovers,
    removed: bool,
    /// Why it is not known what is left.
    unknown: Option<String>,
}

/// Refuses to remove what nobody has seen, before anything is done. On a cluster a topic is an object, too, and those
/// are pruned while everything else is applied: there is nothing to show before.
///
/// # Errors
/// Nobody can be asked.
pub(super) fn refuse(args: &Up, platform: Platform) -> Result<()> {
    let asks = platform == Platform::Host && std::io::stdin().is_terminal();
    if args.prune && !args.yes && !args.dry_run && !asks {
        let what = "`up --prune` removes tables, consumer groups and topics";
        return Err(Error::new(Code::Usage, what).hint("cargo xtask up --prune --yes"));
    }
    Ok(())
}

/// Looks at the running pipeline, asks, and removes.
///
/// # Errors
/// It was not confirmed, or something refuses.
pub(super) async fn run(env: &Environment, args: &Up) -> Result<Pruned> {
    let left = match leftovers::find(env).await {
        Ok(left) => left,
        Err(error) if args.prune => return Err(error),
        Err(error) => {
            return Ok(Pruned {
                unknown: Some(error.message),
                ..Pruned::default()
            });
        }
    };
    let mut pruned = Pruned {
        left,
        ..Pruned::default()
    };
    if pruned.left.is_empty() || !args.prune {
        return Ok(pruned);
    }
    if !args.yes {
        let what = format!("This removes:\n  {}\n", pruned.left.lines().join("\n  "));
        confirm::typed(&env.name, &what, "cargo xtask up --prune")?;
    }
    leftovers::remove(env, &pruned.left, &Progress::silent()).await?;
    pruned.removed = true;
    Ok(pruned)
}

impl Pruned {
    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({"left": self.left, "removed": self.removed, "unknown": self.unknown})
    }

    /// For people; nothing where nothing is left.
    pub(super) fn text(&self) -> String {
        if let Some(why) = &self.unknown {
            return format!("what flows of before have left is not known: {why}\n");
        }
        if self.left.is_empty() {
            return String::new();
        }
        let mut text = match self.removed {
            true => "removed, which the profile no longer has:\n".to_owned(),
            false => "left over, which the profile no longer has:\n".to_owned(),
        };
        for line in self.left.lines() {
            text += &format!("  {line}\n");
        }
        match self.removed {
            true => {
                for slot in self.left.connectors.values().flatten() {
                    let next = format!("cargo xtask slot drop {slot}");
                    text += &format!(
                        "slot {slot} is still at its source; next: {}\n",
                        printed::ours(&next)
                    );
                }
            }
            false => text += &(printed::ours("next: cargo xtask up --prune") + "\n"),
        }
        text
    }
}
