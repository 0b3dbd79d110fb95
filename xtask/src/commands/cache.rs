//! `cache`: what all environments of this machine share.

use std::process::ExitCode;

use serde_json::json;

use super::{confirm, context, stdout};
use crate::cli::{CacheClean, CacheCommand, Global};
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::host::cache::{self, Entry, User};
use crate::platform::host::{Dirs, dirs, lock};
use crate::report::table::Table;
use crate::report::text::bytes;

/// What fetches into the cache holds one of these.
const LOCKS: [&str; 2] = ["maven.lock", "pypi.lock"];

pub(super) fn run(global: &Global, command: CacheCommand) -> Result<ExitCode> {
    let CacheCommand::Clean(args) = command;
    clean(global, args)
}

fn clean(global: &Global, args: CacheClean) -> Result<ExitCode> {
    let mut users = Vec::new();
    for name in dirs::environments()? {
        let dirs = Dirs::of(&name)?;
        // One that cannot be read may be on a cluster.
        let platform = context::remembered_platform(&dirs).ok().flatten();
        users.push(User {
            name,
            on_cluster: platform != Some(Platform::Host),
            state: dirs.state,
        });
    }
    let cache = dirs::cache()?;
    let mut locks = Vec::new();
    if !args.dry_run && cache.is_dir() {
        for name in LOCKS {
            locks.push(lock::take(&cache.join(name), "cargo xtask cache clean")?);
        }
    }
    let (unused, used): (Vec<Entry>, Vec<Entry>) = cache::entries(&cache, &users)?
        .into_iter()
        .partition(|entry| entry.used_by.is_empty());
    let free = unused.iter().map(|entry| entry.bytes).sum();
    let kept: u64 = used.iter().map(|entry| entry.bytes).sum();
    if !args.dry_run && !unused.is_empty() {
        if !args.yes {
            let names: Vec<&str> = unused.iter().map(|entry| entry.name.as_str()).collect();
            let what = format!(
                "This removes {} from {}: {}",
                bytes(free),
                cache.display(),
                names.join(", ")
            );
            confirm::typed("clean", &what, "cargo xtask cache clean --yes")?;
        }
        for entry in &unused {
            dirs::remove_any(&entry.path)?;
        }
    }
    let list = unused
        .iter()
        .map(|it| json!({ "name": it.name, "bytes": it.bytes }));
    let object = json!({
        "cache": cache,
        "dry_run": args.dry_run,
        "removed": list.collect::<Vec<_>>(),
        "bytes": free,
        "kept_bytes": kept,
    });
    stdout::answer(global.output, object, || {
        let mut table = Table::titled(">SIZE  ENTRY  USED BY");
        for entry in used.iter().chain(&unused) {
            let users = match entry.used_by.is_empty() {
                true => "-".to_owned(),
                false => entry.used_by.join(", "),
            };
            table.row([bytes(entry.bytes), entry.name.clone(), users]);
        }
        let did = if args.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let sum = format!(
            "{did} {} from {}, kept {}\n",
            bytes(free),
            cache.display(),
            bytes(kept)
        );
        match args.dry_run && !table.is_empty() {
            true => table.text(stdout::palette()) + &sum,
            false => sum,
        }
    })
}
