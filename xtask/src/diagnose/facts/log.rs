//! The log of a connector's source, as far as it concerns the connector.

use super::{Facts, Known, Mongodb, Postgres, Wanted};

/// It, by what was seen of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// Where it ends: in bytes, or in seconds.
    pub end: Option<u64>,
    /// Committed transactions that the source has decoded for the connector.
    pub decoded: Option<u64>,
    /// Whether nobody at the source reads it for the connector.
    pub unread: bool,
    /// Why the changes that the connector has not read are lost; none while they are not.
    pub lost: Option<String>,
}

impl Facts {
    /// What is known of a connector's log; none where the profile does not have its source.
    pub fn log(&self, connector: &str, wanted: &Wanted) -> Option<Known<Log>> {
        match wanted.kind {
            "postgres" => {
                let seen = self.postgres.as_ref()?;
                Some(seen.map(|it| of_postgres(it, connector, wanted)))
            }
            "mongodb" => Some(self.mongodb.as_ref()?.map(of_mongodb)),
            _ => None,
        }
    }
}

fn of_postgres(seen: &Postgres, connector: &str, wanted: &Wanted) -> Log {
    let slot = seen.slot_of(wanted);
    let lost = match (slot, wanted.slot.as_deref()) {
        (None, Some(name)) => Some(format!(
            "slot `{name}` of {connector} is gone: started, it would make a new one, which lacks the changes in between"
        )),
        (Some(found), Some(name)) if found.wal_status.as_deref() == Some("lost") => Some(format!(
            "slot `{name}` of {connector} is lost: PostgreSQL has removed the changes that it had not read"
        )),
        (None | Some(_), None) | (Some(_), Some(_)) => None,
    };
    Log {
        end: seen.server.position,
        decoded: slot.and_then(|slot| slot.transactions),
        unread: slot.is_some_and(|slot| !slot.active || slot.untouched > Some(0)),
        lost,
    }
}

fn of_mongodb(seen: &Mongodb) -> Log {
    Log {
        end: seen.oplog.map(|(_, newest)| newest),
        ..Log::default()
    }
}
