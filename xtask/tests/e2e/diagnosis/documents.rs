//! Faults of the document source. `CDC_TEST_MONGODB=host:port` names a replica set member without
//! users: a real one, or a stand-in that speaks its protocol.

use super::faults::{Fault, Undo};
use crate::sandbox::Sandbox;

/// An environment that reads that member; none where none is named.
pub fn with_member(name: &str) -> Option<Sandbox> {
    let address = std::env::var("CDC_TEST_MONGODB").ok()?;
    let mut sandbox = Sandbox::new(name);
    sandbox.extra.push(format!("mongodb.external={address}"));
    sandbox.ok(&["up", "--require", "mongodb"]);
    Some(sandbox)
}

pub const DOCUMENTS: &[Fault] = &[Fault {
    name: "member of another replica set",
    code: "MONGODB_WRONG_SET",
    subject: "mongodb",
    provoke: |it| {
        Box::pin(async move {
            it.fails(&["up", "--set", "mongodb.replica_set=another"], 1);
            let undo: Undo = Box::new(|_| {});
            undo
        })
    },
}];
