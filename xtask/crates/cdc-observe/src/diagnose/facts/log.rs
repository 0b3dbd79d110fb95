//! The log of a connector's source, as far as it concerns the connector.

use super::{Facts, Known, Wanted};

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
    /// What is known of the log that a connector reads; none where it reads none, or the profile does not
    /// have its source.
    pub fn log(&self, connector: &str, wanted: &Wanted) -> Option<Known<Log>> {
        if wanted.writes {
            return None;
        }
        match self.servers.get(&wanted.component)? {
            Known::Seen(told) => told.log(connector, wanted).map(Known::Seen),
            Known::Unknown(why) => Some(Known::Unknown(why.clone())),
        }
    }
}
