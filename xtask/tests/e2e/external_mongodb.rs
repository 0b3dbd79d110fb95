//! A replica set that somebody else runs: over TLS, with several hosts, found by the name service. `CDC_TEST_MONGOD` names
//! a directory with a `mongod`: a real one, or a stand-in that speaks its protocol. The test ends TLS before it.

mod names;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mongodb::bson::{Document, doc};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use xtask::clients::mongodb::Mongodb;
use xtask::platform::{Endpoint, Secret};

use crate::external::{Authority, PASSWORD, write};
use crate::ports;
use crate::sandbox::Sandbox;

const USER: &str = "o'brien@shop:ü/%,=";
const NAME: &str = "db1.shop.cdc.test";

/// Somebody's set of one member, which names two.
struct Theirs {
    process: Child,
    /// Without TLS.
    plain: u16,
    /// With TLS.
    encrypted: u16,
    /// Of a member that is down.
    down: u16,
}

impl Theirs {
    async fn up(dir: &Path, authority: &Authority) -> Self {
        let [plain, encrypted, down] = [(); 3].map(|()| ports::free(21_000));
        let data = dir.join("theirs");
        std::fs::create_dir_all(&data).unwrap();
        let key = data.join("key");
        std::fs::write(&key, "a key of the members").unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let programs = std::env::var_os("CDC_TEST_MONGOD").expect("CDC_TEST_MONGOD");
        let process = Command::new(Path::new(&programs).join("mongod"))
            .args(["--dbpath", &data.display().to_string()])
            .args(["--port", &plain.to_string(), "--replSet", "shop"])
            .args(["--keyFile", &key.display().to_string()])
            .env("MONGO_INITDB_ROOT_USERNAME", USER)
            .env("MONGO_INITDB_ROOT_PASSWORD", PASSWORD)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mongod starts");
        let theirs = Theirs {
            process,
            plain,
            encrypted,
            down,
        };
        let member = Mongodb::new(&Endpoint::loopback(plain).login(USER, Secret::new(PASSWORD)));
        let host = |id: i32, port: u16| doc! { "_id": id, "host": format!("localhost:{port}") };
        let members: [Document; 2] = [host(0, encrypted), host(1, down)];
        let initiate = doc! { "replSetInitiate": { "_id": "shop", "members": members.to_vec() } };
        let begin = Instant::now();
        while let Err(error) = member.admin(initiate.clone()).await {
            assert!(begin.elapsed() < Duration::from_secs(60), "{error}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        encrypt(encrypted, plain, authority);
        theirs
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        crate::sandbox::interrupt(self.process.id());
        self.process.wait().expect("it ends");
    }
}

/// Ends TLS at a port and hands what it says to another, for as long as the test runs.
fn encrypt(at: u16, to: u16, authority: &Authority) {
    xtask::tls::install();
    let (pem, key) = authority.certificate(&["localhost", NAME]);
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(chain.unwrap(), key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", at)).await.expect("a port");
            while let Ok((client, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(("127.0.0.1", to)).await;
                    let (Ok(mut client), Ok(mut server)) = (acceptor.accept(client).await, server)
                    else {
                        return;
                    };
                    // Either side may end it when it likes.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
    });
}

/// The branch of documents alone.
fn pipeline(name: &str, keys: &BTreeMap<&str, String>) -> Sandbox {
    let mut sandbox = Sandbox::new(name);
    let user = USER.replace('\'', "''");
    let password = PASSWORD.replace('\'', "''");
    let keys: Vec<String> = keys
        .iter()
        .map(|(key, value)| format!("{key}: '{value}'"))
        .collect();
    let profile = format!(
        "extends: clickhouse\nconnectors: {{postgres-connector: ~}}\nflows: {{users: ~}}\n\
         mongodb: {{user: '{user}', password: '{password}', {}}}\n",
        keys.join(", ")
    );
    sandbox.profile = Some(write(&sandbox, name, &profile));
    sandbox
        .ports
        .retain(|key, _| !["postgres.port", "mongodb.port"].contains(key));
    sandbox
}

/// `up` with these overrides of the component's keys, refused at once.
fn refused(sandbox: &mut Sandbox, keys: &[(&str, &str)], code: i32, says: &[&str]) {
    let set = keys
        .iter()
        .map(|(key, value)| format!("mongodb.{key}={value}"));
    sandbox.extra = set.collect();
    let text = sandbox.fails(&["up"], code);
    for says in says {
        assert!(text.contains(says), "{keys:?}: {says:?}: {text}");
    }
    assert!(!text.contains(PASSWORD), "{keys:?}: {text}");
    sandbox.extra.clear();
}

/// How many documents silver has of the seed.
async fn arrived(sandbox: &Sandbox) -> String {
    let sql =
        "SELECT count() FROM events_silver FINAL WHERE event_type IN ('login', 'add_to_cart')";
    sandbox.clickhouse().text(sql).await.unwrap()
}

#[tokio::test]
#[ignore = "needs CDC_TEST_MONGOD=DIR with a `mongod`"]
async fn the_connector_of_documents_reads_a_set_of_several_hosts_over_tls() {
    let authority = Authority::new();
    let dir = Sandbox::new("theirs-mongod");
    let theirs = Theirs::up(dir.state(), &authority).await;
    let file = |name: &str, pem: &str| {
        let path = dir.state().join(name);
        std::fs::write(&path, pem).unwrap();
        path.display().to_string()
    };
    let ca = file("ca 1.pem", authority.pem());
    let other = file("other.pem", Authority::new().pem());
    let Theirs {
        plain,
        encrypted,
        down,
        ..
    } = theirs;
    let several = format!("localhost:{down},localhost:{encrypted}");
    let keys = BTreeMap::from([
        ("external", several.clone()),
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", ca.clone()),
        ("replica_set", "shop".to_owned()),
    ]);
    let mut sandbox = pipeline("set-tls", &keys);

    // Each way to get it wrong is named at once, with what to correct.
    let correct = |key: &str| format!("correct mongodb.{key} in the profile");
    let authority_of = format!("its certificate is not signed by an authority of {other}");
    refused(
        &mut sandbox,
        &[("sslrootcert", &other)],
        1,
        &[&authority_of, &correct("sslrootcert")],
    );
    let by_number = format!("127.0.0.1:{down},127.0.0.1:{encrypted}");
    refused(
        &mut sandbox,
        &[("external", &by_number)],
        1,
        &[
            &format!(
                "no TLS connection to 127.0.0.1:{encrypted}: its certificate is not for 127.0.0.1 but for localhost"
            ),
            &correct("external"),
        ],
    );
    refused(
        &mut sandbox,
        &[("sslmode", "disable"), ("sslrootcert", "~")],
        1,
        &["the server wants TLS", &correct("sslmode")],
    );
    refused(
        &mut sandbox,
        &[("external", &format!("localhost:{plain}"))],
        1,
        &["the server does not support TLS", &correct("sslmode")],
    );
    refused(
        &mut sandbox,
        &[("replica_set", "rs0")],
        1,
        &[
            &format!("localhost:{encrypted} is a member of the replica set `shop`, not of `rs0`"),
            "--set mongodb.replica_set=shop",
        ],
    );
    refused(
        &mut sandbox,
        &[
            ("external", &format!("localhost:{encrypted}")),
            ("replica_set", "rs0"),
        ],
        1,
        &["it is a member of the replica set `shop`, not of `rs0`"],
    );
    refused(
        &mut sandbox,
        &[("password", "falsch")],
        1,
        &["--set mongodb.password=@-"],
    );
    refused(
        &mut sandbox,
        &[("sslmode", "require")],
        3,
        &["`disable`", "verify-full"],
    );
    refused(
        &mut sandbox,
        &[("external", "mongodb://cdc:geheim@localhost:1")],
        3,
        &["a user and a password do not belong into an address"],
    );

    sandbox.ok(&["up", "--require", "mongodb"]);
    assert_eq!(arrived(&sandbox).await.trim(), "4");
    sandbox.ok(&["verify"]);
    assert_eq!(sandbox.json(&["up"])["counts"]["changed"], 0);
    assert_eq!(sandbox.json(&["diagnose"])["sound"], true);
    let status = sandbox.ok(&["status"]);
    assert!(status.contains(&several), "{status}");
}

#[tokio::test]
#[ignore = "needs CDC_TEST_MONGOD=DIR with a `mongod`, and root"]
async fn the_connector_of_documents_finds_a_set_by_the_name_service() {
    let authority = Authority::new();
    let dir = Sandbox::new("theirs-srv");
    let theirs = Theirs::up(dir.state(), &authority).await;
    let ca = dir.state().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let resolver = names::serve(dir.state(), NAME, theirs.encrypted);
    let keys = BTreeMap::from([
        (
            "external",
            "mongodb+srv://shop.cdc.test/?appName=shop".to_owned(),
        ),
        ("sslrootcert", ca.display().to_string()),
    ]);
    let sandbox = pipeline("set-srv", &keys);
    for args in [
        &["up", "--require", "mongodb"][..],
        &["verify"],
        &["diagnose"],
    ] {
        let output = names::asking(&resolver, &sandbox.command(args))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {text}");
    }
    assert_eq!(arrived(&sandbox).await.trim(), "4");
}
