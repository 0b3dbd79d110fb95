//! A file system of a sandbox's own, small enough to be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::faults::{Fault, Undo};
use crate::sandbox::Sandbox;

/// Enough for an environment at rest, and soon full.
const SIZE: &str = "size=700m";
/// What fills it, beside the environment.
const BALLAST: &str = "ballast";

/// Where a sandbox has its state, on a file system of its own.
pub struct Room {
    name: &'static str,
    place: PathBuf,
}

impl Room {
    /// Mounted; none where that is not permitted.
    pub fn mounted(name: &'static str) -> Option<Self> {
        let sandbox = Sandbox::new(name);
        let place = sandbox.dir().parent().expect("a state").to_owned();
        // Nothing is up: its directory is all that it has.
        std::mem::forget(sandbox);
        std::fs::create_dir_all(&place).expect("made");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", SIZE, "cdc-e2e"])
            .arg(&place);
        let mounted = mount.status().is_ok_and(|status| status.success());
        if !mounted {
            let state = place.parent().expect("a directory");
            std::fs::remove_dir_all(state).expect("removed");
        }
        mounted.then_some(Room { name, place })
    }

    /// The sandbox that is to be in it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Takes the sandbox down before its directory is removed: a place where something is mounted
    /// cannot be.
    pub fn unmount(self, sandbox: Sandbox) {
        sandbox.ok(&["down", "--yes"]);
        drop(self);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Also after a test that failed, whose processes may still be there.
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}

/// Writes until there is no room left.
fn fill(place: &Path) {
    let mut file = File::create(place.join(BALLAST)).expect("made");
    for size in [1 << 20, 1 << 10, 1] {
        let piece = vec![b'x'; size];
        while file.write_all(&piece).is_ok() {}
    }
}

pub const DISK: &[Fault] = &[Fault {
    name: "disk full",
    code: "DISK_FULL",
    subject: "machine",
    provoke: |it| {
        Box::pin(async move {
            let place = it.dir().parent().expect("a state").to_owned();
            fill(&place);
            // Changes that find no room.
            let session = it.postgres().await;
            let insert = "INSERT INTO users (full_name, email) \
                 SELECT repeat('x', 90), 'disk-' || n || '@example.com' FROM generate_series(1, 20000) AS n";
            // Whether PostgreSQL takes them depends on the room in its own files.
            let _ = session.execute(insert).await;
            let undo: Undo = Box::new(move |_| {
                std::fs::remove_file(place.join(BALLAST)).expect("removed");
            });
            undo
        })
    },
}];
