//! The way from the connector to its source, which can be cut. A connection that goes silent stays open, and nothing
//! arrives over it any more, as behind a firewall that has forgotten it; while the network is away, new connections are
//! closed at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{Code, Error, Result};
use crate::wait;

/// How long to wait after the system gave no connection.
const AGAIN: Duration = Duration::from_millis(100);

/// What the network does. Connections remember the counts of their beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Weather {
    /// How often everything was cut.
    cuts: u64,
    /// How often everything went silent.
    silences: u64,
    /// Whether nothing comes through.
    is_away: bool,
}

/// A listener, and who carries on what it takes.
pub struct Proxy {
    weather: watch::Sender<Weather>,
    listens: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a port of this machine, for what is at `target`, which need not be there yet.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn open(port: u16, target: (String, u16)) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port));
        let listener = listener.await.map_err(|error| {
            let what = format!("port {port} of the connection that is cut is not free: {error}");
            Error::new(Code::PortTaken, what)
        })?;
        let (weather, seen) = watch::channel(Weather::default());
        let target = Arc::new(target);
        let listens = tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else {
                    wait::before_retry(AGAIN).await;
                    continue;
                };
                let (target, seen) = (target.clone(), seen.clone());
                tokio::spawn(async move { carry_on(client, &target, seen).await });
            }
        });
        Ok(Proxy { weather, listens })
    }

    /// Ends every connection. New ones are taken.
    pub fn drop_all(&self) {
        self.weather.send_modify(|it| it.cuts += 1);
    }

    /// Ends every connection, and takes no new one until it is back.
    pub fn cut(&self) {
        self.weather.send_modify(|it| {
            it.cuts += 1;
            it.is_away = true;
        });
    }

    /// Has nothing arrive any more over what is connected. New connections work.
    pub fn silence(&self) {
        self.weather.send_modify(|it| it.silences += 1);
    }

    /// The network is back.
    pub fn restore(&self) {
        self.weather.send_modify(|it| it.is_away = false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listens.abort();
    }
}

async fn carry_on(client: TcpStream, target: &(String, u16), mut seen: watch::Receiver<Weather>) {
    let begun = *seen.borrow();
    if begun.is_away {
        return;
    }
    let Ok(server) = TcpStream::connect((target.0.as_str(), target.1)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let is_silent = seen.clone();
    let work = async {
        tokio::join!(
            carry(from_client, to_server, begun, is_silent.clone()),
            carry(from_server, to_client, begun, is_silent)
        );
    };
    tokio::select! {
        _ = seen.wait_for(|it| it.cuts > begun.cuts) => {}
        () = work => {}
    }
}

/// Carries bytes until one side ends. Of a silent connection neither side learns that the other has gone.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    begun: Weather,
    mut seen: watch::Receiver<Weather>,
) {
    let mut bytes = vec![0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let is_silent = seen.borrow().silences > begun.silences;
        // Taken and lost: whoever sends does not learn of it.
        let Some(taken) = bytes.get(..count).filter(|_| !is_silent) else {
            continue;
        };
        if to.write_all(taken).await.is_err() {
            break;
        }
    }
    if seen.borrow().silences > begun.silences {
        // Until everything is cut.
        let _gone = seen.wait_for(|_| false).await;
    }
    // The other side is told by what is dropped here.
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pair() -> (Proxy, u16, TcpListener) {
        let server = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let target = server.local_addr().expect("an address").port();
        let free = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let target = ("127.0.0.1".to_owned(), target);
        let proxy = Proxy::open(port, target).await.expect("free a moment ago");
        (proxy, port, server)
    }

    #[tokio::test]
    async fn bytes_arrive_until_it_is_cut_and_again_when_it_is_back() {
        let (proxy, port, server) = pair().await;
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("open");
        client.write_all(b"a").await.expect("sent");
        let (mut at, _) = server.accept().await.expect("carried on");
        assert_eq!(at.read_u8().await.expect("carried"), b'a');
        proxy.cut();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let mut refused = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("taken");
        assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
        proxy.restore();
        let mut again = TcpStream::connect(("127.0.0.1", port)).await.expect("open");
        again.write_all(b"b").await.expect("sent");
        let (mut at, _) = server.accept().await.expect("carried on");
        assert_eq!(at.read_u8().await.expect("carried"), b'b');
    }

    #[tokio::test]
    async fn a_silent_connection_stays_open_and_carries_nothing() {
        let (proxy, port, server) = pair().await;
        let mut client = TcpStream::connect(("127.0.0.1", port)).await.expect("open");
        client.write_all(b"a").await.expect("sent");
        let (mut at, _) = server.accept().await.expect("carried on");
        assert_eq!(at.read_u8().await.expect("carried"), b'a');
        proxy.silence();
        client.write_all(b"b").await.expect("taken");
        let mut byte = [0; 1];
        let heard = tokio::time::timeout(Duration::from_millis(200), at.read(&mut byte));
        assert!(heard.await.is_err(), "nothing is heard, and no end");
        drop(client);
        let heard = tokio::time::timeout(Duration::from_millis(200), at.read(&mut byte));
        assert!(heard.await.is_err(), "the other side is not told");
    }
}
