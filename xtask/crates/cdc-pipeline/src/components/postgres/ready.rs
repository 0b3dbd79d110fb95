//! Whether a server can be captured: its logins, its settings and its replication slots. Pure.

use super::settings::PostgresSettings;
use crate::clients::postgres::{PostgresError, ident};
use crate::components::connect::login;
use crate::profile::ssl::SslMode;
use crate::readiness::Status;

/// `wal_level`, without which there is no logical decoding.
pub(super) fn wal_level(level: &str) -> Status {
    match level {
        "logical" => Status::current("login works, wal_level is logical"),
        // It changes only with a restart, which waiting does not bring.
        other => Status::failed(format!(
            "wal_level is `{other}`, and change capture needs `logical`"
        ))
        .next("as a superuser: ALTER SYSTEM SET wal_level = 'logical', and restart the server"),
    }
}

/// Neither a refused login nor a missing database mends itself; `path` is where the component's keys are.
pub(super) fn refused(own: &PostgresSettings, path: &str, error: &PostgresError) -> Status {
    let says = error.to_string();
    let next = match error.sqlstate() {
        // Nobody was asked for a password.
        Some("28000") if says.contains("pg_hba.conf") => {
            if own.external.is_some() && own.sslmode == SslMode::Disable {
                return login::correct(path, "sslmode", error);
            }
            "as the server's administrator: let it in by a line of pg_hba.conf".to_owned()
        }
        Some("28000") if says.contains("not permitted to log in") => {
            format!("as a superuser: ALTER ROLE {} LOGIN", ident(&own.user))
        }
        Some(state) if state.starts_with("28") => login::give(&format!("{path}.password")),
        Some("3D000") => return login::correct(path, "database", error),
        _ => return Status::in_progress(says),
    };
    Status::failed(says).next(next)
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
