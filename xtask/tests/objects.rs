//! The objects for clusters: what every profile renders, checked field by field.

#![allow(clippy::panic, reason = "a test fails by a panic")]

mod support;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, PersistentVolumeClaimSpec, PodSpec, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use serde_json::{Value, json};
use support::crds::{Crds, bundles, typed};
use support::objects::{CASES, Cluster, objects_with};
use xtask::components::target;
use xtask::environment::{Environment, Secrets};
use xtask::platform::Platform;
use xtask::render::objects::Object;

fn value(object: &Object) -> Value {
    serde_json::to_value(&object.object).expect("JSON")
}

fn name(value: &Value) -> String {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or("");
    format!(
        "{} {}/{}",
        text("/kind"),
        text("/metadata/namespace"),
        text("/metadata/name")
    )
}

/// What is wrong with an object of Kubernetes' own kinds; nothing said about others.
fn core_faults(value: &Value) -> Option<Vec<String>> {
    let kind = value["kind"].as_str().expect("a kind");
    Some(
        match (value["apiVersion"].as_str().expect("a version"), kind) {
            ("v1", "Namespace") => typed::<Namespace>(value),
            ("v1", "Secret") => typed::<Secret>(value),
            ("v1", "Service") => typed::<Service>(value),
            ("apps/v1", "StatefulSet") => typed::<StatefulSet>(value),
            ("networking.k8s.io/v1", "NetworkPolicy") => typed::<NetworkPolicy>(value),
            ("policy/v1", "PodDisruptionBudget") => typed::<PodDisruptionBudget>(value),
            ("batch/v1", "CronJob") => typed::<CronJob>(value),
            ("v1", "ConfigMap") => typed::<ConfigMap>(value),
            ("v1", "ServiceAccount") => typed::<ServiceAccount>(value),
            ("rbac.authorization.k8s.io/v1", "Role") => typed::<Role>(value),
            ("rbac.authorization.k8s.io/v1", "RoleBinding") => typed::<RoleBinding>(value),
            _ => return None,
        },
    )
}

/// The definitions leave these parts open: they are Kubernetes' own types.
fn inner_faults(value: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if value["kind"]
        .as_str()
        .is_some_and(|kind| kind.starts_with("ClickHouse"))
    {
        let templates = &value["spec"]["templates"];
        for template in templates["podTemplates"].as_array().into_iter().flatten() {
            faults.extend(typed::<PodSpec>(&template["spec"]));
        }
        for template in templates["volumeClaimTemplates"]
            .as_array()
            .into_iter()
            .flatten()
        {
            faults.extend(typed::<PersistentVolumeClaimSpec>(&template["spec"]));
        }
    }
    faults
}

#[test]
fn every_object_of_every_profile() {
    for (case, profile, set, cluster) in CASES {
        let mut text = String::new();
        for object in objects_with(profile, set, cluster) {
            let yaml = serde_yaml::to_string(&value(&object)).expect("YAML");
            text.push_str(&format!("---\n{yaml}"));
        }
        assert!(!text.contains("password123"), "{case}");
        insta::assert_snapshot!(format!("objects_{case}"), text);
    }
}

/// The statements of a flow on a cluster of the profile's own.
fn statements(set: &[&str]) -> String {
    let root = support::objects::repository();
    let loaded = support::objects::loaded("clickhouse-production", set);
    let env = Environment::new(&root, loaded, Platform::Kubernetes, Secrets::Existing)
        .expect("an environment");
    let mut text = String::new();
    for (name, flow) in &env.profile.flows {
        let statements = target(&env, flow)
            .expect("a target")
            .statements(&env, name, flow)
            .expect("it renders");
        text.push_str(&(statements.join(";\n\n") + ";\n\n"));
    }
    text
}

#[test]
fn the_tables_of_several_servers() {
    insta::assert_snapshot!("sql_production", statements(&[]));
}

#[test]
fn shards_without_replicas_agree_with_nobody() {
    let text = statements(&["clickhouse.replicas=1", "clickhouse.keepers=0"]);
    assert!(!text.contains("Replicated"), "{text}");
    assert!(text.contains("ENGINE = Distributed('my-cluster'"), "{text}");
}

#[test]
fn one_server_has_the_same_tables_on_every_platform() {
    let root = support::objects::repository();
    let on = |platform| {
        let loaded = support::objects::loaded("clickhouse", &["mongodb.external=db:27017"]);
        let env =
            Environment::new(&root, loaded, platform, Secrets::Existing).expect("an environment");
        let flows = env.profile.flows.iter();
        let texts = flows.map(|(name, flow)| {
            let statements = target(&env, flow)
                .expect("a target")
                .statements(&env, name, flow)
                .expect("it renders");
            let text = statements
                .join(";\n")
                .replace(&env.inside("kafka").address(), "BROKER");
            // The digest is of the whole text, addresses included.
            let (before, digest) = text.split_once("COMMENT '").expect("a digest");
            format!("{before}{}", &digest[12..])
        });
        texts.collect::<Vec<_>>()
    };
    assert_eq!(on(Platform::Host), on(Platform::Kind));
}

#[test]
fn kubernetes_own_kinds_hold_no_unknown_field() {
    let mut seen = 0;
    for (case, profile, set, cluster) in CASES {
        for object in objects_with(profile, set, cluster) {
            let value = value(&object);
            let mut faults = core_faults(&value).unwrap_or_default();
            seen += usize::from(core_faults(&value).is_some());
            faults.extend(inner_faults(&value));
            assert!(faults.is_empty(), "{case}: {}: {faults:#?}", name(&value));
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn objects_of_two_components_of_a_type_have_names_of_their_own() {
    let set = [
        "components.mongodb={}",
        "components.shop={type: mongodb, port: 27117}",
        "components.orders={type: postgres, port: 5533}",
    ];
    let mut names = BTreeSet::new();
    for object in objects_with("clickhouse", &set, Cluster::Kind) {
        let meta = &object.object.metadata;
        let kind = object.object.types.as_ref().map(|types| types.kind.clone());
        let name = (kind, meta.namespace.clone(), meta.name.clone());
        assert!(names.insert(name.clone()), "{name:?} is there twice");
    }
    assert!(names.iter().any(|(kind, _, name)| {
        kind.as_deref() == Some("StatefulSet") && name.as_deref() == Some("shop")
    }));
}

#[test]
#[ignore = "needs the operators' bundles: CDC_TEST_CRDS, or ../shared/data"]
fn custom_resources_obey_their_definitions() {
    let dir = bundles();
    let others = [
        dir.join("altinity-clickhouse-operator-0.25.6/clickhouse-operator-install-bundle.yaml"),
        dir.join("cloudnative-pg-1.30.0/cnpg-1.30.0.yaml"),
    ];
    let crds = |strimzi: &str| {
        let mut paths = others.to_vec();
        paths.push(dir.join(format!("strimzi-{strimzi}/install/cluster-operator")));
        Crds::read(&paths)
    };
    let (pinned, manual) = (crds("1.2.0"), crds("0.50.0"));
    let mut seen = 0;
    for (case, profile, set, cluster) in CASES {
        let crds = if profile == "clickhouse-manual" {
            &manual
        } else {
            &pinned
        };
        for object in objects_with(profile, set, cluster) {
            let value = value(&object);
            if core_faults(&value).is_some() {
                continue;
            }
            assert!(crds.knows(&value), "{case}: {}: unknown kind", name(&value));
            let faults = crds.faults(&value);
            assert!(faults.is_empty(), "{case}: {}: {faults:#?}", name(&value));
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
    // A slip is found, wherever it is.
    let mut found = 0;
    for object in objects_with(CASES[3].1, CASES[3].2, CASES[3].3) {
        let mut value = value(&object);
        if core_faults(&value).is_some() {
            continue;
        }
        value["spec"]["replicsa"] = json!(3);
        let faults = pinned.faults(&value);
        assert!(
            faults.iter().any(|fault| fault.contains("replicsa")),
            "{}: {faults:?}",
            name(&value)
        );
        found += 1;
    }
    assert!(found > 5, "{found}");
}

/// The image of 18 has its volume elsewhere. The directory in it stays the same: another major version
/// then refuses the data that is there, and does not begin with none.
#[test]
fn postgresqls_volume_is_where_the_image_wants_it() {
    for (version, tag, mount) in [
        ("16.10.0", "postgres:16.10", "/var/lib/postgresql/data"),
        ("17.11.0", "postgres:17.11", "/var/lib/postgresql/data"),
        ("18.4.0", "postgres:18.4", "/var/lib/postgresql"),
    ] {
        let set = format!("versions.postgres={version}");
        let objects = objects_with("clickhouse", &[&set], CASES[0].3);
        let server = objects.iter().map(value).find(|object| {
            object["kind"] == "StatefulSet" && object["metadata"]["name"] == "postgres"
        });
        let server = server.expect("PostgreSQL");
        let container = &server["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], tag);
        let named = |list: &str, name: &str| {
            let mut items = container[list].as_array().expect("a list").iter();
            items
                .find(|it| it["name"] == name)
                .expect("it is there")
                .clone()
        };
        assert_eq!(named("volumeMounts", "data")["mountPath"], mount);
        assert_eq!(named("env", "PGDATA")["value"], format!("{mount}/pgdata"));
    }
}

#[test]
fn a_slip_in_kubernetes_own_kinds_is_found() {
    for object in objects_with(CASES[3].1, CASES[3].2, CASES[3].3) {
        let mut value = value(&object);
        if value["kind"]
            .as_str()
            .is_some_and(|kind| kind.starts_with("ClickHouse"))
        {
            value["spec"]["templates"]["podTemplates"][0]["spec"]["automountServiceAcountToken"] =
                json!(false);
            assert_eq!(inner_faults(&value).len(), 1);
        } else if core_faults(&value).is_some() {
            value["spec"]["slcetor"] = json!({});
            let faults = core_faults(&value).expect("its own kind");
            assert!(
                faults.iter().any(|fault| fault.contains("no such field")),
                "{}: {faults:?}",
                name(&value)
            );
        }
    }
}

#[test]
fn a_servers_authority_is_mounted_beside_the_password() {
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let file = std::env::temp_dir().join(format!("cdc-objects-{} ca.pem", std::process::id()));
    std::fs::write(&file, pem).expect("written");
    let root = format!("postgres.sslrootcert={}", file.display());
    let set = [
        "postgres.external=db:5432",
        "postgres.sslmode=verify-full",
        &root,
    ];
    let objects = objects_with("clickhouse", &set, Cluster::Existing);
    std::fs::remove_file(&file).expect("removed");
    let all: Vec<Value> = objects.iter().map(value).collect();
    let find = |kind: &str, name: &str| {
        let mut all = all.iter();
        let found = all.find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
        found.expect("the object").clone()
    };
    let secret = find("Secret", "postgres-connector");
    // The file, in base64.
    let encoded =
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCkFBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=";
    assert_eq!(secret["data"]["ca.crt"], encoded);
    let config = &find("KafkaConnector", "postgres-connector")["spec"]["config"];
    assert_eq!(config["database.sslmode"], "verify-full");
    assert_eq!(
        config["database.sslrootcert"],
        "/mnt/postgres-connector/ca.crt"
    );
}

#[test]
fn a_set_of_several_hosts_is_reached_as_its_connector_wants_it() {
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    let file = std::env::temp_dir().join(format!("cdc-objects-{} set.pem", std::process::id()));
    std::fs::write(&file, pem).expect("written");
    let root = format!("mongodb.sslrootcert={}", file.display());
    let found = |address: &str, more: &[&str]| {
        let external = format!("mongodb.external={address}");
        let mut set = vec![external.as_str(), &root];
        set.extend(more);
        let objects = objects_with("clickhouse", &set, Cluster::Existing);
        let all: Vec<Value> = objects.iter().map(value).collect();
        let find = |kind: &str, name: &str| {
            let mut all = all.iter();
            let found = all.find(|it| it["kind"] == kind && it["metadata"]["name"] == name);
            found.expect("the object").clone()
        };
        let config = find("KafkaConnector", "mongo-connector")["spec"]["config"].clone();
        (find("Secret", "mongodb-connector"), config)
    };
    let login = ["mongodb.password=p@:/%", "mongodb.user=o'brien@shop"];
    let several = "a.example:27017,b.example:27018";
    let (secret, config) = found(
        several,
        &[
            login[0],
            login[1],
            "mongodb.sslmode=verify-full",
            "mongodb.replica_set=shop",
        ],
    );
    assert_eq!(
        config["mongodb.connection.string"],
        "mongodb://a.example:27017,b.example:27018/?replicaSet=shop"
    );
    // Not a part of an address: nothing is to be encoded.
    assert_eq!(config["mongodb.user"], "o'brien@shop");
    assert_eq!(config["mongodb.ssl.enabled"], "true");
    assert_eq!(
        config["mongodb.ssl.truststore"],
        "/mnt/mongodb-connector/ca.jks"
    );
    assert_eq!(config["mongodb.ssl.truststore.type"], "JKS");
    let data = secret["data"].as_object().expect("data");
    // A key store of Java's begins so, in base64.
    let store = data["ca.jks"].as_str().expect("a store");
    assert!(store.starts_with("/u3+7QAAAAIAAAAB"), "{store}");

    // By its name, encrypted without being asked to be, and without a login.
    let (secret, config) = found("mongodb+srv://shop.example.net/?appName=shop", &[]);
    assert_eq!(
        config["mongodb.connection.string"],
        "mongodb+srv://shop.example.net/?appName=shop"
    );
    assert_eq!(config["mongodb.user"], Value::Null);
    assert!(secret["data"]["ca.jks"].is_string(), "{secret}");
    std::fs::remove_file(&file).expect("removed");
}

/// What `reconcile --print-cronjob` prints for an environment that is remembered so, and how it ends.
fn cronjob(profile: &str, platform: &str, args: &[&str]) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let state = dir.path().join("cdc-xtask").join(profile);
    let secrets = state.join("secrets/clickhouse-auth");
    std::fs::create_dir_all(&secrets).expect("created");
    std::fs::write(secrets.join("password"), "geheim").expect("written");
    let file = support::objects::repository().join(format!("profiles/{profile}.yaml"));
    let set = ["kubernetes.context=my cluster", "postgres.password=geheim"];
    let remembered = json!({ "profile": file, "set": set, "platform": platform });
    std::fs::write(state.join("selection.json"), remembered.to_string()).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["reconcile", "--print-cronjob", "--image", "r.example/cdc:1"])
        .args(["--profile", profile])
        .args(args)
        .env("XDG_STATE_HOME", dir.path())
        .env("CDC_ALERT_WEBHOOK", "https://hooks.example.com/geheim")
        .output()
        .expect("the tool starts");
    let [out, err] = [&output.stdout, &output.stderr].map(|it| String::from_utf8_lossy(it));
    (output.status.code(), format!("{out}{err}"))
}

#[test]
fn a_cronjob_has_what_a_run_needs_and_nothing_secret() {
    let args = ["users", "--cron", "0 3 * * *", "--where", "a = '$(b)'"];
    for (profile, platform, secured) in [
        ("clickhouse", "kubernetes", false),
        ("clickhouse-production", "kubernetes", true),
        ("clickhouse", "kind", false),
    ] {
        let (code, text) = cronjob(profile, platform, &args);
        assert_eq!(code, Some(0), "{text}");
        assert!(!text.contains("geheim"), "{text}");
        let mut kinds = Vec::new();
        for document in serde_yaml::Deserializer::from_str(&text) {
            let object: Value = serde::Deserialize::deserialize(document).expect("YAML");
            let faults = core_faults(&object).expect("a known kind");
            assert!(faults.is_empty(), "{}: {faults:#?}", name(&object));
            kinds.push(object["kind"].as_str().expect("a kind").to_owned());
            if object["kind"] == "Role" {
                let rules = object["rules"].as_array().expect("rules");
                let of_kafka = object["metadata"]["namespace"] == "kafka";
                assert_eq!(
                    rules.len(),
                    3 + usize::from(secured && of_kafka),
                    "{rules:#?}"
                );
                assert!(rules.iter().all(|rule| {
                    rule["resources"] != json!(["secrets"])
                        || rule["resourceNames"]
                            .as_array()
                            .is_some_and(|it| it.len() == 2)
                }));
            }
            if object["kind"] != "CronJob" {
                continue;
            }
            let spec = &object["spec"];
            assert_eq!(
                [
                    &spec["concurrencyPolicy"],
                    &spec["schedule"],
                    &spec["timeZone"]
                ],
                ["Forbid", "0 3 * * *", "Etc/UTC"]
            );
            let pod = &spec["jobTemplate"]["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            let container = &pod["containers"][0];
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            // The command is one that the tool understands.
            let words = container["args"].as_array().expect("words").iter();
            let words = words.map(|it| it.as_str().expect("a word").replace("$$(", "$("));
            let parsed = <xtask::cli::Cli as clap::Parser>::try_parse_from(
                std::iter::once("xtask".to_owned()).chain(words),
            );
            let parsed = parsed.unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(parsed.global.profile, profile);
            let xtask::cli::Command::Reconcile(args) = parsed.command else {
                panic!("another command");
            };
            assert_eq!(args.condition.as_deref(), Some("a = '$(b)'"));
            assert!(!args.repeat.schedule);
        }
        let mut known = vec!["ServiceAccount"];
        known.extend(["Role", "RoleBinding"].repeat(2));
        known.extend(["ConfigMap", "CronJob"]);
        assert_eq!(kinds, known);
    }
    let (code, text) = cronjob("clickhouse", "host", &args);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("no pod of a cluster reaches it"), "{text}");
    let (code, text) = cronjob("clickhouse", "kubernetes", &["--interval", "7m"]);
    assert_eq!(code, Some(3), "{text}");
    let password = ["--interval", "1h", "--set", "postgres.password=geheim"];
    let (code, text) = cronjob("clickhouse", "kubernetes", &password);
    assert_eq!(code, Some(3), "{text}");
    assert!(!text.contains("geheim"), "{text}");
}
