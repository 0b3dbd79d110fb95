//! What a real server cannot be made to do: a small one refuses first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::config::Kubeconfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xtask::platform::kubernetes::{Cluster, retry};

/// How the small server answers the n-th request for `/x`; none breaks the connection.
type Answers = Arc<dyn Fn(usize) -> Option<String> + Send + Sync>;

async fn small(answers: Answers) -> (Cluster, Arc<Mutex<Vec<Instant>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::new(AtomicUsize::new(0));
    let times = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers.clone(), count.clone(), times.clone()));
        }
    });
    let kubeconfig = format!(
        "{{apiVersion: v1, kind: Config, contexts: [{{name: c, context: {{cluster: c}}}}], \
         clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{port}'}}}}]}}"
    );
    let cluster = Cluster::of(Kubeconfig::from_yaml(&kubeconfig).unwrap(), "c")
        .await
        .unwrap();
    (cluster, seen)
}

async fn serve(
    mut stream: TcpStream,
    answers: Answers,
    count: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Instant>>>,
) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        request.extend_from_slice(&buffer[..read]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let answer = if request.starts_with(b"GET /version") {
            Some(ok("{\"gitVersion\": \"v1\"}"))
        } else {
            seen.lock().unwrap().push(Instant::now());
            answers(count.fetch_add(1, Ordering::SeqCst))
        };
        request.clear();
        match answer {
            Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            None => return,
        }
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn refusal(status: u16, header: &str) -> String {
    format!("HTTP/1.1 {status} No\r\n{header}Content-Length: 4\r\n\r\nlow!")
}

async fn get(cluster: &Cluster) -> Result<retry::Answer, retry::Refusal> {
    let request = http::Request::get("/x").body(Vec::new()).unwrap();
    retry::send(&cluster.client, &request).await
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again_when_it_wants_to_be() {
    let (cluster, seen) = small(Arc::new(|number| {
        Some(match number {
            0 => refusal(503, "Retry-After: 1\r\n"),
            1 => refusal(429, ""),
            2 => refusal(500, ""),
            _ => ok("{}"),
        })
    }))
    .await;
    assert_eq!(get(&cluster).await.unwrap().status, 200);
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 4);
    assert!(seen[1] - seen[0] >= Duration::from_secs(1), "{seen:?}");
    assert!(seen[2] - seen[1] >= Duration::from_millis(200), "{seen:?}");
    assert!(seen[2] - seen[1] < Duration::from_secs(1), "{seen:?}");
}

#[tokio::test]
async fn a_broken_connection_is_made_again() {
    let (cluster, seen) = small(Arc::new(|number| (number >= 2).then(|| ok("{}")))).await;
    assert_eq!(get(&cluster).await.unwrap().status, 200);
    assert!(seen.lock().unwrap().len() >= 3);
}

#[tokio::test]
async fn other_refusals_are_final_and_keep_what_the_server_said() {
    let (cluster, seen) = small(Arc::new(|_| Some(refusal(409, "Retry-After: 1\r\n")))).await;
    let refusal = get(&cluster).await.unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.to_string().as_str()),
        (Some(409), "low!")
    );
    assert_eq!(seen.lock().unwrap().len(), 1);
}
