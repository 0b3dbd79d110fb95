//! A way to PostgreSQL that can go silent, as one does over a firewall that has forgotten it: what
//! was connected stays so, and nothing arrives any more. New connections are taken.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use xtask::clients::postgres::Postgres;
use xtask::clock;

use crate::sandbox::Sandbox;

pub struct Proxy {
    pub port: u16,
    /// Of each connection that reads the log, whether it is silent.
    readers: Arc<Mutex<Vec<Arc<AtomicBool>>>>,
}

impl Proxy {
    /// A proxy to this port of this machine, which need not be open yet.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let readers: Arc<Mutex<Vec<Arc<AtomicBool>>>> = Arc::default();
        let known = readers.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who is refused there is refused here.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) {
                    join(client, server, &known);
                }
            }
        });
        Proxy { port, readers }
    }

    /// Has those that read the log now hear nothing any more; how many they are.
    pub fn silence(&self) -> usize {
        let mut readers = self.readers.lock().unwrap();
        // Of one that has ended nobody else holds the word.
        readers.retain(|silent| Arc::strong_count(silent) > 1);
        let loud = readers.iter();
        loud.filter(|silent| !silent.swap(true, Ordering::SeqCst))
            .count()
    }
}

fn join(client: TcpStream, server: TcpStream, readers: &Arc<Mutex<Vec<Arc<AtomicBool>>>>) {
    let silent = Arc::new(AtomicBool::new(false));
    let pair = |one: &TcpStream, other: &TcpStream| {
        let copies = (one.try_clone(), other.try_clone());
        (copies.0.expect("a copy"), copies.1.expect("a copy"))
    };
    let (from, to) = pair(&client, &server);
    let (known, word) = (readers.clone(), silent.clone());
    std::thread::spawn(move || {
        carry(from, to, &word, |bytes| {
            // The parameter of a session that reads the log.
            let reads = bytes.windows(12).any(|part| part == b"replication\0");
            if reads {
                known.lock().unwrap().push(word.clone());
            }
            reads
        });
    });
    std::thread::spawn(move || carry(server, client, &silent, |_| true));
}

/// Carries bytes until one side ends or all goes silent. `seen` is shown them until it says that it
/// has seen enough.
fn carry(
    mut from: TcpStream,
    mut to: TcpStream,
    silent: &AtomicBool,
    seen: impl Fn(&[u8]) -> bool,
) {
    let mut bytes = [0; 16_384];
    let mut enough = false;
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        enough = enough || seen(&bytes[..count]);
        // Taken and lost: whoever sends does not learn of it.
        if !silent.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    if !silent.load(Ordering::SeqCst) {
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}

/// Rows that are inserted again and again, whether or not the source is there.
pub struct Load {
    stop: Arc<AtomicBool>,
    inserts: JoinHandle<usize>,
}

impl Load {
    pub fn begin(sandbox: &Sandbox) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, source) = (stop.clone(), sandbox.source());
        let inserts = tokio::spawn(async move {
            let mut count = 0;
            while !ended.load(Ordering::SeqCst) {
                if let Ok(session) = Postgres::connect(&source, "postgres").await {
                    let id = clock::now_ms();
                    let sql = format!(
                        "INSERT INTO users (full_name, email) VALUES ('Load', 'load-{id}@example.com')"
                    );
                    count += usize::from(session.execute(&sql).await.is_ok());
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            count
        });
        Load { stop, inserts }
    }

    /// Ends it; how many rows there are more.
    pub async fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.inserts.await.expect("it ends")
    }
}

/// An environment whose connector reaches its source through a proxy, and whose tasks fail where
/// they would otherwise try again without end.
pub fn behind_proxy(name: &str) -> (Sandbox, Proxy) {
    let mut sandbox = Sandbox::new(name);
    let proxy = Proxy::to(sandbox.ports["postgres.port"]);
    sandbox.extra.push(format!(
        r#"connectors.postgres-connector.config={{"database.port": "{}", "errors.max.retries": "0"}}"#,
        proxy.port
    ));
    sandbox.ok(&["up"]);
    (sandbox, proxy)
}
