//! Faults of the document source. `CDC_TEST_MONGODB=host:port` names a replica set member without
//! users: a real one, or a stand-in that speaks its protocol.

use std::sync::OnceLock;

use mongodb::bson::doc;
use xtask::clients::mongodb::Mongodb;
use xtask::clock;
use xtask::platform::Endpoint;

use super::faults::{Fault, Undo, nothing};
use super::member::Member;
use crate::sandbox::Sandbox;

const CONNECTOR: &str = "connector mongo-connector";

/// The way to the member; faults are plain functions.
static MEMBER: OnceLock<Member> = OnceLock::new();

fn address() -> Option<String> {
    std::env::var("CDC_TEST_MONGODB").ok()
}

fn member() -> &'static Member {
    MEMBER.get_or_init(|| Member::at(&address().expect("CDC_TEST_MONGODB")))
}

/// A `host:port`.
pub fn endpoint(address: &str) -> Endpoint {
    let (host, port) = address.rsplit_once(':').expect("host:port");
    Endpoint {
        host: host.into(),
        ..Endpoint::loopback(port.parse().expect("a port"))
    }
}

/// An environment that reads that member; none where none is named.
pub fn with_member(name: &str) -> Option<Sandbox> {
    address()?;
    let mut sandbox = Sandbox::new(name);
    let way = format!("mongodb.external=127.0.0.1:{}", member().port);
    sandbox.extra.push(way);
    sandbox.ok(&["up", "--require", "mongodb"]);
    Some(sandbox)
}

pub const DOCUMENTS: &[Fault] = &[
    Fault {
        name: "member of another replica set",
        code: "MONGODB_WRONG_SET",
        subject: "mongodb",
        provoke: |it| {
            Box::pin(async move {
                it.fails(&["up", "--set", "mongodb.replica_set=another"], 1);
                nothing()
            })
        },
    },
    Fault {
        name: "member no longer primary",
        code: "MONGODB_NOT_PRIMARY",
        subject: "mongodb",
        provoke: |_| {
            Box::pin(async move {
                member().set_secondary(true);
                let undo: Undo = Box::new(|_| member().set_secondary(false));
                undo
            })
        },
    },
    Fault {
        name: "oplog that soon forgets a connector's position",
        code: "OPLOG_SHORT",
        subject: "mongodb",
        provoke: |_| {
            Box::pin(async move {
                member().set_short(true);
                let undo: Undo = Box::new(|_| member().set_short(false));
                undo
            })
        },
    },
    Fault {
        name: "oplog without a connector's position",
        code: "RESUME_TOKEN_LOST",
        subject: CONNECTOR,
        provoke: |_| {
            Box::pin(async move {
                member().forget();
                // What the oplog still has; the connector is not there to read it.
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
                let address = address().expect("CDC_TEST_MONGODB");
                let client = Mongodb::new(&endpoint(&address));
                let id = format!("unread-{}", clock::now_ms());
                let event = doc! { "_id": id, "user_id": 9, "event_type": "unread" };
                let inserted = client.insert("commerce.events", vec![event]).await;
                inserted.expect("inserted");
                nothing()
            })
        },
    },
];
