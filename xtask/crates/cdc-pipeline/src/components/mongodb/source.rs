//! MongoDB as a source. It keeps the newest part of its oplog and remembers nobody who reads it.

use std::collections::BTreeSet;

use async_trait::async_trait;
use mongodb::bson::{DateTime, Document};
use serde_json::{Value, json};

use super::sample::Seen;
use super::settings::MongodbSettings;
use crate::clients::mongodb::servers::Servers;
use crate::clients::mongodb::{Mongodb as Client, token};
use crate::clock;
use crate::components::position::{Position, is_of_snapshot};
use crate::components::source::{
    CANARY, CanaryChange, CanaryKey, Changes, Key, Oplog, Reader, Retention, Sample, Source,
    SourceTable, Values,
};
use crate::components::{service, truststore};
use crate::endpoint::Tls;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::platform::Secret;
use crate::profile::schema::{Connector, Flow};

#[async_trait]
impl Source for MongodbSettings {
    fn connection(&self, reader: &Reader<'_>) -> Value {
        let servers = self.servers();
        let servers = servers.unwrap_or_else(|| Servers::member(reader.at.address()));
        let encrypted = reader.at.tls != Tls::Disable;
        let set = self.set().unwrap_or_default();
        let store = encrypted.then(|| format!("{}/{}", reader.secrets, truststore::FILE));
        let databases: BTreeSet<&str> = reader
            .tables
            .iter()
            .map(|table| {
                table
                    .split_once('.')
                    .map_or(*table, |(database, _)| database)
            })
            .collect();
        // One stream is of one database or of all: the first takes rights in that one alone.
        let only = (databases.len() == 1).then(|| databases.first()).flatten();
        json!({
            "connection_string": servers.connection_string(set, encrypted),
            "auth_source": servers.auth_source(),
            "truststore": store,
            "database": only,
        })
    }

    fn truststore(&self, pem: &str) -> Result<Option<(&'static str, Vec<u8>)>> {
        Ok(Some((truststore::FILE, truststore::of(pem)?)))
    }

    async fn takes(&self, env: &Environment, user: &str, password: Secret) -> Option<bool> {
        let login = env.endpoint(&self.name).login(user, password);
        match self.client_at(&login).standing().await {
            Ok(_) => Some(true),
            Err(error) => error.is_refused_login().then_some(false),
        }
    }

    fn changes(&self) -> Changes {
        Changes {
            // Documents are JSON in a text, and a delete has only the message's key.
            image: "if(change = 'd', concat('{\"_id\":', JSONExtractString(_key, 'id'), '}'), \
                    JSONExtractString(raw, 'after'))",
            position: "bitOr(bitShiftLeft(toUInt128(JSONExtractUInt(raw, 'source', 'ts_ms')), 64), \
                       toUInt128(JSONExtractUInt(raw, 'source', 'ord')))",
            reread: None,
            // The document was gone when the connector looked it up: its delete follows.
            nothing: "change = 'u' AND JSONType(raw, 'after') = 'Null'",
            values: Values::ExtendedJson,
        }
    }

    /// Its newest write: the connector's position passes it, as that also moves over what is not captured.
    async fn marker(&self, env: &Environment) -> Result<Option<u128>> {
        let newest = self.client(env).newest().await;
        Ok(newest.map_err(|error| service(&error))?.map(u128::from))
    }

    fn reached(&self, offset: &Value) -> Option<u128> {
        let number = |key: &str| u64::try_from(offset.get(key)?.as_i64()?).ok();
        let by_event = number("sec").map(|seconds| seconds << 32 | number("ord").unwrap_or(0));
        let by_token = || token::timestamp(offset.get("resume_token")?.as_str()?);
        by_event.max(by_token()).map(u128::from)
    }

    async fn retention(&self, env: &Environment, _connector: &Connector) -> Option<Retention> {
        let (oldest, newest) = self.client(env).oplog_window().await.ok()??;
        Some(Retention::Newest(Oplog {
            oldest: oldest * 1000,
            newest: newest * 1000,
            window_left: None,
        }))
    }

    async fn table<'a>(
        &self,
        env: &Environment,
        flow: &'a Flow,
    ) -> Result<Box<dyn SourceTable + 'a>> {
        let client = self.client(env);
        Ok(Box::new(Collection { client, flow }))
    }

    async fn sample(&self, env: &Environment, flow: &Flow, most: u16) -> Result<Option<Sample>> {
        let mut seen = Seen::default();
        // A name without a database has no collection.
        if flow
            .table
            .split_once('.')
            .is_some_and(|(database, collection)| !database.is_empty() && !collection.is_empty())
        {
            let client = self.client(env);
            let sampled = client.sample(&flow.table, most, |it| seen.add(it)).await;
            sampled.map_err(|error| service(&error))?;
        }
        Ok(Some(seen.sample()))
    }
}

/// Seconds and a count within the second, or after a heartbeat a resume token alone.
///
/// None of another type's offset.
pub fn position(offset: &Value) -> Option<Position> {
    let seconds = offset.get("sec").and_then(Value::as_i64)?;
    let by_token = || token::time(offset.get("resume_token")?.as_str()?);
    let seconds = u64::try_from(seconds).ok().or_else(by_token);
    let at = seconds.map(|seconds| seconds * 1000);
    let number = offset.get("ord").and_then(Value::as_u64);
    Some(Position {
        place: match at {
            Some(at) => format!("{} #{}", clock::utc(at), number.unwrap_or(0)),
            None => "resume token".into(),
        },
        at,
        snapshot: is_of_snapshot(offset),
    })
}

struct Collection<'a> {
    client: Client,
    flow: &'a Flow,
}

#[async_trait]
impl SourceTable for Collection<'_> {
    async fn canary(&self, key: &CanaryKey, change: CanaryChange<'_>) -> Result<()> {
        let (client, name, key) = (&self.client, &self.flow.table, key.to_string());
        let done = match change {
            CanaryChange::Insert(fields) => {
                let mut document = Document::new();
                document.insert("_id", key);
                for (name, value) in fields {
                    document.insert(name, value);
                }
                document.insert("timestamp", DateTime::now());
                client.insert(name, vec![document]).await
            }
            CanaryChange::Update { column, value } => {
                client.set(name, &key, column, value).await.map(drop)
            }
            CanaryChange::Delete => client.delete(name, &key).await,
            CanaryChange::DeleteOlder { than, .. } => {
                client.delete_between(name, CANARY, &than.to_string()).await
            }
        };
        done.map_err(|error| service(&error))
    }

    async fn absent(&self, keys: &[Key]) -> Result<Vec<Key>> {
        if self.flow.key != ["_id"] {
            let table = &self.flow.table;
            let what = format!("{table}: keys other than _id cannot be looked up");
            return Err(Error::new(Code::Usage, what));
        }
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<&str> = keys.iter().map(|key| key[0].as_str()).collect();
        let there = self.client.existing(&self.flow.table, &ids).await;
        let there = there.map_err(|error| service(&error))?;
        let absent = keys.iter().filter(|key| !there.contains(&key[0]));
        Ok(absent.cloned().collect())
    }
}
