//! Reads an outbox's topic and adds its events up.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use serde::Serialize;

use super::event::{self, Read};
use super::session;
use crate::clients::kafka::{FetchOptions, Header, KafkaClient, OffsetAt, Record};
use crate::components::projections::{Added, Event, Moves, Place, Positions, Session};
use crate::components::{kafka, service};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Projection;
use crate::wait;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Records that were read.
    pub read: u64,
    /// Events that were added up.
    pub added: u64,
    /// Events that were added up before.
    pub repeated: u64,
    /// Records that went to the queue.
    pub queued: u64,
}

/// How often a claim is tried, and how long after each try.
const TRIES: u32 = 25;
const PAUSE: Duration = Duration::from_millis(200);

/// Has this session be the only one. The server may not have noticed yet that one before was killed.
async fn claimed(session: &dyn Session, name: &str) -> Result<bool> {
    for _ in 1..TRIES {
        if session.claim(name).await? {
            return Ok(true);
        }
        wait::pause(PAUSE).await;
    }
    session.claim(name).await
}

/// A reader of one projection's topic.
pub struct Runner<'a> {
    name: &'a str,
    projection: &'a Projection,
    place: Place,
    client: KafkaClient,
    session: Box<dyn Session>,
    positions: Positions,
    /// Where reading begins in a partition that was never read.
    first: BTreeMap<i32, i64>,
    done: Done,
}

impl<'a> Runner<'a> {
    /// Goes on where the projection is.
    ///
    /// # Errors
    /// The broker or the database does not answer, the table does not fit, or another one runs it.
    pub async fn open(
        env: &Environment,
        name: &'a str,
        projection: &'a Projection,
    ) -> Result<Self> {
        let runner = Self::at(env, name, projection, Place::Own).await?;
        if !claimed(&*runner.session, name).await? {
            let what = format!("projection `{name}` runs already, in another process");
            let hint = format!("cargo xtask projection status {name}");
            return Err(Error::new(Code::Locked, what).hint(hint));
        }
        Ok(runner)
    }

    /// Begins with the first event, into a table beside the projection's own.
    ///
    /// # Errors
    /// As [`Self::open`]; or the topic no longer has its first event.
    pub async fn replay(
        env: &Environment,
        name: &'a str,
        projection: &'a Projection,
    ) -> Result<Self> {
        let mut runner = Self::at(env, name, projection, Place::Shadow).await?;
        let label = format!("{name} replay");
        if !claimed(&*runner.session, &label).await? {
            let what = format!("projection `{name}` is replayed already, in another process");
            return Err(Error::new(Code::Locked, what).hint("wait for it"));
        }
        if let Some((partition, offset)) = runner.first.iter().find(|(_, offset)| **offset > 0) {
            let what = format!(
                "{} no longer has the events before offset {offset} of partition {partition}",
                projection.topic
            );
            let outbox = env.profile.outbox_of(&projection.topic);
            let connector = outbox.map_or("", |(name, _)| name);
            return Err(Error::new(Code::Drift, what).hint(format!(
                "have the rows of the outbox's table sent again: cargo xtask reset-connector {connector}"
            )));
        }
        runner.session.begin_replay(name, projection).await?;
        runner.positions.clear();
        Ok(runner)
    }

    async fn at(
        env: &Environment,
        name: &'a str,
        projection: &'a Projection,
        place: Place,
    ) -> Result<Self> {
        let client = kafka::client(env).await?;
        let session = session(env, &projection.into).await?;
        session.prepare(projection).await?;
        Ok(Runner {
            name,
            projection,
            place,
            positions: session.positions(name, place).await?,
            first: offsets(&client, &projection.topic, OffsetAt::Earliest).await?,
            client,
            session,
            done: Done::default(),
        })
    }

    /// What was done so far.
    pub fn done(&self) -> Done {
        self.done
    }

    /// Reads until the end that the topic has now.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub async fn to_the_end(&mut self) -> Result<Done> {
        let end = offsets(&self.client, &self.projection.topic, OffsetAt::Latest).await?;
        while end
            .iter()
            .any(|(partition, end)| self.next(*partition) < *end)
        {
            self.step(Duration::ZERO).await?;
        }
        Ok(self.done)
    }

    /// Gives the projection's table the rows of a replay.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn take_over(self) -> Result<Done> {
        self.session.end_replay(self.name, self.projection).await?;
        Ok(self.done)
    }

    fn next(&self, partition: i32) -> i64 {
        let read = self.positions.get(&partition);
        let next = read.or_else(|| self.first.get(&partition));
        next.copied().unwrap_or_default()
    }

    /// Reads what is there, for as long as this if there is nothing, and adds it up.
    ///
    /// # Errors
    /// The broker or the database does not answer. What was added up before stays.
    pub async fn step(&mut self, patience: Duration) -> Result<Done> {
        let options = FetchOptions {
            max_wait: patience,
            min_bytes: i32::from(!patience.is_zero()),
            ..FetchOptions::default()
        };
        let topic = &self.projection.topic;
        // It may have more partitions than before.
        self.first = offsets(&self.client, topic, OffsetAt::Earliest).await?;
        let fetches = self.first.keys().map(async |partition| {
            let from = self.next(*partition);
            let batch = self.client.fetch(topic, *partition, from, &options).await;
            let batch = batch.map_err(|error| service(&error))?;
            Ok::<_, Error>((*partition, batch))
        });
        let batches = try_join_all(fetches).await?;
        let (mut events, mut queued) = (Vec::new(), Vec::new());
        let mut to = Positions::new();
        for (partition, batch) in batches {
            if batch.next_offset == self.next(partition) && batch.records.is_empty() {
                continue;
            }
            to.insert(partition, batch.next_offset);
            self.done.read += batch.records.len() as u64;
            for record in batch.records {
                match event::read(self.projection, partition, &record) {
                    Read::Counts(event) => events.push((event, record)),
                    Read::PassedOver => {}
                    Read::Unreadable(why) => queued.push((partition, record, why)),
                }
            }
        }
        for (partition, record, why) in queued {
            self.queue(partition, record, &why).await?;
        }
        if !to.is_empty() {
            self.add(events, to).await?;
        }
        Ok(self.done)
    }

    /// Adds a batch up. Where the database refuses it, halves of it, down to the one event that does not fit: that one goes to
    /// the queue.
    async fn add(&mut self, events: Vec<(Event, Record)>, to: Positions) -> Result<()> {
        let mut work = vec![(events, to)];
        while let Some((mut events, to)) = work.pop() {
            let moves: Moves = to
                .iter()
                .map(|(partition, to)| (*partition, (self.positions.get(partition).copied(), *to)))
                .collect();
            let batch: Vec<Event> = events.iter().map(|(event, _)| event.clone()).collect();
            let added = self
                .session
                .add(self.name, self.projection, self.place, &batch, &moves);
            match added.await? {
                Added::New(new) => {
                    self.done.added += new;
                    self.done.repeated += (batch.len() as u64).saturating_sub(new);
                    self.positions.extend(to);
                }
                Added::Moved => {
                    // Read again from where it is now; what is left of this batch is among it.
                    self.positions = self.session.positions(self.name, self.place).await?;
                    return Ok(());
                }
                Added::Refused(why) => match events.len() {
                    0 => return Err(Error::new(Code::Service, why)),
                    1 => {
                        if let Some((event, record)) = events.pop() {
                            self.queue(event.partition, record, &why).await?;
                        }
                        work.push((events, to));
                    }
                    many => {
                        let rest = events.split_off(many / 2);
                        let passed = events.iter().map(|(it, _)| (it.partition, it.offset + 1));
                        let mut until = Positions::new();
                        for (partition, next) in passed {
                            until.insert(partition, next);
                        }
                        work.push((rest, to));
                        work.push((events, until));
                    }
                },
            }
        }
        Ok(())
    }

    /// Keeps a record that cannot be added up, with the headers that Connect gives those that it cannot read.
    async fn queue(&mut self, partition: i32, record: Record, why: &str) -> Result<()> {
        self.done.queued += 1;
        // What a replay cannot read is in the queue since it was read first.
        if self.place == Place::Shadow {
            return Ok(());
        }
        let said = [
            ("topic", self.projection.topic.clone()),
            ("partition", partition.to_string()),
            ("offset", record.offset.to_string()),
            ("connector.name", self.name.to_owned()),
            ("exception.message", why.to_owned()),
        ];
        let said = said.map(|(key, value)| Header {
            key: format!("__connect.errors.{key}"),
            value: Some(Bytes::from(value)),
        });
        let mut kept = Record::new(record.key, record.value);
        kept.headers = record.headers.into_iter().chain(said).collect();
        let sent = self
            .client
            .produce(&self.projection.queue, 0, &[kept])
            .await;
        sent.map(drop).map_err(|error| service(&error))
    }
}

/// The offsets of a topic's partitions.
pub(super) async fn offsets(
    client: &KafkaClient,
    topic: &str,
    at: OffsetAt,
) -> Result<BTreeMap<i32, i64>> {
    let found = client.offsets(topic, at).await;
    found.map_err(|error| service(&error))
}
