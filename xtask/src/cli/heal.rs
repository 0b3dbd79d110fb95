//! The command that restarts what a restart can fix.

use std::time::Duration;

use super::numbers::number;
use clap::Args;

use crate::units::Span;

/// Options of `heal`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask heal --dry-run            what would be done now
  cargo xtask heal                      fix what a restart can fix, and watch whether it stays fixed
  cargo xtask heal --watch --interval 30s
  CDC_ALERT_WEBHOOK=https://hooks.example.com/TOKEN cargo xtask heal --watch

It classifies first, by the rules of `diagnose`, and restarts only what a restart can fix: the task, then
the connector, then the worker, each after a longer pause than the one before. Positions prove that it is
healed, and it is watched for ten minutes; without --watch the command ends sooner, when everything has
moved in every check for half a minute.

Wrong passwords, lost slots, paused connectors and everything else that a restart does not fix, or where
a restart would lose rows, are left alone. They are reported with their cause and the next command, once,
and again only if that changes. Between rounds a short check each second starts a round sooner if needed.

One healer works on a pipeline. A second one names the first; with --watch it stands by and takes over.
While another command works on the environment, nothing is done. What happens is written as JSON lines
to heal.jsonl in the environment's state, and read back after a kill.

Exit code 0: changes arrive. 1: they do not. 4: another healer or command has the environment.")]
pub struct Heal {
    /// Run until interrupted, and survive the loss of Connect, Kafka or the API server.
    #[arg(long)]
    pub watch: bool,
    /// How often to check everything, where nothing calls for it sooner.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = interval)]
    pub interval: Duration,
    /// How often one component, connector or flow may be restarted within an hour; then a person is needed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = number(0, u32::MAX), allow_negative_numbers = true)]
    pub max_restarts: u32,
    /// Send findings that need a person there, as JSON by POST: https, or http to this machine.
    #[arg(
        long,
        value_name = "URL",
        env = "CDC_ALERT_WEBHOOK",
        hide_env_values = true
    )]
    pub alert_webhook: Option<String>,
    /// Show what would be done, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
}

/// A length of time: `30s`, `2m`, `1h`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let span = text.parse::<Span>().ok().map(|span| span.0);
    span.filter(|span| !span.is_zero())
        .ok_or_else(|| "a length of time such as 30s, 2m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_have_units_and_last() {
        for (text, seconds) in [("30s", 30), ("2m", 120), ("1h30m", 5400)] {
            assert_eq!(interval(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "5", "0s", "-1s", "99999999999999999999h"] {
            assert!(interval(text).is_err(), "{text}");
        }
    }
}
