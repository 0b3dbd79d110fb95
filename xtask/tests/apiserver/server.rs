//! One API server for all tests of this binary; each test has its own namespaces and environment.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject};
use kube::config::Kubeconfig;
use kube::core::{ApiResource, GroupVersionKind};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use xtask::plan::Progress;
use xtask::platform::kubernetes::{Applied, Change, Cluster, Options};

struct Server {
    kubeconfig: String,
    /// The shell's lines that start the controllers, if there are any.
    controllers: Option<String>,
    started: Once,
    /// A shell's standard input. It ends its children when this closes, that is with this process,
    /// however it ends.
    input: Mutex<ChildStdin>,
    dir: tempfile::TempDir,
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// The cluster as `admin`, who may do everything.
pub async fn admin() -> Cluster {
    cluster("admin").await
}

/// The cluster as one of its users: `admin` or `limited`.
pub async fn cluster(user: &str) -> Cluster {
    let server = server();
    let begin = Instant::now();
    loop {
        match Cluster::of(kubeconfig(), user).await {
            Ok(cluster) if user != "admin" || ready(&cluster).await => {
                server.started.call_once(|| {
                    let lines = server.controllers.as_deref().unwrap_or_default();
                    let mut input = server.input.lock().unwrap();
                    input.write_all(lines.as_bytes()).unwrap();
                });
                return cluster;
            }
            result => assert!(
                begin.elapsed() < Duration::from_secs(60),
                "the API server of {} does not start: {:?}",
                server.dir.path().display(),
                result.err()
            ),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits for what the server's own parts learn of a change a moment after it was made.
#[allow(dead_code)]
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begin = Instant::now();
    while !is_so().await {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ready(cluster: &Cluster) -> bool {
    let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
    let namespaces: Api<DynamicObject> = api(cluster, "v1", "Namespace", None);
    cluster.client.request_text(request).await.is_ok() && namespaces.get("default").await.is_ok()
}

pub fn kubeconfig() -> Kubeconfig {
    Kubeconfig::from_yaml(&kubeconfig_text()).unwrap()
}

pub fn kubeconfig_text() -> String {
    server().kubeconfig.clone()
}

/// What etcd and the API server have used of the processor so far; nothing where the system does not
/// say. For the benchmark.
#[allow(dead_code)]
pub fn processor_time() -> Duration {
    let root = server().dir.path().display().to_string();
    let ours = |process: &Path| {
        let line = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let program = line.split('\0').next().unwrap_or_default();
        line.contains(&root) && (program.ends_with("etcd") || program.ends_with("kube-apiserver"))
    };
    let ticks = |process: &Path| -> Option<u64> {
        let stat = std::fs::read_to_string(process.join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ticks = processes
        .map(|entry| entry.path())
        .filter(|process| ours(process))
        .filter_map(|process| ticks(&process))
        .sum::<u64>();
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis(ticks * 10)
}

/// Whether there is garbage collection, and whether namespaces go away.
pub fn has_controllers() -> bool {
    server().controllers.is_some()
}

fn server() -> &'static Server {
    SERVER.get_or_init(|| {
        let assets = std::env::var("KUBEBUILDER_ASSETS").expect("KUBEBUILDER_ASSETS");
        start(Path::new(&assets))
    })
}

fn start(assets: &Path) -> Server {
    let dir = tempfile::Builder::new()
        .prefix("cdc-apiserver-")
        .tempdir()
        .unwrap();
    let root = dir.path();
    let file = |name: &str, text: &str| std::fs::write(root.join(name), text).unwrap();
    let openssl = Command::new("openssl")
        .args(["genrsa", "-out"])
        .arg(root.join("sa.key"))
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(openssl.success(), "openssl genrsa: {openssl}");
    file(
        "tokens.csv",
        "admin-token,admin,admin,system:masters\nlimited-token,limited,limited,\nreader-token,reader,reader,\n",
    );
    // As on a real cluster, the configuration names an authority: without one, clients read the
    // system's.
    let (authority, certificate, key) = certificates();
    file("ca.pem", &authority);
    file("server.pem", &certificate);
    file("server.key", &key);
    let authority = root.join("ca.pem");
    let [client, peer, secure] = ports();
    let user = |name: &str| json!({ "name": name, "user": { "token": format!("{name}-token") } });
    let context = |name: &str| json!({ "name": name, "context": { "cluster": "c", "user": name } });
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        // Nothing may ever use it.
        "current-context": "nowhere",
        "clusters": [
            { "name": "c", "cluster": { "server": format!("https://127.0.0.1:{secure}"), "certificate-authority": authority } },
            { "name": "nowhere", "cluster": { "server": "https://127.0.0.1:1" } },
        ],
        "contexts": [
            context("admin"), context("limited"), context("nobody"), context("reader"),
            { "name": "nowhere", "context": { "cluster": "nowhere", "user": "admin" } },
        ],
        "users": [user("admin"), user("limited"), user("nobody"), user("reader")],
    })
    .to_string();
    file("kubeconfig", &kubeconfig);
    let script = script(assets, root, [client, peer, secure]);
    // It ends after this process, so that nobody can wait for it.
    #[allow(clippy::zombie_processes)]
    let mut keeper = Command::new("sh")
        .args(["-s"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut input = keeper.stdin.take().unwrap();
    input.write_all(script.as_bytes()).unwrap();
    Server {
        kubeconfig,
        controllers: controllers(assets, root),
        started: Once::new(),
        input: Mutex::new(input),
        dir,
    }
}

/// An authority's certificate, and the server's with its key, in PEM.
fn certificates() -> (String, String, String) {
    let signer = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&signer).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let server = server
        .signed_by(&key, &Issuer::new(params, signer))
        .unwrap();
    (authority, server.pem(), key.serialize_pem())
}

/// Starts the processes, and ends them when its own text ends.
fn script(assets: &Path, root: &Path, [client, peer, secure]: [u16; 3]) -> String {
    let path = |path: PathBuf| path.display().to_string();
    let (etcd, server) = (
        path(assets.join("etcd")),
        path(assets.join("kube-apiserver")),
    );
    let root = path(root.to_path_buf());
    format!(
        "cd {root}
        trap 'kill -KILL $pids; wait; rm -rf {root}' EXIT
        {etcd} --data-dir {root}/etcd --unsafe-no-fsync --log-level error \
            --listen-client-urls http://127.0.0.1:{client} --advertise-client-urls http://127.0.0.1:{client} \
            --listen-peer-urls http://127.0.0.1:{peer} --initial-advertise-peer-urls http://127.0.0.1:{peer} \
            --initial-cluster default=http://127.0.0.1:{peer} >etcd.log 2>&1 </dev/null &
        pids=$!
        {server} --etcd-servers=http://127.0.0.1:{client} --secure-port={secure} --bind-address=127.0.0.1 \
            --cert-dir={root}/certs --tls-cert-file={root}/server.pem --tls-private-key-file={root}/server.key \
            --service-account-issuer=https://kubernetes.default.svc \
            --service-account-key-file={root}/sa.key --service-account-signing-key-file={root}/sa.key \
            --token-auth-file={root}/tokens.csv --authorization-mode=RBAC \
            --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true >api.log 2>&1 </dev/null &
        pids=\"$pids $!\"\n"
    )
}

/// Starts the controllers: they want a server that answers.
fn controllers(assets: &Path, root: &Path) -> Option<String> {
    let manager = assets.join("kube-controller-manager");
    let kubeconfig = std::fs::read_to_string(root.join("kubeconfig")).unwrap();
    let kubeconfig = kubeconfig.replace(
        "\"current-context\":\"nowhere\"",
        "\"current-context\":\"admin\"",
    );
    std::fs::write(root.join("manager"), kubeconfig).unwrap();
    manager.exists().then(|| {
        let (manager, root) = (manager.display(), root.display());
        format!(
            "{manager} --kubeconfig={root}/manager --leader-elect=false --secure-port=0 \
                --service-account-private-key-file={root}/sa.key --cert-dir={root}/certs-kcm \
                >manager.log 2>&1 </dev/null &
            pids=\"$pids $!\"\n"
        )
    })
}

/// Free ports below those that outgoing connections use.
fn ports() -> [u16; 3] {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let mut free = (first..32_768)
        .chain(20_000..first)
        .filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok())
        .take(3)
        .map(|listener| listener.local_addr().unwrap().port())
        .collect::<Vec<_>>()
        .into_iter();
    std::array::from_fn(|_| free.next().expect("a free port"))
}

/// An object from its JSON.
pub fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

pub fn namespace(name: &str) -> DynamicObject {
    object(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }))
}

pub fn config_map(namespace: &str, name: &str, data: &Value) -> DynamicObject {
    object(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": namespace },
        "data": data,
    }))
}

pub fn api(
    cluster: &Cluster,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(cluster.client.clone(), namespace, &resource),
        None => Api::all_with(cluster.client.clone(), &resource),
    }
}

pub async fn apply(cluster: &Cluster, environment: &str, objects: &[DynamicObject]) -> Applied {
    let options = Options::new(environment);
    cluster
        .apply(objects, &options, &Progress::silent())
        .await
        .unwrap()
}

/// How often each change happened: created, configured, unchanged, kept.
pub fn counts(applied: &Applied) -> [usize; 4] {
    [
        Change::Created,
        Change::Configured,
        Change::Unchanged,
        Change::Kept,
    ]
    .map(|change| applied.count(change))
}
