//! Tests against a real broker: `CDC_TEST_KAFKA=host:port cargo test -p cdc-kafka broker_tests -- --ignored`.
//!
//! The broker must be the only one of its cluster and may advertise any address, a wrong one too:
//! then these tests also prove that the given address is dialled.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::io::copy_bidirectional;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(15);

fn address() -> String {
    std::env::var("CDC_TEST_KAFKA").expect("CDC_TEST_KAFKA=host:port names a broker")
}

async fn client() -> KafkaClient {
    KafkaClient::connect(&[address()], TIMEOUT).await.unwrap()
}

/// A name that no earlier run used.
fn unique(prefix: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("{prefix}-{}-{}", std::process::id(), now.subsec_nanos())
}

async fn topic(client: &KafkaClient, partitions: i32, configs: &[(&str, &str)]) -> String {
    let name = unique("kafka-client");
    let spec = TopicSpec {
        name: name.clone(),
        partitions,
        replication_factor: 1,
        configs: configs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    };
    let outcome = client.create_topics(&[spec]).await.unwrap();
    assert_eq!(outcome, [(name.clone(), CreateOutcome::Created)]);
    patiently(|| client.offsets(&name, OffsetAt::Latest)).await;
    name
}

/// Repeats a call while its error is retriable, as callers do (they with `wait.rs`).
async fn patiently<T>(call: impl AsyncFn() -> Result<T, KafkaError>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match call().await {
            Err(error) if error.is_retriable() && Instant::now() < deadline => {
                tokio::task::yield_now().await;
            }
            other => return other.unwrap(),
        }
    }
}

/// Repeats a question until the answer is yes.
async fn eventually(question: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !question().await {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}");
    }
}

fn records(count: usize) -> Vec<Record> {
    let record = |index: usize| Record {
        timestamp: 1_700_000_000_000 + index as i64,
        headers: vec![Header {
            key: "index".into(),
            value: Some(index.to_string().into()),
        }],
        ..Record::new(
            Some(format!("key-{index}").into()),
            (index % 10 != 9).then(|| Bytes::from(format!("value-{index}").repeat(4))),
        )
    };
    (0..count).map(record).collect()
}

/// Everything in partition 0 that can be read now.
async fn read_all(client: &KafkaClient, topic: &str, options: &FetchOptions) -> Vec<Record> {
    let mut read = Vec::new();
    let mut from = 0;
    loop {
        let batch = client.fetch(topic, 0, from, options).await.unwrap();
        read.extend(batch.records);
        from = batch.next_offset;
        if from >= batch.end {
            return read;
        }
    }
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn the_cluster_describes_itself() {
    let cluster = client().await.cluster().await.unwrap();
    assert!(cluster.cluster_id.is_some());
    assert_eq!(cluster.brokers.len(), 1);
    assert_eq!(cluster.controller_id, Some(cluster.brokers[0].id));
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn topics_are_created_configured_grown_and_deleted() {
    let client = client().await;
    let name = topic(&client, 2, &[("cleanup.policy", "compact")]).await;
    let again = TopicSpec {
        name: name.clone(),
        partitions: 7,
        replication_factor: 1,
        configs: BTreeMap::new(),
    };
    let outcome = client.create_topics(&[again]).await.unwrap();
    assert_eq!(outcome, [(name.clone(), CreateOutcome::AlreadyExists)]);

    let found = client.topics(Some(&[&name, "absent"])).await.unwrap();
    assert_eq!(found.len(), 1, "absent topics are left out");
    assert_eq!(found[0].partitions.len(), 2);
    assert!(
        found[0]
            .partitions
            .iter()
            .all(|p| p.leader.is_some() && p.error.is_none())
    );
    let all = client.topics(None).await.unwrap();
    assert!(all.iter().any(|topic| topic.name == name));

    let configs = client.topic_configs(&name).await.unwrap();
    assert_eq!(configs["cleanup.policy"].value.as_deref(), Some("compact"));
    assert_eq!(configs["cleanup.policy"].source, ConfigSource::Topic);
    assert_eq!(configs["retention.ms"].source, ConfigSource::Default);
    let changes = [("retention.ms", Some("60000")), ("cleanup.policy", None)];
    let changes = changes.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
    client
        .alter_topic_configs(&name, &changes.into())
        .await
        .unwrap();
    // The controller has agreed, but the broker that is asked may not have heard of it yet.
    eventually(async || {
        let configs = client.topic_configs(&name).await.unwrap();
        configs["retention.ms"].value.as_deref() == Some("60000")
            && configs["cleanup.policy"].source == ConfigSource::Default
    })
    .await;

    client.create_partitions(&name, 4).await.unwrap();
    eventually(async || {
        let found = client.topics(Some(&[&name])).await.unwrap();
        found[0].partitions.len() == 4
    })
    .await;

    let outcomes = client.delete_topics(&[&name, "absent"]).await.unwrap();
    assert!(outcomes.contains(&(name, DeleteOutcome::Deleted)));
    assert!(outcomes.contains(&("absent".into(), DeleteOutcome::NotFound)));
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn records_are_deleted_up_to_an_offset() {
    let client = client().await;
    let name = topic(&client, 1, &[]).await;
    client.produce(&name, 0, &records(5)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(client.delete_records(&name, 0, 3).await.unwrap(), 3);
    }
    let begin = client.offsets(&name, OffsetAt::Earliest).await.unwrap();
    assert_eq!(begin[&0], 3);
    let options = FetchOptions::default();
    let gone = client.fetch(&name, 0, 2, &options).await.unwrap_err();
    assert_eq!(gone.code(), Some(ErrorCode::OffsetOutOfRange));
    let left = client.fetch(&name, 0, 3, &options).await.unwrap();
    assert_eq!(left.records[0].key, records(5)[3].key);
    let error = client.delete_records(&name, 0, 6).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn refusals_name_the_topic_and_the_reason() {
    let client = client().await;
    let spec = TopicSpec {
        name: unique("refused"),
        partitions: 1,
        replication_factor: 9,
        configs: BTreeMap::new(),
    };
    let error = client.create_topics(&[spec]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::InvalidReplicationFactor));
    assert!(!error.is_retriable());

    let error = client
        .offsets("absent", OffsetAt::Latest)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "Metadata of topic absent: UNKNOWN_TOPIC_OR_PARTITION (it does not exist (yet))"
    );
    let options = FetchOptions::default();
    let error = client.fetch("absent", 0, 0, &options).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    let name = topic(&client, 1, &[]).await;
    let error = client.fetch(&name, 0, 99, &options).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
    assert!(error.to_string().contains("from offset 99"), "{error}");
    let error = client.topic_configs("absent").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::UnknownTopicOrPartition));
    // The topic's own limit: what the broker takes by default is the profile's to say.
    let name = topic(&client, 1, &[("max.message.bytes", "1000000")]).await;
    let large = Record::new(None, Some(vec![0; 2 << 20].into()));
    let error = client.produce(&name, 0, &[large]).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn what_is_produced_is_fetched_with_every_codec() {
    let client = client().await;
    let produced = records(3000);
    // The broker packs what it stores.
    for codec in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let name = topic(&client, 1, &[("compression.type", codec)]).await;
        assert_eq!(client.produce(&name, 0, &[]).await.unwrap(), None);
        assert_eq!(client.produce(&name, 0, &produced).await.unwrap(), Some(0));
        let small = FetchOptions {
            max_bytes: 10_000,
            ..FetchOptions::default()
        };
        for options in [FetchOptions::default(), small] {
            let fetched = read_all(&client, &name, &options).await;
            assert_eq!(fetched.len(), produced.len(), "{codec}");
            for (index, (fetched, produced)) in (0..).zip(fetched.iter().zip(&produced)) {
                let expected = Record {
                    offset: index,
                    ..produced.clone()
                };
                assert_eq!(*fetched, expected, "{codec}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn offsets_are_found_by_end_and_by_time() {
    let client = client().await;
    let name = topic(&client, 2, &[]).await;
    client.produce(&name, 1, &records(10)).await.unwrap();
    let at = async |at| client.offsets(&name, at).await.unwrap();
    assert_eq!(
        at(OffsetAt::Earliest).await,
        BTreeMap::from([(0, 0), (1, 0)])
    );
    assert_eq!(
        at(OffsetAt::Latest).await,
        BTreeMap::from([(0, 0), (1, 10)])
    );
    let middle = OffsetAt::Timestamp(1_700_000_000_005);
    assert_eq!(at(middle).await, BTreeMap::from([(0, 0), (1, 5)]));
    let future = OffsetAt::Timestamp(i64::MAX);
    assert_eq!(at(future).await, BTreeMap::from([(0, 0), (1, 10)]));
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn a_fetch_waits_for_a_record_and_no_longer_than_told() {
    let client = client().await;
    let name = topic(&client, 1, &[]).await;
    let waiting = {
        let (client, name) = (client.clone(), name.clone());
        tokio::spawn(async move {
            let options = FetchOptions {
                max_wait: Duration::from_secs(10),
                ..FetchOptions::default()
            };
            client.fetch(&name, 0, 0, &options).await
        })
    };
    // Another call of the same client is not held up by the one that waits.
    client.produce(&name, 0, &records(1)).await.unwrap();
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!((batch.records.len(), batch.next_offset), (1, 1));

    let options = FetchOptions {
        max_wait: Duration::from_millis(200),
        ..FetchOptions::default()
    };
    let started = Instant::now();
    let batch = client.fetch(&name, 0, 1, &options).await.unwrap();
    assert!(started.elapsed() >= options.max_wait);
    assert_eq!(
        (batch.records.len(), batch.next_offset, batch.end),
        (0, 1, 1)
    );
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn group_offsets_are_set_read_and_deleted() {
    let client = client().await;
    let name = topic(&client, 2, &[]).await;
    let group = unique("group");
    let nothing = patiently(|| client.group_offsets(&group)).await;
    assert!(nothing.is_empty());
    assert_eq!(client.describe_group(&group).await.unwrap().state, "Dead");
    assert_eq!(
        client.delete_group(&group).await.unwrap(),
        DeleteOutcome::NotFound
    );

    let offsets = BTreeMap::from([((name.clone(), 0), 0), ((name.clone(), 1), 5)]);
    client.alter_group_offsets(&group, &offsets).await.unwrap();
    assert_eq!(client.group_offsets(&group).await.unwrap(), offsets);
    let listed = client.groups().await.unwrap();
    let listed = listed.iter().find(|listed| listed.id == group).unwrap();
    assert_eq!(listed.state, "Empty");
    let described = client.describe_group(&group).await.unwrap();
    assert_eq!(
        (described.state.as_str(), described.members.len()),
        ("Empty", 0)
    );
    assert_eq!(
        client.delete_group(&group).await.unwrap(),
        DeleteOutcome::Deleted
    );
    assert!(client.group_offsets(&group).await.unwrap().is_empty());
}

/// A forward to the broker that can be cut, like one of kubectl's.
async fn forward() -> (String, tokio::sync::watch::Sender<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap().to_string();
    let (cut, cutting) = tokio::sync::watch::channel(());
    tokio::spawn(async move {
        loop {
            let (mut inside, _) = listener.accept().await.unwrap();
            let mut cutting = cutting.clone();
            cutting.mark_unchanged();
            tokio::spawn(async move {
                let mut outside = tokio::net::TcpStream::connect(address()).await.unwrap();
                tokio::select! {
                    _ = copy_bidirectional(&mut inside, &mut outside) => {}
                    _ = cutting.changed() => {}
                }
            });
        }
    });
    (local, cut)
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn a_cut_forward_is_dialled_again() {
    let (local, cut) = forward().await;
    let client = KafkaClient::connect(&[local], TIMEOUT).await.unwrap();
    for _ in 0..3 {
        client.cluster().await.unwrap();
        cut.send(()).unwrap();
        tokio::task::yield_now().await;
    }
    client.cluster().await.unwrap();
}

#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA"]
async fn the_first_bootstrap_address_that_answers_is_used() {
    let dead = "127.0.0.1:1".to_owned();
    // With two addresses the advertised one counts, unless the caller knows better.
    let mut config = Config::new(&[dead.clone(), address()], TIMEOUT);
    config.route = Some(std::sync::Arc::new(|_| Some(address())));
    let client = KafkaClient::with_config(config).await.unwrap();
    let name = topic(&client, 1, &[]).await;
    client.produce(&name, 0, &records(1)).await.unwrap();

    let error = KafkaClient::connect(&[&dead, &dead], TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(&error, KafkaError::NoBroker(both) if both.len() == 2));
    assert!(error.is_retriable());
}

/// Figures, not a test of anything: `--nocapture` shows them.
#[tokio::test]
#[ignore = "needs CDC_TEST_KAFKA and some seconds"]
#[allow(clippy::print_stderr, reason = "its output is its purpose")]
async fn measure() {
    const COUNT: usize = 1_000_000;
    let started = Instant::now();
    let client = client().await;
    eprintln!("connect and metadata: {:?}", started.elapsed());
    let name = topic(&client, 1, &[]).await;
    let started = Instant::now();
    client.offsets(&name, OffsetAt::Latest).await.unwrap();
    eprintln!("list offsets: {:?}", started.elapsed());
    let many = vec![Record::new(Some("0123456789".into()), Some(vec![b'x'; 100].into())); COUNT];
    let started = Instant::now();
    client.produce(&name, 0, &many).await.unwrap();
    let rate = |since: Instant| COUNT as f64 / since.elapsed().as_secs_f64() / 1e6;
    eprintln!("produce: {:.2} million/s", rate(started));
    for codec in ["", "lz4", "zstd", "gzip", "snappy"] {
        let name = match codec {
            "" => name.clone(),
            _ => {
                let name = topic(&client, 1, &[("compression.type", codec)]).await;
                client.produce(&name, 0, &many).await.unwrap();
                name
            }
        };
        let started = Instant::now();
        let (mut from, mut count, mut fetches) = (0, 0, 0);
        while count < COUNT {
            let options = FetchOptions::default();
            let batch = client.fetch(&name, 0, from, &options).await.unwrap();
            count += batch.records.len();
            from = batch.next_offset;
            fetches += 1;
        }
        eprintln!(
            "fetch {codec}: {:.2} million/s in {fetches} fetches",
            rate(started)
        );
        client.delete_topics(&[&name]).await.unwrap();
    }
}
