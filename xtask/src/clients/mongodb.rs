//! MongoDB through its official driver.

use std::time::Duration;

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

    /// Runs a command, given as JSON, in a database, and returns its answer as JSON.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn command(
        &self,
        database: &str,
        command: &serde_json::Value,
    ) -> Result<serde_json::Value, MongodbError> {
        let malformed = |reason: String| MongodbError {
            address: self.address.clone(),
            reason,
        };
        let command = mongodb::bson::serialize_to_document(command)
            .map_err(|error| malformed(error.to_string()))?;
        let answer = self.client.database(database).run_command(command).await;
        let answer = answer.map_err(|error| self.failed(&error))?;
        serde_json::to_value(&answer).map_err(|error| malformed(error.to_string()))
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
