//! `down`: stop the pipeline and remove its data.
//!
//! `--keep-data` keeps passwords and chosen ports too; without it the whole environment is removed.

use std::process::ExitCode;

use serde_json::json;

use super::down_left::{self, Done};
use super::{confirm, context, down_cluster, stdout};
use crate::cli::{Down, Global};
use crate::error::Result;
use crate::plan::Progress;
use crate::platform::Platform;
use crate::platform::host::daemon::{self, Found};
use crate::platform::host::{Dirs, dirs, lock};
use crate::profile::schema::PlatformChoice;
use crate::report::{self, Output};

pub(super) async fn run(global: &Global, args: &Down) -> Result<ExitCode> {
    let name = context::profile_name(global)?;
    let dirs = Dirs::of(&name)?;
    let platform = match context::remembered_platform(&dirs)? {
        Some(platform) => platform,
        // State that was lost does not keep a cluster from being removed.
        None => match global.platform {
            Some(PlatformChoice::Kind) => Platform::Kind,
            Some(PlatformChoice::Kubernetes) => Platform::Kubernetes,
            _ => Platform::Host,
        },
    };
    if platform != Platform::Host {
        return down_cluster::run(global, args, platform).await;
    }
    let nothing = |sentence: &str| {
        let done = Done::default();
        print(global.output, &name, &[], false, &done, sentence)
    };
    if !dirs.exists() {
        return nothing("nothing is up");
    }
    let components = daemon::recorded(&dirs)?;
    let data = if args.keep_data { "keep" } else { "remove" };
    let found = match args.keep_data {
        true => down_left::Found::default(),
        false => down_left::find(global, platform).await,
    };
    let theirs = found.names();
    if args.dry_run {
        let list = list(&running(&dirs, &components)?);
        let mut sentence = format!("would stop {list} and {data} all data");
        if !theirs.is_empty() {
            sentence.push_str(&format!(", and drop {}", theirs.join(", ")));
        }
        return nothing(&sentence);
    }
    let _lock = lock::take(&dirs.lock(), "cargo xtask down")?;
    if !args.keep_data && !args.yes {
        let mut what = format!(
            "This removes all databases and topics below {}",
            dirs.state.display()
        );
        if !theirs.is_empty() {
            what.push_str(&format!(", and drops {}", theirs.join(", ")));
        }
        confirm::typed(
            &name,
            &what,
            "cargo xtask down --yes, or keep the data: cargo xtask down --keep-data",
        )?;
    }
    let begin = std::time::Instant::now();
    let stopped = daemon::stop_all(&dirs, &components).await?;
    let done = found.drop().await;
    if !args.keep_data {
        daemon::wait_for_orphans(&dirs.all_data(), &Progress::silent()).await?;
        dirs::remove(&dirs.state)?;
    }
    let sentence = format!(
        "stopped {} in {}, data {}",
        list(&stopped),
        report::text::duration(begin.elapsed()),
        if args.keep_data { "kept" } else { "removed" }
    );
    let sentence = done.after(&sentence);
    print(
        global.output,
        &name,
        &stopped,
        !args.keep_data,
        &done,
        &sentence,
    )
}

fn running(dirs: &Dirs, components: &[String]) -> Result<Vec<String>> {
    let mut running = Vec::new();
    for component in components {
        if let Found::Running(..) = daemon::find(dirs, component)? {
            running.push(component.clone());
        }
    }
    Ok(running)
}

/// Prints the result; `sentence` is it for people.
pub(super) fn print(
    output: Output,
    profile: &str,
    stopped: &[String],
    data_removed: bool,
    done: &Done,
    sentence: &str,
) -> Result<ExitCode> {
    let object = json!({ "profile": profile, "stopped": stopped, "data_removed": data_removed,
        "dropped": done.dropped, "left": done.left });
    stdout::answer(output, object, || format!("{profile}: {sentence}\n"))
}

fn list(components: &[String]) -> String {
    if components.is_empty() {
        "nothing".into()
    } else {
        components.join(", ")
    }
}
