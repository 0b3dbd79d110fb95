//! What `reconcile` does again and again, and who hears of it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::heal::interval;
use crate::reconcile::schedule::{Cron, Schedule, Zone};

/// Options of `reconcile` about its schedule.
#[derive(Clone, Debug, Args)]
#[command(
    next_help_heading = "Schedule",
    group(ArgGroup::new("when").args(["interval", "cron"])),
    group(ArgGroup::new("repeats").args(["schedule", "print_systemd_unit", "print_cronjob"]).multiple(true))
)]
pub struct Repeat {
    /// Compare again and again until interrupted, as --interval or --cron says; one schedule for each environment.
    #[arg(long, requires = "when", conflicts_with = "yes")]
    pub schedule: bool,
    /// Compare at the start and then this often: 15m, 6h, 1d, or a number of seconds. A run that takes longer skips
    /// the next ones.
    #[arg(long, value_name = "TIME", requires = "repeats", value_parser = often)]
    pub interval: Option<Duration>,
    /// Compare at these times: five fields as in a crontab, or six with seconds before them.
    #[arg(long, value_name = "EXPR", requires = "repeats")]
    pub cron: Option<Cron>,
    /// The clock that --cron means: UTC, local for this machine's, or a name such as Europe/Berlin.
    #[arg(long, value_name = "NAME", default_value = "UTC")]
    pub time_zone: Zone,
    /// Print a unit of systemd that runs this schedule, and install nothing.
    #[arg(long, requires = "when", conflicts_with_all = ["print_cronjob", "yes"])]
    pub print_systemd_unit: bool,
    /// Print the objects that run this schedule in a cluster, a CronJob and its rights, and apply nothing.
    #[arg(long, requires_all = ["when", "image"], conflicts_with = "yes")]
    pub print_cronjob: bool,
    /// The image of --print-cronjob, which has this tool and its profiles.
    #[arg(long, value_name = "IMAGE", requires = "print_cronjob")]
    pub image: Option<String>,
}

/// Options of `reconcile` about who hears of its results.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Monitoring")]
pub struct Monitoring {
    /// Hand metrics of each run to the Pushgateway there.
    #[arg(
        long,
        value_name = "URL",
        env = "CDC_PUSHGATEWAY",
        hide_env_values = true
    )]
    pub pushgateway: Option<String>,
    /// Send what differs or could not be compared there, as JSON by POST: https, or http to this machine.
    #[arg(
        long,
        value_name = "URL",
        env = "CDC_ALERT_WEBHOOK",
        hide_env_values = true
    )]
    pub alert_webhook: Option<String>,
}

impl Repeat {
    /// When it is made, where that was said.
    pub fn when(&self) -> Option<Schedule> {
        let cron = self.cron.clone();
        let cron = cron.map(|cron| Schedule::Cron(Box::new(cron), self.time_zone.clone()));
        cron.or(self.interval.map(Schedule::Every))
    }
}

impl Monitoring {
    /// The file that has what a unit must not: a webhook's address, and a Pushgateway's with a password.
    pub fn secrets_file(profile: &str) -> PathBuf {
        PathBuf::from("/etc/cdc-xtask").join(format!("reconcile-{profile}.env"))
    }
}

/// How often: at least a second.
fn often(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let often = seconds.map_or_else(|| interval(text), Ok);
    let expected = "a length of time such as 15m, 6h or 1d, or a number of seconds";
    often
        .ok()
        .filter(|it| *it >= Duration::from_secs(1))
        .ok_or_else(|| expected.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_lengths_of_time_or_seconds() {
        for (text, seconds) in [("21600", 21_600), ("6h", 21_600), ("1s", 1), ("1d", 86_400)] {
            assert_eq!(often(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "0", "-5", "0s", "500ms", "1.5", "6 h"] {
            assert!(often(text).is_err(), "{text}");
        }
    }
}
