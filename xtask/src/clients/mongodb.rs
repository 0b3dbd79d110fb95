//! MongoDB through its official driver.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{ClientOptions, Credential, ServerAddress};
use mongodb::{Client, Collection};

use crate::platform::Endpoint;

/// What can go wrong: the driver's reason, with the address.
#[derive(Debug, thiserror::Error)]
#[error("MongoDB at {address}: {reason}")]
pub struct MongodbError {
    /// Where.
    pub address: String,
    /// The driver's reason.
    pub reason: String,
}

/// A client of one replica set member.
#[derive(Clone, Debug)]
pub struct Mongodb {
    client: Client,
    address: String,
}

/// `database.collection` as a pair.
fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((name, ""))
}

impl Mongodb {
    /// A client of exactly this address, whatever names the replica set's members have; nothing is
    /// connected yet.
    ///
    /// # Errors
    /// The options contradict each other.
    pub fn new(endpoint: &Endpoint) -> Result<Self, MongodbError> {
        let address = endpoint.address();
        let mut options = ClientOptions::builder()
            .hosts(vec![ServerAddress::Tcp {
                host: endpoint.host.clone(),
                port: Some(endpoint.port),
            }])
            .direct_connection(true)
            .app_name("cargo xtask".to_owned())
            .connect_timeout(Duration::from_secs(3))
            .server_selection_timeout(Duration::from_secs(3))
            .build();
        if !endpoint.user.is_empty() {
            options.credential = Some(
                Credential::builder()
                    .username(endpoint.user.clone())
                    .password(endpoint.password.expose().to_owned())
                    .source("admin".to_owned())
                    .build(),
            );
        }
        let client = Client::with_options(options).map_err(|error| MongodbError {
            address: address.clone(),
            reason: error.to_string(),
        })?;
        Ok(Mongodb { client, address })
    }

    fn failed(&self, error: &mongodb::error::Error) -> MongodbError {
        MongodbError {
            address: self.address.clone(),
            reason: error.kind.to_string(),
        }
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        let (database, collection) = split(name);
        self.client.database(database).collection(collection)
    }

    /// Runs an administrative command.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn admin(&self, command: Document) -> Result<Document, MongodbError> {
        self.client
            .database("admin")
            .run_command(command)
            .await
            .map_err(|error| self.failed(&error))
    }

    /// Whether the member is the primary of a replica set, and the server's version.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn hello(&self) -> Result<Hello, MongodbError> {
        let hello = self.admin(doc! { "hello": 1 }).await?;
        let build = self.admin(doc! { "buildInfo": 1 }).await?;
        Ok(Hello {
            set: hello.get_str("setName").unwrap_or_default().to_owned(),
            primary: hello.get_bool("isWritablePrimary").unwrap_or(false)
                || hello.get_bool("ismaster").unwrap_or(false),
            version: build.get_str("version").unwrap_or_default().to_owned(),
        })
    }

    /// How many documents a collection has.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn count(&self, collection: &str) -> Result<u64, MongodbError> {
        self.collection(collection)
            .count_documents(doc! {})
            .await
            .map_err(|error| self.failed(&error))
    }

    /// Which of these ids the collection has. An id is meant as the target shows it: an object id by
    /// its digits, a number by its text.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn existing(
        &self,
        collection: &str,
        ids: &[&str],
    ) -> Result<HashSet<String>, MongodbError> {
        let mut forms: Vec<Bson> = Vec::new();
        for id in ids {
            forms.push(Bson::String((*id).to_owned()));
            forms.extend(ObjectId::parse_str(id).ok().map(Bson::ObjectId));
            forms.extend(id.parse::<i64>().ok().map(Bson::Int64));
        }
        let failed = |error: mongodb::error::Error| self.failed(&error);
        let mut found = self
            .collection(collection)
            .find(doc! { "_id": { "$in": forms } })
            .projection(doc! { "_id": 1 })
            .await
            .map_err(failed)?;
        let mut existing = HashSet::new();
        while let Some(document) = found.try_next().await.map_err(failed)? {
            existing.extend(match document.get("_id") {
                Some(Bson::String(text)) => Some(text.clone()),
                Some(Bson::ObjectId(id)) => Some(id.to_hex()),
                Some(Bson::Int32(number)) => Some(number.to_string()),
                Some(Bson::Int64(number)) => Some(number.to_string()),
                _ => None,
            });
        }
        Ok(existing)
    }

    /// The times of the oldest and the newest entry of the oplog, in seconds since the epoch; none
    /// where the server has no oplog or does not show it.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn oplog_window(&self) -> Result<Option<(u64, u64)>, MongodbError> {
        let oplog = self.collection("local.oplog.rs");
        let mut ends = [None, None];
        for (end, order) in ends.iter_mut().zip([1, -1]) {
            let entry = oplog
                .find_one(doc! {})
                .sort(doc! { "$natural": order })
                .projection(doc! { "ts": 1 })
                .await
                .map_err(|error| self.failed(&error))?;
            let time = entry.and_then(|entry| entry.get_timestamp("ts").ok());
            *end = time.map(|time| u64::from(time.time));
        }
        Ok(ends[0].zip(ends[1]))
    }

    /// Inserts documents.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn insert(
        &self,
        collection: &str,
        documents: Vec<Document>,
    ) -> Result<(), MongodbError> {
        self.collection(collection)
            .insert_many(documents)
            .await
            .map(drop)
            .map_err(|error| self.failed(&error))
    }

    /// Sets one field of the document with this `_id`; says whether there was one.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn set(
        &self,
        collection: &str,
        id: &str,
        field: &str,
        value: impl Into<Bson>,
    ) -> Result<bool, MongodbError> {
        self.collection(collection)
            .update_one(doc! { "_id": id }, doc! { "$set": { field: value.into() } })
            .await
            .map(|result| result.matched_count == 1)
            .map_err(|error| self.failed(&error))
    }

    /// Deletes the document with this `_id`.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn delete(&self, collection: &str, id: &str) -> Result<(), MongodbError> {
        self.collection(collection)
            .delete_one(doc! { "_id": id })
            .await
            .map(drop)
            .map_err(|error| self.failed(&error))
    }

    /// Deletes the documents whose textual `_id` lies between two texts, both left out.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn delete_between(
        &self,
        collection: &str,
        after: &str,
        before: &str,
    ) -> Result<(), MongodbError> {
        self.collection(collection)
            .delete_many(doc! { "_id": { "$gt": after, "$lt": before } })
            .await
            .map(drop)
            .map_err(|error| self.failed(&error))
    }
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Replica set name; empty for a server that is in none.
    pub set: String,
    /// Whether it takes writes.
    pub primary: bool,
    /// Server version.
    pub version: String,
}
