//! MongoDB through its official driver.

#[cfg(test)]
pub(crate) mod fake;
mod look;
mod options;
pub mod servers;
pub mod token;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, Timestamp, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ServerAddress;
use mongodb::{Client, Collection};
use tokio::sync::OnceCell;

use crate::endpoint::Endpoint;
pub use look::Trouble;
use servers::Servers;

/// What can go wrong: the driver's reason, with the address.
#[derive(Debug, thiserror::Error)]
#[error("MongoDB at {address}: {reason}")]
pub struct MongodbError {
    /// Where.
    pub address: String,
    /// The driver's reason.
    pub reason: String,
    /// The server's number of the error; 0 if it gave none.
    pub code: i32,
    /// What keeps the driver from every server, where that is it.
    pub trouble: Option<Trouble>,
}

impl MongodbError {
    /// Whether the server knows no such user with this password.
    pub fn is_refused_login(&self) -> bool {
        self.code == AUTHENTICATION_FAILED
    }
}

const AUTHENTICATION_FAILED: i32 = 18;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client of a replica set, or of one of its members.
#[derive(Clone, Debug)]
pub struct Mongodb(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    servers: Servers,
    /// The set's name; none for a member that is asked whatever its set is.
    set: Option<String>,
    at: Endpoint,
    connected: OnceCell<Connected>,
}

#[derive(Debug)]
struct Connected {
    client: Client,
    hosts: Vec<look::Host>,
}

/// `database.collection` as a pair.
fn split(name: &str) -> (&str, &str) {
    name.split_once('.').unwrap_or((name, ""))
}

impl Mongodb {
    /// A client of exactly this address, whatever names the replica set's members have; nothing is
    /// connected yet.
    pub fn new(endpoint: &Endpoint) -> Self {
        Self::of(Servers::member(endpoint.address()), None, endpoint)
    }

    /// A client of the set's primary. Of one server that is named with its port this very one is asked. Nothing is
    /// connected yet; login and TLS are those of `at`.
    pub fn of(servers: Servers, set: Option<String>, at: &Endpoint) -> Self {
        Mongodb(Arc::new(Inner {
            servers,
            set,
            at: at.clone(),
            connected: OnceCell::new(),
        }))
    }

    /// The driver's client. What the name service knows is asked for once.
    async fn client(&self) -> Result<&Client, MongodbError> {
        let connect = async || {
            let Inner {
                servers, set, at, ..
            } = &*self.0;
            let options = options::of(servers, set.as_deref(), at).await;
            let options = options.map_err(|error| {
                let error = self.failed(&error);
                let trouble = Some(Trouble::Address(error.reason.clone()));
                MongodbError { trouble, ..error }
            })?;
            let hosts = options.hosts.iter().filter_map(|it| match it {
                ServerAddress::Tcp { host, port } => Some((host.clone(), port.unwrap_or(27017))),
                _ => None,
            });
            let hosts = hosts.collect();
            let client = Client::with_options(options).map_err(|error| self.failed(&error))?;
            Ok(Connected { client, hosts })
        };
        let connected = self.0.connected.get_or_try_init(connect).await?;
        Ok(&connected.client)
    }

    /// What an error of the driver means. Where it found no server to ask, each is asked why.
    async fn explained(&self, error: mongodb::error::Error) -> MongodbError {
        let plain = self.failed(&error);
        let (ErrorKind::ServerSelection { .. }, Some(connected)) =
            (error.kind.as_ref(), self.0.connected.get())
        else {
            return plain;
        };
        let set = self.0.set.as_deref();
        match look::around(&connected.hosts, set, &self.0.at.tls).await {
            Some(trouble) => MongodbError {
                reason: trouble.to_string(),
                trouble: Some(trouble),
                ..plain
            },
            None => plain,
        }
    }

    fn failed(&self, error: &mongodb::error::Error) -> MongodbError {
        MongodbError {
            address: self.0.servers.to_string(),
            reason: error.kind.to_string(),
            trouble: None,
            code: match error.kind.as_ref() {
                ErrorKind::Authentication { .. } => AUTHENTICATION_FAILED,
                ErrorKind::Command(error) => error.code,
                _ => 0,
            },
        }
    }

    async fn collection(&self, name: &str) -> Result<Collection<Document>, MongodbError> {
        let (database, collection) = split(name);
        let client = self.client().await?;
        Ok(client.database(database).collection(collection))
    }

    /// Runs an administrative command.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn admin(&self, command: Document) -> Result<Document, MongodbError> {
        self.run("admin", command).await
    }

    async fn run(&self, database: &str, command: Document) -> Result<Document, MongodbError> {
        let database = self.client().await?.database(database);
        match database.run_command(command).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.explained(error).await),
        }
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
            address: self.0.servers.to_string(),
            reason,
            code: 0,
            trouble: None,
        };
        let command = mongodb::bson::serialize_to_document(command)
            .map_err(|error| malformed(error.to_string()))?;
        let answer = self.run(database, command).await?;
        serde_json::to_value(&answer).map_err(|error| malformed(error.to_string()))
    }

    /// What the member says of itself, and its version. Wants a login where there are users.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn hello(&self) -> Result<Hello, MongodbError> {
        let standing = self.standing().await?;
        let build = self.admin(doc! { "buildInfo": 1 }).await?;
        Ok(Hello {
            standing,
            version: build.get_str("version").unwrap_or_default().to_owned(),
        })
    }

    /// What the member tells everybody.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn standing(&self) -> Result<Standing, MongodbError> {
        let hello = self.admin(doc! { "hello": 1 }).await?;
        Ok(standing(&hello))
    }

    /// The replica set's configuration.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn set_config(&self) -> Result<Document, MongodbError> {
        let mut answer = self.admin(doc! { "replSetGetConfig": 1 }).await?;
        Ok(match answer.remove("config") {
            Some(Bson::Document(config)) => config,
            _ => Document::new(),
        })
    }

    /// How many documents a collection has.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn count(&self, collection: &str) -> Result<u64, MongodbError> {
        self.collection(collection)
            .await?
            .count_documents(doc! {})
            .await
            .map_err(|error| self.failed(&error))
    }

    /// Shows some documents of a collection, which the server chooses, one after the other.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn sample(
        &self,
        collection: &str,
        most: u16,
        mut each: impl FnMut(&Document),
    ) -> Result<(), MongodbError> {
        let failed = |error: mongodb::error::Error| self.failed(&error);
        let sample = doc! { "$sample": { "size": i32::from(most) } };
        let mut found = self
            .collection(collection)
            .await?
            .aggregate([sample])
            .await
            .map_err(failed)?;
        while let Some(document) = found.try_next().await.map_err(failed)? {
            each(&document);
        }
        Ok(())
    }

    /// Shows the documents of a collection for which a filter holds, with these fields alone, one after the other.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn each(
        &self,
        collection: &str,
        filter: Document,
        fields: Document,
        mut each: impl FnMut(&Document),
    ) -> Result<(), MongodbError> {
        let failed = |error: mongodb::error::Error| self.failed(&error);
        let mut found = self
            .collection(collection)
            .await?
            .find(filter)
            .projection(fields)
            .await
            .map_err(failed)?;
        while let Some(document) = found.try_next().await.map_err(failed)? {
            each(&document);
        }
        Ok(())
    }

    /// When the replica set's newest change was written, as a timestamp's seconds and its number within them: as its
    /// oplog has it, or where that may not be read as the member says; none of what is no member.
    ///
    /// # Errors
    /// See [`MongodbError`].
    pub async fn newest(&self) -> Result<Option<u64>, MongodbError> {
        let number = |it: Timestamp| (u64::from(it.time) << 32) | u64::from(it.increment);
        let oplog = self.collection("local.oplog.rs").await?;
        if let Ok(Some(at)) = self.oplog_end(&oplog, -1).await {
            return Ok(Some(number(at)));
        }
        let hello = self.admin(doc! { "hello": 1 }).await?;
        let write = hello.get_document("lastWrite");
        let at = write.and_then(|it| it.get_document("opTime"));
        Ok(at.and_then(|it| it.get_timestamp("ts")).ok().map(number))
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
            .await?
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
        let oplog = self.collection("local.oplog.rs").await?;
        let mut ends = [None, None];
        for (end, order) in ends.iter_mut().zip([1, -1]) {
            let time = self.oplog_end(&oplog, order).await?;
            *end = time.map(|time| u64::from(time.time));
        }
        Ok(ends[0].zip(ends[1]))
    }

    /// The timestamp of the oplog's oldest (1) or newest (-1) entry.
    async fn oplog_end(
        &self,
        oplog: &Collection<Document>,
        order: i32,
    ) -> Result<Option<Timestamp>, MongodbError> {
        let entry = oplog
            .find_one(doc! {})
            .sort(doc! { "$natural": order })
            .projection(doc! { "ts": 1 })
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(entry.and_then(|entry| entry.get_timestamp("ts").ok()))
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
            .await?
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
            .await?
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
            .await?
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
            .await?
            .delete_many(doc! { "_id": { "$gt": after, "$lt": before } })
            .await
            .map(drop)
            .map_err(|error| self.failed(&error))
    }
}

/// What a member tells everybody, logged in or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Replica set name; empty for a server that is in none.
    pub set: String,
    /// Whether it takes writes.
    pub primary: bool,
    /// Whether it has a copy of everything.
    pub secondary: bool,
    /// Whether it was started as a member, initiated or not.
    pub replicated: bool,
}

/// What `hello` was answered with.
fn standing(hello: &Document) -> Standing {
    let says = |key: &str| hello.get_bool(key).unwrap_or(false);
    let set = hello.get_str("setName").unwrap_or_default().to_owned();
    Standing {
        primary: says("isWritablePrimary") || says("ismaster"),
        secondary: says("secondary"),
        // Told by a member that is not initiated.
        replicated: !set.is_empty() || says("isreplicaset"),
        set,
    }
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its place in its replica set.
    pub standing: Standing,
    /// Server version.
    pub version: String,
}

#[cfg(test)]
mod tests {
    use super::fake::{refusal, start};
    use super::*;
    use crate::endpoint::Secret;

    #[tokio::test]
    async fn a_refused_login_is_told_from_other_errors_and_what_everybody_may_ask_is_answered() {
        let endpoint = start(|command, _| match command {
            "saslStart" | "saslContinue" => refusal(18, "AuthenticationFailed"),
            "hello" | "ismaster" | "isMaster" => {
                doc! { "isWritablePrimary": false, "secondary": false, "isreplicaset": true }
            }
            _ => refusal(13, "Unauthorized"),
        })
        .await
        .expect("a server");
        let open = Mongodb::new(&endpoint);
        let standing = open.standing().await.expect("an answer");
        assert!(standing.replicated && !standing.primary && standing.set.is_empty());
        let error = open.set_config().await.expect_err("not permitted");
        assert_eq!((error.code, error.is_refused_login()), (13, false));

        let login = endpoint.login("root", Secret::new("not-the-one"));
        let error = Mongodb::new(&login).hello().await.expect_err("refused");
        assert!(error.is_refused_login(), "{error}");
        assert!(!error.to_string().contains("not-the-one"), "{error}");
    }

    #[tokio::test]
    async fn a_sample_is_what_the_server_chooses() {
        let endpoint = start(|command, sent| match command {
            "aggregate" => {
                let stages = sent.get_array("pipeline").expect("stages");
                assert_eq!(
                    stages,
                    &[Bson::Document(doc! { "$sample": { "size": 10 } })]
                );
                let batch = vec![doc! { "_id": 1 }, doc! { "_id": 2 }];
                doc! { "cursor": { "id": 0_i64, "ns": "a.b", "firstBatch": batch } }
            }
            _ => doc! { "isWritablePrimary": true },
        })
        .await
        .expect("a server");
        let client = Mongodb::new(&endpoint);
        let mut seen = Vec::new();
        let sampled = client.sample("a.b", 10, |it| seen.push(it.clone())).await;
        sampled.expect("an answer");
        assert_eq!(seen, [doc! { "_id": 1 }, doc! { "_id": 2 }]);
    }

    #[tokio::test]
    async fn the_first_server_of_the_image_is_no_member() {
        let endpoint = start(|_, _| doc! { "isWritablePrimary": true, "version": "8.0.4" })
            .await
            .expect("a server");
        let hello = Mongodb::new(&endpoint).hello().await;
        let hello = hello.expect("an answer");
        assert!(hello.standing.primary && !hello.standing.replicated);
        assert_eq!(hello.version, "8.0.4");
    }
}
