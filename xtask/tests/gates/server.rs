//! An API server of its own, which ends with this process.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::time::{Duration, Instant};

use kube::Client;

use crate::support::client;

/// etcd and kube-apiserver, without controllers.
pub struct Server {
    dir: tempfile::TempDir,
    assets: PathBuf,
    port: u16,
    etcd: u16,
    /// A shell that ends its children when its input closes, however this process ends. An API server
    /// whose etcd is gone would take minutes over a gentler end.
    keeper: ChildStdin,
}

impl Server {
    pub async fn start() -> (Server, Client) {
        let assets =
            PathBuf::from(std::env::var_os("KUBEBUILDER_ASSETS").expect("KUBEBUILDER_ASSETS"));
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("openssl")
            .args(["genrsa", "-out"])
            .arg(dir.path().join("sa.key"))
            .stderr(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "openssl");
        let tokens = "admin,admin,admin,system:masters\nnobody,nobody,nobody\n";
        std::fs::write(dir.path().join("tokens.csv"), tokens).unwrap();
        let [port, etcd, peers] = ports();
        let mut keeper = Command::new("sh")
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap()
            .stdin
            .take()
            .unwrap();
        let url = |port| format!("http://127.0.0.1:{port}");
        writeln!(
            keeper,
            "trap 'kill -9 $api $etcd 2>/dev/null; wait' EXIT\n{}/etcd --data-dir etcd --unsafe-no-fsync \
             --listen-client-urls {c} --advertise-client-urls {c} --listen-peer-urls {p} \
             --initial-advertise-peer-urls {p} --initial-cluster default={p} --log-level error \
             </dev/null >etcd.log 2>&1 & etcd=$!",
            assets.display(),
            c = url(etcd),
            p = url(peers),
        )
        .unwrap();
        let mut server = Server {
            dir,
            assets,
            port,
            etcd,
            keeper,
        };
        server.up();
        let client = client(&server.kubeconfig("admin")).await;
        server.ready(&client).await;
        (server, client)
    }

    /// Starts the API server.
    pub fn up(&mut self) {
        let mut line = String::new();
        write!(
            line,
            "{}/kube-apiserver --etcd-servers=http://127.0.0.1:{} --secure-port={} \
             --bind-address=127.0.0.1 --cert-dir=certs --token-auth-file=tokens.csv \
             --service-account-issuer=https://kubernetes.default.svc \
             --service-account-key-file=sa.key --service-account-signing-key-file=sa.key \
             --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/16 \
             --disable-admission-plugins=ServiceAccount,TaintNodesByCondition \
             </dev/null >api.log 2>&1 & api=$!",
            self.assets.display(),
            self.etcd,
            self.port
        )
        .unwrap();
        writeln!(self.keeper, "{line}").unwrap();
    }

    /// Ends the API server; what it holds stays.
    pub fn kill(&mut self) {
        writeln!(self.keeper, "kill -9 $api; wait $api 2>/dev/null").unwrap();
    }

    pub async fn ready(&self, client: &Client) {
        let begin = Instant::now();
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            let answer = client.request_text(request).await;
            if answer.is_ok() {
                return;
            }
            let log = self.dir.path().join("api.log");
            assert!(
                begin.elapsed() < Duration::from_secs(90),
                "{answer:?} {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn kubeconfig(&self, user: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Config, current-context: c,
               clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{}', insecure-skip-tls-verify: true}}}}],
               contexts: [{{name: c, context: {{cluster: c, user: u}}}}],
               users: [{{name: u, user: {{token: {user}}}}}]}}",
            self.port
        )
    }
}

/// Free ports outside of the range that outgoing connections take theirs from. No two servers of this
/// process get the same: a port is free until its server has begun.
fn ports() -> [u16; 3] {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap();
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    [(); 3].map(|()| {
        let mut next = std::iter::repeat_with(|| first + GIVEN.fetch_add(1, Relaxed));
        next.find(free).unwrap()
    })
}
