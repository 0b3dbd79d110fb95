//! Every template below `manifests/`: it renders with the default profile, and a misspelt name in
//! it is found, with its place, before anything starts.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::Xtask;
use support::objects::{CASES, Cluster, loaded, templates_of};
use xtask::platform::kind;
use xtask::profile::parts::KIND_NODE;
use xtask::render::Templates;
use xtask::up::cluster::kind_config;
use xtask::up::objects::Templated;

/// Has entries where the default profile has none, so that every branch is taken.
const FULL: &str = "\
extends: clickhouse
kafka: {config: {num.io.threads: 2}}
connect: {config: {a: b}}
postgres: {config: {max_connections: 20}}
mysql: {config: {max_connections: 20}}
connectors: {shop: {source: mysql, prefix: shop, config: {}}}
flows:
  customers:
    {connector: shop, table: shop.customers, keep: latest, key: [id], group: g, columns: {id: Int64}, canary: ~}
  history:
    {connector: postgres-connector, table: public.history, keep: every, key: [id], group: h, columns: {id: Int64}}
";

/// A profile with a sink.
const SINK: &str = "extends: warehouse\n";

/// A profile with servers of the user's own, whose certificates are checked.
const VERIFIED: &str = "\
extends: clickhouse
postgres: {external: 'db:5432', sslmode: verify-full, sslrootcert: AUTHORITY}
kafka: {external: 'k:9093', sslmode: verify-full, sslrootcert: AUTHORITY, sasl: plain, user: u, password: p}
connect: {config: {a: b}}
sqlserver: {external: 'ms:1433', sslmode: verify-full, sslrootcert: AUTHORITY, password: geheim}
connectors:
  shop: {source: mysql, prefix: shop, config: {}}
  stock: {source: sqlserver, prefix: stock, config: {}}
mongodb: {external: 'a:27017,b:27017', sslmode: verify-full, sslrootcert: AUTHORITY, password: geheim}
flows:
  parts:
    {connector: stock, table: stock.dbo.parts, keep: latest, key: [id], group: p, columns: {id: Int64}, canary: ~}
  customers:
    {connector: shop, table: shop.customers, keep: latest, key: [id], group: g, columns: {id: Int64}, canary: ~}
  history:
    {connector: postgres-connector, table: public.history, keep: every, key: [id], group: h, columns: {id: Int64}}
";

/// A file with an authority's certificate, below this directory.
fn authority(dir: &Path) -> String {
    let file = dir.join("authority.pem");
    let pem = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
    std::fs::write(&file, pem).expect("written");
    file.display().to_string()
}

fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("a repository").to_owned()
}

fn files(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path);
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let mut found = BTreeSet::new();
    files(from, &mut found);
    for file in found {
        let target = to.join(file.strip_prefix(from).expect("below"));
        std::fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        std::fs::copy(&file, target).expect("copied");
    }
}

/// The places of the names in a template: line from 1, and the byte where a letter too many goes.
/// Comments, keywords, literals and `this` are none.
fn names(text: &str) -> Vec<(usize, usize)> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(open) = text[from..].find("{{").map(|at| from + at) {
        let close = open + text[open..].find("}}").expect("an end");
        from = close;
        let inner = &text[open + 2..close];
        if inner.starts_with(['/', '!']) || inner == "else" {
            continue;
        }
        let mut literal = false;
        let mut start = None;
        for (at, char) in inner.char_indices().chain([(inner.len(), ' ')]) {
            if char == '"' {
                literal = !literal;
            }
            let part = !literal && (char.is_ascii_alphanumeric() || "_.@#".contains(char));
            match (start, part) {
                (None, true) => start = Some(at),
                (Some(begin), false) => {
                    start = None;
                    let word = &inner[begin..at];
                    let helper = ["json", "sql", "property", "this", "@key"].contains(&word);
                    // `..` is the way out of a block.
                    if !helper && !word.starts_with('#') && word != ".." {
                        let line = 1 + text[..open].matches('\n').count();
                        places.push((line, open + 2 + at));
                    }
                }
                _ => {}
            }
        }
    }
    places
}

#[test]
fn names_are_found_in_every_form() {
    let text =
        "{{a.b}} {{json c}}\n{{#if d}}{{else}}{{/if}}{{json \"x y\" e \"z\"}}{{@key}}={{this}}";
    let found: Vec<(usize, &str)> = names(text)
        .into_iter()
        .map(|(line, end)| (line, &text[end - 1..end]))
        .collect();
    assert_eq!(found, [(1, "b"), (1, "c"), (2, "d"), (2, "e")]);
}

/// The template of Kind's own configuration.
const KIND: &str = "kind/cluster.yaml.hbs";

#[test]
fn every_misspelt_name_in_kinds_configuration_is_found() {
    let loaded = loaded("clickhouse", &[]);
    let spec = kind::Spec {
        name: loaded.profile.kind_name(&loaded.name),
        node_image: format!("kindest/node:v{}", loaded.profile.versions.of(&KIND_NODE)),
        nodes: 2,
        ports: vec![kind::PortMapping {
            name: "postgres".into(),
            host: 5432,
            node: 30001,
        }],
    };
    let text = std::fs::read_to_string(repository().join("manifests").join(KIND)).expect("read");
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(dir.path().join("kind")).expect("a directory");
    let render = |text: &str| {
        std::fs::write(dir.path().join(KIND), text).expect("written");
        kind_config(&Templates::new(dir.path()), &spec)
    };
    assert!(render(&text).is_ok());
    let places = names(&text);
    assert!(places.len() > 5, "{places:?}");
    for (line, at) in places {
        let wrong = format!("{}x{}", &text[..at], &text[at..]);
        let said = render(&wrong).expect_err("a slip").to_string();
        assert!(
            said.starts_with(&format!("manifests/{KIND}:{line}:"))
                && said.contains("there is no `"),
            "a slip in line {line} gave {said}"
        );
    }
}

#[test]
fn the_template_renders_what_kind_reads() {
    let port = |name: &str, host, node| kind::PortMapping {
        name: name.into(),
        host,
        node,
    };
    let spec = kind::Spec {
        name: "cdc".into(),
        node_image: "kindest/node:v1@sha256:a".into(),
        nodes: 2,
        ports: vec![port("web", 8080, 30000), port("postgres", 5432, 30001)],
    };
    let templates = Templates::new(repository().join("manifests"));
    let text = kind_config(&templates, &spec).expect("rendered");
    let yaml: Value = serde_yaml::from_str(&text).expect("YAML");
    let label = json!({ "cdc-xtask.dev/cluster": "cdc" });
    let image = "kindest/node:v1@sha256:a";
    assert_eq!(
        yaml,
        json!({
            "kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "name": "cdc",
            "nodes": [
                { "role": "control-plane", "image": image, "labels": label, "extraPortMappings": [
                    { "containerPort": 30000, "hostPort": 8080, "listenAddress": "127.0.0.1", "protocol": "TCP" },
                    { "containerPort": 30001, "hostPort": 5432, "listenAddress": "127.0.0.1", "protocol": "TCP" },
                ]},
                { "role": "worker", "image": image, "labels": label },
            ],
        })
    );
}

fn is_for_clusters(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "kubernetes")
}

/// Taken together, the cases go through every branch: a slip that none of them notices is in a place
/// that none renders.
#[test]
fn every_misspelt_name_in_the_templates_for_clusters_is_found() {
    let root = repository().join("manifests");
    let templates = Templates::new(&root);
    let dir = tempfile::tempdir().expect("a directory");
    let file = authority(dir.path());
    let root_certs = ["postgres", "mongodb"].map(|it| format!("{it}.sslrootcert={file}"));
    let verified = [
        "postgres.external=db:5432",
        "postgres.sslmode=verify-full",
        &root_certs[0],
        "mongodb.external=a:27017,b:27017",
        "mongodb.sslmode=verify-full",
        &root_certs[1],
    ];
    let verified = ("clickhouse", &verified[..], Cluster::Existing);
    let cases = CASES.map(|(_, profile, set, cluster)| (profile, set, cluster));
    let cases: Vec<Templated> = cases
        .into_iter()
        .chain([verified])
        .flat_map(|(profile, set, cluster)| templates_of(loaded(profile, set), cluster))
        .collect();
    let mut found = BTreeSet::new();
    files(&root, &mut found);
    let mut tried = 0;
    for path in found.iter().filter(|path| is_for_clusters(path)) {
        let name = path
            .strip_prefix(&root)
            .expect("below")
            .display()
            .to_string();
        let mut rendered = cases.iter().filter(|it| it.templates.contains(&&*name));
        let Some(Templated { component, .. }) = rendered.next() else {
            panic!("no case renders {name}");
        };
        let own = cases.iter().filter(|it| it.component == *component);
        let contexts: Vec<&serde_json::Value> = own.map(|it| &it.context).collect();
        let text = std::fs::read_to_string(path).expect("read");
        for (line, at) in names(&text) {
            let wrong = format!("{}x{}", &text[..at], &text[at..]);
            let said: Vec<String> = contexts
                .iter()
                .filter_map(|context| templates.render(&name, &wrong, context).err())
                .map(|error| error.to_string())
                .collect();
            let place = format!("manifests/{name}:{line}:");
            assert!(
                said.iter()
                    .any(|said| said.starts_with(&place) && said.contains("there is no `")),
                "a slip in {place} gave {said:?}"
            );
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn every_template_renders_and_every_misspelt_name_is_found() {
    let world = Xtask::new();
    let root = world.path("repository");
    for folder in ["manifests", "profiles", "images"] {
        copy(&repository().join(folder), &root.join(folder));
    }
    let verified = VERIFIED.replace("AUTHORITY", &authority(&root));
    // The embedded engine and the server have templates of their own.
    let render = |server: bool, profile: &str| {
        let world = Xtask::new().program("mongod").program("mysqld");
        let world = if server {
            world.program("clickhouse")
        } else {
            world
        };
        world
            .root(&root)
            .file("own.yaml", profile)
            .args("render")
            .profile("own.yaml")
    };
    let all_render = || {
        assert!(!render(false, FULL).prints().is_empty());
        assert!(!render(true, FULL).prints().is_empty());
        assert!(!render(false, SINK).prints().is_empty());
        assert!(!render(false, &verified).prints().is_empty());
    };
    assert!(!Xtask::new().root(&root).args("render").prints().is_empty());
    all_render();

    let mut found = BTreeSet::new();
    files(&root.join("manifests"), &mut found);
    let templates: Vec<&PathBuf> = found
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "hbs"))
        // Those are rendered for clusters: see below.
        .filter(|path| !is_for_clusters(path) && !path.ends_with(KIND))
        .collect();
    assert!(templates.len() >= 10, "{templates:?}");
    // They say how servers of the user's own are reached.
    let ways = [
        "connectors/postgres.yaml.hbs",
        "connectors/mongodb.yaml.hbs",
        "connectors/mysql.yaml.hbs",
        "connectors/sqlserver.yaml.hbs",
        "connect/host/worker.properties.hbs",
        "clickhouse/host/process.yaml.hbs",
    ];
    let mut tried = 0;
    for template in templates {
        let text = std::fs::read_to_string(template).expect("read");
        let name = template.strip_prefix(&root).expect("below").display();
        let server = ["server.yaml.hbs", "config.xml.hbs"]
            .iter()
            .any(|name| template.ends_with(name));
        let profile = if template.ends_with("jdbc-sink.yaml.hbs") {
            SINK
        } else if ways.iter().any(|end| template.ends_with(end)) {
            &verified
        } else {
            FULL
        };
        for (line, at) in names(&text) {
            let wrong = format!("{}x{}", &text[..at], &text[at..]);
            std::fs::write(template, &wrong).expect("written");
            render(server, profile).refuses(
                3,
                &[
                    &format!("error: {name}:{line}:"),
                    "there is no `",
                    "[TEMPLATE]",
                ],
            );
            tried += 1;
        }
        std::fs::write(template, &text).expect("written");
    }
    assert!(tried > 50, "{tried}");
    all_render();
}
