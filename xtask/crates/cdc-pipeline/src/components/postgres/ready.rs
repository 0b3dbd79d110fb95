//! Whether a server can be captured: its settings and its replication slots. Pure.

use crate::readiness::Status;

/// `wal_level`, without which there is no logical decoding.
pub(super) fn wal_level(level: &str) -> Status {
    match level {
        "logical" => Status::current("login works, wal_level is logical"),
        // It changes only with a restart, which waiting does not bring.
        other => Status::failed(format!(
            "wal_level is `{other}`, and change capture needs `logical`"
        )),
    }
}

/// A replication slot as `pg_replication_slots` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Whether a consumer reads it now.
    pub(super) active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`; none before PostgreSQL 13.
    pub(super) wal_status: Option<String>,
}

/// Whether the slot is read.
pub(super) fn slot(slot: Option<&Slot>) -> Status {
    match slot {
        None => Status::not_found("the replication slot is not there yet"),
        Some(slot) if slot.wal_status.as_deref() == Some("lost") => Status::failed(
            "the replication slot is lost: PostgreSQL removed WAL that it still needed",
        ),
        Some(slot) if !slot.active => Status::in_progress("the replication slot is not active"),
        Some(_) => Status::current("the replication slot is active"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::State;

    #[test]
    fn levels_and_slots() {
        assert_eq!(wal_level("logical").state, State::Current);
        assert_eq!(wal_level("replica").state, State::Failed);
        let make = |active, status: &str| Slot {
            active,
            wal_status: Some(status.into()),
        };
        assert_eq!(slot(None).state, State::NotFound);
        assert_eq!(slot(Some(&make(true, "reserved"))).state, State::Current);
        assert_eq!(
            slot(Some(&make(false, "reserved"))).state,
            State::InProgress
        );
        assert_eq!(slot(Some(&make(false, "lost"))).state, State::Failed);
    }
}
