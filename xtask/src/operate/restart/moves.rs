//! For how long positions rested: what a restart costs those who wait for changes.
//!
//! Heartbeats move the positions of every flow several times a second, whether rows change or not,
//! so that a position that rests means that nothing comes through.
//!
//! `rolling-restart` prints the highest age of the newest message that the target has read. The
//! longest time without any movement would be too short: after a broker's restart the topic and the
//! target stand still one after the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde::Serialize;

use crate::clients::kafka::{KafkaClient, OffsetAt, TopicPartition};
use crate::environment::Environment;
use crate::units::Span;
use crate::wait;

/// How often positions are asked for.
const PERIOD: Duration = Duration::from_millis(50);
/// A broker that takes longer is one that is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// A place in every partition of a flow's topics: how far the target has read, or is to read.
pub type Places = BTreeMap<TopicPartition, i64>;

/// What was seen of one flow, and for how long it rested.
#[derive(Clone, Debug, Default)]
pub struct Rests {
    /// When the topics last grew, and to where.
    grown: Option<(Duration, Places)>,
    /// Ends that the target has not read yet. Beside each stands the growth before it: what came
    /// with this end may have waited at the source since then.
    unread: VecDeque<(Duration, Places)>,
    /// Of the newest end that the target has read.
    fresh: Option<Duration>,
    topic: Duration,
    target: Duration,
}

impl Rests {
    /// What was seen at a moment: the ends of the topics, and the target's places in them; none of
    /// either if nobody answered.
    pub fn saw(&mut self, at: Duration, ends: Option<Places>, read: Option<&Places>) {
        (self.topic, self.target) = self.rests(at);
        if let Some(ends) = ends {
            let grew = self.grown.as_ref().is_none_or(|(_, last)| {
                let longer =
                    |(place, end): (_, &i64)| last.get(place).is_none_or(|last| end > last);
                ends.iter().any(longer)
            });
            if grew {
                let before = self.grown.as_ref().map_or(at, |(before, _)| *before);
                self.unread.push_back((before, ends.clone()));
                self.grown = Some((at, ends));
            }
        }
        let Some(read) = read else { return };
        while let Some((since, ends)) = self.unread.front() {
            let behind = |(place, end): (_, &i64)| read.get(place).copied().unwrap_or(0) < *end;
            if ends.iter().any(behind) {
                break;
            }
            self.fresh = Some(*since);
            self.unread.pop_front();
        }
    }

    /// The longest rests until a moment, with those that last: of the topics, and of the target
    /// behind them. A change of the source was on its way for no longer than the second one,
    /// wherever it waited.
    fn rests(&self, at: Duration) -> (Duration, Duration) {
        let lasts =
            |since: Option<Duration>| since.map_or(Duration::ZERO, |since| at - since.min(at));
        let grown = self.grown.as_ref().map(|(since, _)| *since);
        (
            self.topic.max(lasts(grown)),
            self.target.max(lasts(self.fresh)),
        )
    }

    /// As [`Rests::rests`], if anything was seen at all.
    pub fn longest(&self, at: Duration) -> (Option<Duration>, Option<Duration>) {
        let (topic, target) = self.rests(at);
        (
            self.grown.as_ref().map(|_| topic),
            self.fresh.map(|_| target),
        )
    }

    /// Forgets rests so far.
    fn restart(&mut self) {
        (self.topic, self.target) = (Duration::ZERO, Duration::ZERO);
    }
}

/// For how long a flow rested at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Still {
    /// Flow.
    pub flow: String,
    /// Nothing came into its topics, in milliseconds.
    pub topic_ms: Option<u64>,
    /// The target had read nothing newer, in milliseconds: no change came later than that.
    pub target_ms: Option<u64>,
}

impl Still {
    /// The longer of both.
    pub fn longest_ms(&self) -> Option<u64> {
        self.topic_ms.max(self.target_ms)
    }
}

/// Looks at the positions of flows until it is stopped.
pub struct Moves {
    begin: Instant,
    flows: Mutex<BTreeMap<String, Rests>>,
    stopped: AtomicBool,
}

impl Moves {
    /// Looks at nothing yet.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Moves {
            begin: Instant::now(),
            flows: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }

    /// Looks at these flows from now on, in the background.
    pub(super) fn watch(self: &Arc<Self>, env: &Arc<Environment>, flows: Vec<String>) {
        let (moves, env) = (self.clone(), env.clone());
        tokio::spawn(async move {
            let mut client = None;
            while !moves.stopped.load(Relaxed) {
                moves.look(&env, &flows, &mut client).await;
                wait::pause(PERIOD).await;
            }
        });
    }

    /// Counts rests from now on.
    pub(super) fn count(&self) {
        let mut flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        flows.values_mut().for_each(Rests::restart);
    }

    /// Ends the looking; what was seen.
    pub fn stop(&self) -> Vec<Still> {
        self.stopped.store(true, Relaxed);
        let at = self.begin.elapsed();
        let flows = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        let still = |(flow, rests): (&String, &Rests)| {
            let (topic, target) = rests.longest(at);
            Still {
                flow: flow.clone(),
                topic_ms: topic.map(|it| Span(it).ms()),
                target_ms: target.map(|it| Span(it).ms()),
            }
        };
        flows.iter().map(still).collect()
    }

    async fn look(&self, env: &Environment, flows: &[String], held: &mut Option<KafkaClient>) {
        let client = match held.take() {
            Some(client) => client,
            None => match KafkaClient::with_config(env.kafka_config(PATIENCE)).await {
                Ok(client) => client,
                Err(_) => return,
            },
        };
        let seen = join_all(flows.iter().map(|flow| positions(env, &client, flow))).await;
        let answered = seen.iter().any(|(ends, _)| ends.is_some());
        let at = self.begin.elapsed();
        let mut rests = self.flows.lock().unwrap_or_else(PoisonError::into_inner);
        for (flow, seen) in flows.iter().zip(seen) {
            let (ends, read) = seen;
            let rests = rests.entry(flow.clone()).or_default();
            rests.saw(at, ends, read.as_ref());
        }
        // A connection that broke may know brokers where they no longer are.
        *held = answered.then_some(client);
    }
}

/// Where the target is to get in a flow's topics, and where it is. Half an answer is none.
async fn positions(
    env: &Environment,
    client: &KafkaClient,
    flow: &str,
) -> (Option<Places>, Option<Places>) {
    let Some(flow) = env.profile.flows.get(flow) else {
        return (None, None);
    };
    // A tombstone at the end of the changes is never read (see `up::unread`); heartbeats have
    // none.
    let topics = [
        (env.profile.topic(flow), 1),
        (env.profile.heartbeat_topic(flow), 0),
    ];
    let ends = join_all(topics.iter().map(async |(topic, spared)| {
        let ends = client.offsets(topic, OffsetAt::Latest).await.ok()?;
        let named = ends.into_iter();
        Some(named.map(move |(partition, end)| ((topic.clone(), partition), end - spared)))
    }));
    // The target is asked first: what it has read then cannot lie beyond the ends.
    let read = client.group_offsets(&flow.group).await.ok();
    let ends: Option<Vec<_>> = ends.await.into_iter().collect();
    (ends.map(|ends| ends.into_iter().flatten().collect()), read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn places(end: i64) -> Places {
        [(("t".to_owned(), 0), end)].into()
    }

    fn saw(rests: &mut Rests, ms: u64, end: Option<i64>, read: Option<i64>) {
        rests.saw(at(ms), end.map(places), read.map(places).as_ref());
    }

    #[test]
    fn a_rest_is_from_what_was_read_to_what_is_read_next() {
        let mut rests = Rests::default();
        assert_eq!(rests.longest(at(5)), (None, None));
        // Both move; then the topic rests from 30 to 130, and the target goes on at 170.
        for (ms, end, read) in [
            (10, Some(10), Some(10)),
            (20, Some(20), Some(20)),
            (30, Some(30), Some(30)),
            (40, None, None),
            (90, Some(30), Some(30)),
            (130, Some(40), Some(30)),
            (170, Some(50), Some(30)),
            (180, Some(50), Some(50)),
        ] {
            saw(&mut rests, ms, end, read);
        }
        // What was read at 30 had grown since 20.
        let longest = rests.longest(at(180));
        assert_eq!(longest, (Some(at(100)), Some(at(160))));
        // What lasts counts too.
        assert_eq!(rests.longest(at(400)), (Some(at(230)), Some(at(270))));
        rests.restart();
        assert_eq!(rests.longest(at(180)), (Some(at(10)), Some(at(50))));
    }

    #[test]
    fn what_waited_at_the_source_and_again_in_the_topic_waited_both_times() {
        let mut rests = Rests::default();
        for (ms, end, read) in [
            (0, 10, 10),
            (10, 20, 20),
            // The broker is away. A first change is read at once; the next one was made when the
            // rest began, and the target rests over it.
            (500, 21, 21),
            (510, 30, 21),
            (900, 40, 40),
        ] {
            saw(&mut rests, ms, Some(end), Some(read));
        }
        assert_eq!(rests.longest(at(900)).1, Some(at(890)));
    }

    proptest! {
        /// A change that was at the topic's end when it was looked at, or that waited for the topic
        /// to grow, was never on its way for longer than the figure when it is seen to be read.
        #[test]
        fn no_change_is_later_than_the_figure(
            looks in proptest::collection::vec((1_u64..50, 0_i64..4, 0_i64..6), 1..60),
        ) {
            let (mut rests, mut now, mut end, mut read) = (Rests::default(), 0, 10, 10);
            saw(&mut rests, now, Some(end), Some(read));
            let mut sent: Vec<(u64, i64)> = Vec::new();
            let (mut latest, mut grown) = (0, 0);
            for (pause, more, reads) in looks {
                now += pause;
                if more > 0 {
                    end += more;
                    sent.push((grown, end));
                    grown = now;
                }
                read = (read + 2 * reads).min(end);
                saw(&mut rests, now, Some(end), Some(read));
                for (at, _) in sent.extract_if(.., |(_, place)| *place <= read) {
                    latest = latest.max(now - at);
                }
            }
            let figure = rests.longest(at(now)).1;
            prop_assert!(figure.is_some_and(|figure| at(latest) <= figure), "{latest} {figure:?}");
        }
    }
}
