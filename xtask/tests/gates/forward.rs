//! Forwards through the API server of a real cluster.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use kube::Client;
use kube::api::DeleteParams;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xtask::plan::Progress;
use xtask::platform::kubernetes::forward::{Forward, ForwardError, To};
use xtask::platform::kubernetes::watch::Watches;

use crate::cluster::{LONG, image, real, remove, space};
use crate::support::{Waits, api, create, set, stateful_set};

const MIB: usize = 64;

/// The body of an HTTP answer, which is complete when it has the length that it says: the runtime
/// in the node passes a pod's end of a connection on only after a second.
async fn get(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut body: Option<(usize, usize)> = None;
    loop {
        if stream.read_buf(&mut answer).await? == 0 {
            return Ok(Vec::new());
        }
        if body.is_none()
            && let Some(end) = answer.windows(4).position(|it| it == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            body = Some((end + 4, length.unwrap()));
        }
        if let Some((begin, length)) = body
            && answer.len() >= begin + length
        {
            return Ok(answer.split_off(begin));
        }
    }
}

async fn text(address: SocketAddr) -> String {
    let body = tokio::time::timeout(LONG, get(address, "/")).await;
    String::from_utf8_lossy(&body.unwrap().unwrap_or_default()).into_owned()
}

async fn serve(client: &Client, space: &str) {
    let mut web = set(
        "web",
        json!({
            "name": "web", "image": image(), "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
        }),
    );
    let files = format!(
        "dd if=/dev/zero of=/f/big bs=1M count={MIB} 2>/dev/null; exec httpd -f -p 8081 -h /f"
    );
    let containers = web["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap();
    containers.push(json!({
        "name": "files", "image": image(), "command": ["/bin/busybox", "sh", "-c", files],
        "ports": [{"name": "files", "containerPort": 8081}],
        "volumeMounts": [{"name": "f", "mountPath": "/f"}],
        "readinessProbe": {"httpGet": {"path": "/big", "port": 8081}, "periodSeconds": 1, "timeoutSeconds": 5},
    }));
    web["spec"]["template"]["spec"]["volumes"] = json!([{"name": "f", "emptyDir": {}}]);
    create(client, Some(space), web).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [
            {"name": "web", "port": 80, "targetPort": "http"},
            {"name": "files", "port": 81, "targetPort": 8081},
            {"name": "closed", "port": 82, "targetPort": 9},
        ]},
    });
    create(client, Some(space), service).await;
    Watches::new(client.clone())
        .gate(stateful_set(space, "web"))
        .current("web", LONG, &Progress::silent())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs CDC_TEST_KUBECONFIG and CDC_TEST_IMAGE"]
async fn cluster_forwards() {
    let client = real().await;
    let space = space(&client, "forward").await;
    let open = |to: To, port: u16| Forward::open(client.clone(), &space, to, port);
    let service = || To::Service("web".into());

    // Nothing is there yet: the connection ends, and says why.
    let early = open(service(), 80).await.unwrap();
    assert_eq!(text(early.address()).await, "");
    let why = early.last_error().unwrap().to_string();
    assert!(why.contains("\"web\" not found"), "{why}");

    serve(&client, &space).await;
    // The same forward finds what came meanwhile.
    assert_eq!(text(early.address()).await, "hello from web-0\n");
    let by_name = Forward::open(client.clone(), &space, service(), "web")
        .await
        .unwrap();
    let by_pods = open(To::Pods("app=web".into()), 8080).await.unwrap();
    let by_pod = open(To::Pod("web-0".into()), 8080).await.unwrap();
    for forward in [&by_name, &by_pods, &by_pod] {
        assert!(forward.address().ip().is_loopback());
        assert_eq!(text(forward.address()).await, "hello from web-0\n");
    }

    // Many at once.
    let begin = Instant::now();
    let all = (0..50).map(|_| text(by_name.address()));
    let answers = futures_util::future::join_all(all).await;
    assert!(
        answers.iter().all(|it| it == "hello from web-0\n"),
        "{answers:?}"
    );
    println!(
        "50 connections at once, each with its answer: {:.0?}",
        begin.elapsed()
    );

    let mut took = Vec::new();
    for _ in 0..40 {
        let begin = Instant::now();
        assert_eq!(text(by_name.address()).await, "hello from web-0\n");
        took.push(begin.elapsed());
    }
    took.sort();
    println!(
        "connect, request and answer: p50 {:.1?}, p95 {:.1?}",
        took[20], took[38]
    );

    let files = open(service(), 81).await.unwrap();
    let begin = Instant::now();
    let body = get(files.address(), "/big").await.unwrap();
    assert_eq!(body.len(), MIB << 20);
    println!(
        "{MIB} MiB: {:.0} MiB/s",
        MIB as f64 / begin.elapsed().as_secs_f64()
    );

    // A port that nobody listens on, and one that the service does not have.
    let closed = open(service(), 82).await.unwrap();
    assert_eq!(text(closed.address()).await, "");
    let why = closed.last_error().unwrap();
    assert!(
        matches!(&why, ForwardError::Pod { pod, reason } if pod == "web-0" && reason.contains("refused")),
        "{why}"
    );
    let none = open(service(), 83).await.unwrap();
    assert_eq!(text(none.address()).await, "");
    assert_eq!(
        none.last_error().unwrap().to_string(),
        "service web has no port 83"
    );

    // The pod is replaced, and found again by the forward that was there before.
    let uid = || async {
        api(&client, "v1", "Pod", Some(&space))
            .get("web-0")
            .await
            .ok()?
            .metadata
            .uid
    };
    let before = uid().await;
    let pods = api(&client, "v1", "Pod", Some(&space));
    pods.delete("web-0", &DeleteParams::default())
        .await
        .unwrap();
    let begin = Instant::now();
    while uid().await == before || text(by_name.address()).await.is_empty() {
        assert!(begin.elapsed() < LONG, "{:?}", by_name.last_error());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!(
        "the new pod was reached {:.1?} after the old one was deleted",
        begin.elapsed()
    );

    // A forward that is dropped takes its listener and its connections along.
    let address = files.address();
    let mut held = TcpStream::connect(address).await.unwrap();
    held.write_all(b"GET /big HTTP/1.0\r\n\r\n").await.unwrap();
    drop(files);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), held.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection outlives its forward");
    assert!(TcpStream::connect(address).await.is_err());
    remove(&client, &space).await;
}
