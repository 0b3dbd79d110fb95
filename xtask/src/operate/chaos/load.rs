//! The sessions that write, and what they know to be there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::JoinSet;

use super::sql;
use super::workload::{Change, Fate, Rows, Table, Writer, touched};
use crate::components::console::Session as Talks;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::wait;

/// How many sessions write at the same time.
const SESSIONS: u16 = 4;
/// The pause before a session tries again that was refused.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the source may take to answer before a round's end.
const ANSWERS: Duration = Duration::from_secs(120);

/// Where is written.
pub(super) struct Place {
    pub(super) env: Arc<Environment>,
    /// The source's component.
    pub(super) component: String,
    pub(super) tables: Vec<Table>,
}

/// One session.
pub(super) struct Session {
    place: Arc<Place>,
    writer: Writer,
    /// A step whose answer did not arrive.
    pending: Option<Vec<Change>>,
    connection: Option<Box<dyn Talks>>,
    /// Changes of rows that were acknowledged, or found to be committed.
    acknowledged: u64,
    /// Why the last step failed.
    trouble: String,
}

impl Session {
    /// Commits this step, or decides about the one before. Whether it was committed.
    async fn attempt(&mut self, step: impl FnOnce(&mut Writer) -> Vec<Change>) -> bool {
        let done = self.try_once(step).await;
        done.unwrap_or_else(|error| {
            self.trouble = error.message;
            self.connection = None;
            false
        })
    }

    async fn try_once(&mut self, step: impl FnOnce(&mut Writer) -> Vec<Change>) -> Result<bool> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => sql::session(&self.place.env, &self.place.component).await?,
        };
        if let Some(step) = &self.pending {
            let keys = touched(step);
            let found = sql::read(&mut *connection, &self.place.tables, &keys).await?;
            let fate = self.writer.fate(step, &found);
            // What is neither is named by the comparison at the end of the round.
            if let Some(step) = self.pending.take().filter(|_| fate == Fate::Done) {
                self.done(&step);
            }
            self.connection = Some(connection);
            return Ok(fate == Fate::Done);
        }
        let step = step(&mut self.writer);
        if !step.is_empty() {
            // Until the answer is there it may be either.
            self.pending = Some(step.clone());
            sql::commit(&mut *connection, &self.place.tables, &step).await?;
            self.pending = None;
            self.done(&step);
        }
        self.connection = Some(connection);
        Ok(true)
    }

    fn done(&mut self, step: &[Change]) {
        self.acknowledged += u64::try_from(step.len()).unwrap_or_default();
        self.writer.done(step);
    }

    /// Decides about the step whose answer did not arrive.
    async fn settle(&mut self) -> Result<()> {
        let begin = Instant::now();
        while self.pending.is_some() {
            self.attempt(|_| Vec::new()).await;
            if begin.elapsed() > ANSWERS {
                let what = format!("the source does not answer: {}", self.trouble);
                return Err(Error::new(Code::Service, what));
            }
            if self.pending.is_some() {
                wait::before_retry(AGAIN).await;
            }
        }
        Ok(())
    }
}

/// A row that tells when changes arrive.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) table: usize,
    pub(super) id: i64,
    pub(super) label: String,
}

/// All sessions. They end with it.
pub(super) struct Load {
    place: Arc<Place>,
    sessions: Vec<Arc<Mutex<Session>>>,
    /// The one that writes what is waited for.
    probes: Arc<Mutex<Session>>,
    _tasks: JoinSet<()>,
}

impl Load {
    /// Has all sessions write from now on.
    pub(super) fn begin(place: Place, seed: u64) -> Self {
        let place = Arc::new(place);
        let session = |number: u16| {
            Arc::new(Mutex::new(Session {
                place: place.clone(),
                writer: Writer::new(seed, number, SESSIONS + 1, &place.tables),
                pending: None,
                connection: None,
                acknowledged: 0,
                trouble: String::new(),
            }))
        };
        let sessions: Vec<_> = (0..SESSIONS).map(session).collect();
        let mut tasks = JoinSet::new();
        for session in &sessions {
            let session = session.clone();
            tasks.spawn(async move {
                loop {
                    let pause = {
                        let mut session = session.lock().await;
                        let rest = Duration::from_millis(session.writer.rest());
                        match session.attempt(Writer::step).await {
                            true => rest,
                            false => AGAIN,
                        }
                    };
                    wait::pause(pause).await;
                }
            });
        }
        Load {
            probes: session(SESSIONS),
            place,
            sessions,
            _tasks: tasks,
        }
    }

    /// Writes a row into each table, however long the source is away, and says which.
    pub(super) async fn probe(&self) -> Vec<Probe> {
        let mut session = self.probes.lock().await;
        let mut probes = Vec::new();
        for table in 0..self.place.tables.len() {
            let change = session.writer.probe(table);
            if let Change::Insert((_, key), row) = &change {
                probes.push(Probe {
                    table,
                    id: key.first().copied().unwrap_or_default(),
                    label: row.label.clone(),
                });
            }
            while !session.attempt(|_| vec![change.clone()]).await {
                wait::before_retry(AGAIN).await;
            }
        }
        probes
    }

    /// Has all sessions pause for as long as what is returned is kept.
    ///
    /// # Errors
    /// The source does not answer, so that it is not known what is there.
    pub(super) async fn pause(&self) -> Result<Paused> {
        let mut held = Vec::new();
        for session in self.sessions.iter().chain([&self.probes]) {
            let session = tokio::time::timeout(ANSWERS, session.clone().lock_owned()).await;
            let hangs = |_| Error::new(Code::Service, "a session at the source hangs");
            let mut session = session.map_err(hangs)?;
            session.settle().await?;
            held.push(session);
        }
        Ok(Paused(held))
    }

    /// Where is written.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

/// All sessions, none of which writes.
pub(super) struct Paused(Vec<OwnedMutexGuard<Session>>);

impl Paused {
    /// The rows that must be there.
    pub(super) fn truth(&self) -> Rows {
        let rows = self.0.iter().flat_map(|it| it.writer.rows().iter());
        rows.map(|(key, row)| (key.clone(), row.clone())).collect()
    }

    /// How many changes of rows were acknowledged since the beginning.
    pub(super) fn acknowledged(&self) -> u64 {
        self.0.iter().map(|it| it.acknowledged).sum()
    }
}
