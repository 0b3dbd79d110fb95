use super::*;
use crate::clients::kafka::PartitionInfo;
use crate::profile::Selection;
use crate::profile::topics::MOST_BYTES;

fn profile() -> Profile {
    let selection = Selection {
        profile: "clickhouse".into(),
        set: Vec::new(),
    };
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.."));
    crate::components::load(root, &selection)
        .expect("a good profile")
        .profile
}

fn topic(name: &str, partitions: i32, replicas: i32) -> TopicInfo {
    let partition = |index| PartitionInfo {
        index,
        leader: Some(1),
        replicas: (1..=replicas).collect(),
        isr: (1..=replicas).collect(),
        error: None,
    };
    TopicInfo {
        name: name.into(),
        internal: name == "__consumer_offsets",
        partitions: (0..partitions).map(partition).collect(),
    }
}

/// Kafka's defaults, and what was set on the topic.
fn config(set: &[(&str, &str)]) -> BTreeMap<String, ConfigValue> {
    let value = |(key, value): &(&str, &str), source| {
        let value = ConfigValue {
            value: Some((*value).to_owned()),
            source,
        };
        ((*key).to_owned(), value)
    };
    let defaults = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "604800000"),
        ("delete.retention.ms", "86400000"),
        ("min.insync.replicas", "1"),
    ];
    let mut config: BTreeMap<_, _> = defaults
        .iter()
        .map(|pair| value(pair, ConfigSource::Default))
        .collect();
    config.extend(set.iter().map(|pair| value(pair, ConfigSource::Topic)));
    config
}

fn found(name: &str, size: (i32, i32), brokers: usize, set: &[(&str, &str)]) -> Vec<String> {
    check(
        &profile(),
        brokers,
        &topic(name, size.0, size.1),
        &config(set),
    )
    .iter()
    .map(|finding| {
        let note = if finding.note { " (note)" } else { "" };
        format!(
            "{}: {} -> {}{note}",
            finding.key, finding.is, finding.should_be
        )
    })
    .collect()
}

#[test]
fn roles_by_the_profile_and_by_name() {
    let mut profile = profile();
    let config = &mut profile.connectors["postgres-connector"].config;
    for (key, topic) in [
        ("schema.history.internal.kafka.topic", "definitions"),
        ("errors.deadletterqueue.topic.name", "failed"),
    ] {
        config.insert(key.into(), topic.into());
    }
    for (name, expected) in [
        ("definitions", Role::SchemaHistory),
        ("failed", Role::Dlq),
        ("postgres.public.users", Role::Cdc),
        ("postgres.public.orders", Role::Cdc),
        ("mongo.commerce.events", Role::Cdc),
        ("postgres.transaction", Role::Transaction),
        ("__debezium-heartbeat.postgres", Role::Heartbeat),
        ("debezium.schema-history.prod", Role::SchemaHistory),
        ("dlq.debezium.prod", Role::Dlq),
        ("orders-DLQ", Role::Dlq),
        ("sink.dead-letters", Role::Dlq),
        ("connect-cluster-offsets", Role::Connect),
        ("__consumer_offsets", Role::Internal),
        ("postgresql", Role::Other),
        ("adlqb", Role::Other),
    ] {
        assert_eq!(role(&profile, &topic(name, 1, 1)), expected, "{name}");
    }
}

#[test]
fn what_the_profile_makes_is_right_and_noted() {
    let users = [
        ("cleanup.policy", "delete"),
        ("max.message.bytes", MOST_BYTES),
    ];
    assert_eq!(
        found("postgres.public.users", (1, 1), 1, &users),
        [
            "cleanup.policy: delete -> compact (note)",
            "retention.ms: 604800000 -> -1 (note)"
        ]
    );
    let beats = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "600000"),
        ("segment.bytes", "1048576"),
    ];
    assert!(found("__debezium-heartbeat.postgres", (1, 1), 1, &beats).is_empty());
}

#[test]
fn what_was_changed_on_the_profiles_topics_is_found() {
    let set = [
        ("cleanup.policy", "compact"),
        ("max.message.bytes", MOST_BYTES),
        ("retention.ms", "1000"),
    ];
    assert_eq!(
        found("postgres.public.users", (1, 1), 1, &set),
        [
            "cleanup.policy: compact -> delete",
            "retention.ms: 1000 -> (not set), as in the profile",
            "delete.retention.ms: 86400000 -> 172800000 or more (note)",
        ]
    );
    let set = [("retention.ms", "3600000"), ("segment.bytes", "1048576")];
    assert_eq!(
        found("__debezium-heartbeat.postgres", (1, 1), 1, &set),
        ["retention.ms: 3600000 -> 600000"]
    );
}

#[test]
fn a_compacted_or_expiring_schema_history() {
    let set = [("cleanup.policy", "compact")];
    assert_eq!(
        found("debezium.schema-history.prod", (2, 3), 3, &set),
        [
            "cleanup.policy: compact -> delete",
            "retention.ms: 604800000 -> -1",
            "partitions: 2 -> 1",
            "min.insync.replicas: 1 -> 2",
        ]
    );
    let right = [("retention.ms", "-1"), ("min.insync.replicas", "2")];
    assert!(found("debezium.schema-history.prod", (1, 3), 3, &right).is_empty());
}

#[test]
fn other_tables_need_to_be_compacted() {
    let many = [
        ("cleanup.policy", "compact"),
        ("retention.ms", "-1"),
        ("delete.retention.ms", "172800000"),
        ("min.insync.replicas", "2"),
    ];
    assert_eq!(
        found("postgres.public.orders", (4, 3), 3, &many),
        ["delete.retention.ms: 172800000 -> 604800000 or more"]
    );
    assert!(found("postgres.public.orders", (3, 3), 3, &many).is_empty());
    assert_eq!(
        found("postgres.public.orders", (7, 3), 3, &many)[1],
        "partitions: 7 -> 1 to 6"
    );
}

#[test]
fn replicas_are_held_against_the_brokers_there_are() {
    let kept = ("retention.ms", "2592000000");
    let at = |insync: &'static str| [kept, ("min.insync.replicas", insync)];
    assert!(found("dlq.a", (1, 1), 1, &at("1")).is_empty());
    assert_eq!(
        found("dlq.a", (1, 1), 1, &at("2")),
        ["min.insync.replicas: 2 -> 1"]
    );
    assert_eq!(found("dlq.a", (1, 1), 3, &at("1")), ["replicas: 1 -> 3"]);
    assert_eq!(
        found("dlq.a", (1, 3), 3, &at("1")),
        ["min.insync.replicas: 1 -> 2"]
    );
    assert_eq!(
        found("dlq.a", (1, 3), 3, &at("3")),
        ["min.insync.replicas: 3 -> 2"]
    );
    assert_eq!(found("dlq.a", (1, 2), 2, &at("1")), Vec::<String>::new());
    assert_eq!(
        found("dlq.a", (1, 3), 5, &[kept, ("min.insync.replicas", "2")]),
        Vec::<String>::new()
    );
}

#[test]
fn longer_is_right_for_failed_messages_and_shorter_for_beats() {
    for (name, retention, right) in [
        ("dlq.a", "-1", true),
        ("dlq.a", "2592000000", true),
        ("dlq.a", "86400000", false),
        ("__debezium-heartbeat.other", "60000", true),
        ("__debezium-heartbeat.other", "-1", false),
        ("__debezium-heartbeat.other", "x", false),
    ] {
        let found = found(name, (1, 1), 1, &[("retention.ms", retention)]);
        assert_eq!(found.is_empty(), right, "{name} {retention}: {found:?}");
    }
}

#[test]
fn a_new_topic_of_a_role_passes_the_check() {
    for (role, name, high) in [
        (Role::Cdc, "postgres.public.orders", false),
        (Role::Cdc, "postgres.public.orders", true),
        (Role::SchemaHistory, "schema-history.a", false),
        (Role::Dlq, "dlq.a", false),
        (Role::Heartbeat, "__debezium-heartbeat.other", false),
    ] {
        for brokers in [1, 2, 3, 5] {
            let (partitions, settings) = defaults(role, high, brokers).unwrap();
            let set: Vec<(&str, &str)> = settings
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            let replicas = i32::try_from(brokers.min(3)).unwrap();
            let found = found(name, (partitions, replicas), brokers, &set);
            assert!(found.is_empty(), "{name} on {brokers}: {found:?}");
        }
    }
    assert_eq!(defaults(Role::Other, false, 1), None);
}

#[test]
fn every_difference_says_what_mends_it() {
    let topic = topic("dlq.a", 1, 1);
    let findings = check(
        &profile(),
        1,
        &topic,
        &config(&[("cleanup.policy", "compact")]),
    );
    assert_eq!(
        findings[0].next.as_deref(),
        Some("cargo xtask topic config dlq.a --alter cleanup.policy=delete")
    );
}
