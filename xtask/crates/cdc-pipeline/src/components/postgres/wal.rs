//! What PostgreSQL keeps of its log for a slot, by how much that grows, and the room there is.

use std::time::{Duration, Instant};

use super::settings::PostgresSettings;
use super::slots;
use crate::components::source::Wal;
use crate::environment::Environment;
use crate::platform::Platform;
use crate::units::Size;
use crate::wait;

/// How far apart the two looks are that give a rate.
const BETWEEN: Duration = Duration::from_millis(150);

/// What is kept for a slot; none where it is not there, or the server does not answer.
pub(super) async fn of_slot(own: &PostgresSettings, env: &Environment, slot: &str) -> Option<Wal> {
    let session = own.session(env).await.ok()?;
    let begin = Instant::now();
    let before = slots::find_in(env, &session, slot).await.ok()??;
    let room = async {
        let row = session.query(
            "SELECT pg_current_wal_lsn(), \
             (SELECT sum(pg_database_size(oid)) FROM pg_database)::bigint \
             + coalesce((SELECT sum(size) FROM pg_ls_waldir()), 0)::bigint",
        );
        let row = row.await.ok()?.into_iter().next()?;
        let mut cells = row.into_iter();
        let position = cells.next().flatten()?;
        let used: Option<u64> = cells.next().flatten().and_then(|text| text.parse().ok());
        Some((position, used))
    };
    let (room, ()) = tokio::join!(room, wait::pause(BETWEEN));
    let (position, used) = room?;
    let now = slots::find_in(env, &session, slot).await.ok()??;
    let growth = now
        .retained
        .zip(before.retained)
        .map(|(now, before)| rate(before, now, begin.elapsed()));
    let free = free(own, env, used);
    Some(Wal {
        position,
        restart_lsn: now.restart_lsn,
        confirmed_flush_lsn: now.confirmed_flush_lsn,
        retained: now.retained,
        unconfirmed: now.unconfirmed,
        growth,
        free,
        full_in: free
            .zip(growth)
            .and_then(|(free, growth)| full_in(free, growth)),
        status: now.wal_status,
    })
}

fn rate(before: u64, now: u64, between: Duration) -> f64 {
    (now as f64 - before as f64) / between.as_secs_f64().max(0.001)
}

/// Seconds until `free` bytes are used up.
fn full_in(free: u64, growth: f64) -> Option<u64> {
    // Slower than this is noise: a disk of a gigabyte would last for years.
    const LEAST: f64 = 16.0;
    (growth > LEAST).then(|| (free as f64 / growth) as u64)
}

/// Room where PostgreSQL keeps its log.
fn free(own: &PostgresSettings, env: &Environment, used: Option<u64>) -> Option<u64> {
    if own.external.is_some() {
        return None;
    }
    match env.platform {
        #[cfg(unix)]
        Platform::Host => {
            let seen = rustix::fs::statvfs(env.dirs.data(&own.name)).ok()?;
            Some(seen.f_bavail * seen.f_frsize)
        }
        #[cfg(not(unix))]
        Platform::Host => None,
        Platform::Kind | Platform::Kubernetes => left(&own.storage, used?),
    }
}

/// What is left of a volume that the profile asked for.
fn left(storage: &str, used: u64) -> Option<u64> {
    Some(Size::quantity(storage)?.0.saturating_sub(used))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_as_large_as_its_quantity_says() {
        const GIB: u64 = 1 << 30;
        for (storage, left_of_it) in [
            ("5Gi", Some(4 * GIB)),
            ("512Mi", Some(0)),
            ("5G", Some(5_000_000_000 - GIB)),
            ("5gb", None),
        ] {
            assert_eq!(left(storage, GIB), left_of_it, "{storage}");
        }
    }

    #[test]
    fn a_disk_is_full_only_if_something_grows() {
        assert_eq!(full_in(1000, 0.0), None);
        assert_eq!(full_in(1000, -50.0), None);
        assert_eq!(full_in(1_000_000, 100.0), Some(10_000));
        assert!((rate(100, 300, Duration::from_secs(2)) - 100.0).abs() < 0.01);
        assert!(rate(300, 100, Duration::from_secs(1)) < 0.0);
    }
}
