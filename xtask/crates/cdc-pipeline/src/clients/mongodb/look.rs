//! Why a driver finds no server to ask. It says so in a page of topology: here each server is asked by itself, what it
//! is, or how far a connection comes.

use std::sync::Arc;

use mongodb::Client;
use mongodb::bson::doc;
use mongodb::options::{ClientOptions, ServerAddress};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{PATIENCE, Standing, options, standing};
use crate::clients::tls::{TlsProblem, authorities, config};
use crate::endpoint::Tls;

/// What keeps a driver from every server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The address cannot be used, or the name service does not know it.
    #[error("{0}")]
    Address(
        /// The driver's reason.
        String,
    ),
    /// A connection cannot be encrypted as is wanted.
    #[error("no TLS connection to {host}: {problem}")]
    Tls {
        /// To which server.
        host: String,
        /// Why.
        problem: TlsProblem,
    },
    /// The set has another name.
    #[error("{host} is a member of the replica set `{found}`, not of `{wanted}`")]
    OtherSet {
        /// Which server.
        host: String,
        /// Its set.
        found: String,
        /// The set that was asked for.
        wanted: String,
    },
    /// A server that answers is in none.
    #[error("{0} is in no replica set, and change streams need one")]
    NoSet(
        /// Which server.
        String,
    ),
    /// No server takes writes.
    #[error("none of them is the primary: {0}")]
    NoPrimary(
        /// What each is.
        String,
    ),
    /// No server answers.
    #[error("{0}")]
    Silent(
        /// What each says.
        String,
    ),
}

/// A server's name and port.
pub(super) type Host = (String, u16);

/// What one server is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Answers(Standing),
    Refuses(TlsProblem),
    Silent(String),
}

/// Asks each server; none if nothing is wrong with them.
pub(super) async fn around(hosts: &[Host], set: Option<&str>, tls: &Tls) -> Option<Trouble> {
    let asked = hosts.iter().map(|host| ask(host, tls));
    let seen = futures_util::future::join_all(asked).await;
    let names = hosts.iter().map(|(name, port)| format!("{name}:{port}"));
    let seen: Vec<(String, Seen)> = names.zip(seen).collect();
    judge(&seen, set)
}

/// What they say together: first what waiting does not change.
fn judge(seen: &[(String, Seen)], set: Option<&str>) -> Option<Trouble> {
    for (host, it) in seen {
        if let Seen::Refuses(problem) = it {
            return Some(Trouble::Tls {
                host: host.clone(),
                problem: problem.clone(),
            });
        }
    }
    let standings = || {
        seen.iter().filter_map(|(host, it)| match it {
            Seen::Answers(standing) => Some((host, standing)),
            Seen::Refuses(_) | Seen::Silent(_) => None,
        })
    };
    let other = standings()
        .find(|(_, it)| set.is_some_and(|wanted| !it.set.is_empty() && it.set != wanted));
    if let (Some((host, it)), Some(wanted)) = (other, set) {
        return Some(Trouble::OtherSet {
            host: host.clone(),
            found: it.set.clone(),
            wanted: wanted.to_owned(),
        });
    }
    if standings().any(|(_, it)| it.primary && !it.set.is_empty()) {
        return None;
    }
    let each: Vec<String> = seen
        .iter()
        .map(|(host, it)| format!("{host} {}", described(it)))
        .collect();
    let each = each.join(", ");
    Some(match standings().next() {
        None => Trouble::Silent(each),
        // One that begins has not read its set's configuration yet.
        Some((host, _)) if standings().all(|(_, it)| it.set.is_empty()) => {
            Trouble::NoSet(host.clone())
        }
        Some(_) => Trouble::NoPrimary(each),
    })
}

fn described(seen: &Seen) -> String {
    match seen {
        Seen::Answers(standing) if standing.set.is_empty() => "is in no replica set".into(),
        Seen::Answers(standing) if standing.secondary => "is a secondary".into(),
        Seen::Answers(_) => "is neither primary nor secondary".into(),
        Seen::Refuses(problem) => problem.to_string(),
        Seen::Silent(why) => format!("does not answer: {why}"),
    }
}

async fn ask(host: &Host, tls: &Tls) -> Seen {
    if let Err(why) = tcp(host).await {
        return Seen::Silent(why);
    }
    if *tls != Tls::Disable
        && let Err(problem) = handshake(host, tls).await
    {
        // What speaks no TLS ends the connection, as one that breaks does.
        return match (problem, hello(host, &Tls::Disable).await) {
            (_, Ok(_)) => Seen::Refuses(TlsProblem::Unsupported),
            (Some(problem), Err(_)) => Seen::Refuses(problem),
            (None, Err(why)) => Seen::Silent(why),
        };
    }
    match hello(host, tls).await {
        Ok(standing) => Seen::Answers(standing),
        Err(_) if *tls == Tls::Disable && handshake(host, &Tls::Require).await.is_ok() => {
            Seen::Refuses(TlsProblem::Wanted)
        }
        Err(why) => Seen::Silent(why),
    }
}

async fn tcp((name, port): &Host) -> Result<TcpStream, String> {
    let connected = TcpStream::connect((name.as_str(), *port));
    match tokio::time::timeout(PATIENCE, connected).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err("no connection within 3 s".into()),
    }
}

/// Encrypts a connection and ends it. What is wrong is none if it is not about TLS.
async fn handshake(host: &Host, tls: &Tls) -> Result<(), Option<TlsProblem>> {
    let connector = TlsConnector::from(Arc::new(config(tls).map_err(Some)?));
    let name = ServerName::try_from(host.0.clone());
    let name = name.map_err(|error| Some(TlsProblem::Other(error.to_string())))?;
    let stream = tcp(host).await.map_err(|_| None)?;
    match tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(TlsProblem::of(&error, authorities(tls))),
        Err(_) => Err(None),
    }
}

/// What one server says of itself to anybody.
async fn hello((name, port): &Host, tls: &Tls) -> Result<Standing, String> {
    let address = ServerAddress::Tcp {
        host: name.clone(),
        port: Some(*port),
    };
    let options = ClientOptions::builder()
        .hosts(vec![address])
        .direct_connection(true)
        .connect_timeout(PATIENCE)
        .server_selection_timeout(PATIENCE)
        .tls(options::tls(tls))
        .build();
    let client = Client::with_options(options).map_err(|error| error.to_string())?;
    let admin = client.database("admin");
    match admin.run_command(doc! { "hello": 1 }).await {
        Ok(hello) => Ok(standing(&hello)),
        // The driver's reason is a page of topology.
        Err(_) => Err("it does not speak MongoDB's protocol".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::mongodb::fake::start;

    fn member(set: &str, primary: bool, secondary: bool) -> Seen {
        Seen::Answers(Standing {
            set: set.into(),
            primary,
            secondary,
            replicated: true,
        })
    }

    fn judged(seen: &[Seen]) -> Option<String> {
        let seen: Vec<(String, Seen)> = ["a:1", "b:2", "c:3"]
            .map(str::to_owned)
            .into_iter()
            .zip(seen.iter().cloned())
            .collect();
        judge(&seen, Some("shop")).map(|it| it.to_string())
    }

    #[tokio::test]
    async fn each_server_is_asked_by_itself() {
        let secondary = start(|_, _| doc! { "secondary": true, "setName": "shop" });
        let secondary = secondary.await.expect("a server");
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let nobody = nobody.expect("a port").local_addr().expect("an address");
        let hosts = [
            ("127.0.0.1".to_owned(), secondary.port),
            ("127.0.0.1".to_owned(), nobody.port()),
        ];
        let plain = around(&hosts, Some("shop"), &Tls::Disable).await;
        let says = plain.expect("a trouble").to_string();
        assert!(says.starts_with("none of them is the primary: "), "{says}");
        assert!(says.contains("is a secondary, 127.0.0.1:"), "{says}");
        assert!(says.contains("does not answer: "), "{says}");
        let encrypted = around(&hosts[..1], None, &Tls::Require).await;
        let says = encrypted.expect("a trouble").to_string();
        assert!(says.ends_with("does not support TLS (`sslmode`)"), "{says}");
    }

    #[test]
    fn what_waiting_does_not_change_comes_first() {
        let silent = Seen::Silent("connection refused".into());
        let says = |seen: &[Seen]| judged(seen).expect("a trouble");
        assert_eq!(
            says(&[silent.clone(), member("other", true, false)]),
            "b:2 is a member of the replica set `other`, not of `shop`"
        );
        assert_eq!(
            says(&[
                member("other", true, false),
                Seen::Refuses(TlsProblem::Wanted)
            ]),
            "no TLS connection to b:2: the server wants TLS (`sslmode`)"
        );
        assert_eq!(
            says(&[member("shop", false, true), silent.clone()]),
            "none of them is the primary: a:1 is a secondary, b:2 does not answer: connection refused"
        );
        assert_eq!(
            says(&[silent.clone(), member("", true, false)]),
            "b:2 is in no replica set, and change streams need one"
        );
        assert_eq!(
            says(&[silent.clone(), silent]),
            "a:1 does not answer: connection refused, b:2 does not answer: connection refused"
        );
        assert_eq!(judged(&[member("shop", true, false)]), None);
    }
}
