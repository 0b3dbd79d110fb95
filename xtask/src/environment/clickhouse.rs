//! The target's servers: one, or the shards and replicas that an operator runs.
//!
//! Each statement runs on each of them: without replicas there is no Keeper to hand it on.

use super::Environment;
use crate::clients::clickhouse::Clickhouse;
use crate::platform::{Endpoint, Platform};

/// The name of the operator's cluster of servers, by which they know each other.
pub const CLUSTER: &str = "my-cluster";

/// One server.
#[derive(Clone, Debug)]
pub struct Server {
    /// The shard that it has a replica of.
    pub shard: u16,
    /// Where it answers.
    pub endpoint: Endpoint,
}

impl Server {
    /// A client of this server.
    pub fn client(&self, database: &str) -> Clickhouse {
        Clickhouse::new(self.endpoint.clone(), database)
    }
}

impl Environment {
    /// Whether the target is more than one server.
    pub fn several_clickhouse(&self) -> bool {
        self.platform != Platform::Host
            && self.profile.clickhouse.external.is_none()
            && self.profile.several_clickhouse()
    }

    /// Whether a shard's rows are on more than one server.
    pub fn replicated_clickhouse(&self) -> bool {
        self.several_clickhouse() && self.profile.clickhouse.replicas > 1
    }

    /// Every server of the target, shard by shard.
    pub fn clickhouse_servers(&self) -> Vec<Server> {
        let any = || Server {
            shard: 0,
            endpoint: self.clickhouse(),
        };
        match self.link.get() {
            Some(link) if self.several_clickhouse() => link
                .clickhouse
                .iter()
                .map(|(shard, endpoint)| Server {
                    shard: *shard,
                    endpoint: endpoint
                        .clone()
                        .login(&any().endpoint.user, any().endpoint.password),
                })
                .collect(),
            _ => vec![any()],
        }
    }
}
