//! Tests of TLS and the login: against scripted servers in this process, which run everywhere, and
//! against a real broker (`broker.rs`).

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod broker;
mod login;
mod tls;

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use cdc_base::endpoint::Secret;

const PASSWORD: &str = "correct horse";

/// What signs certificates. All have the same name, as Strimzi's of all clusters have.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "cluster-ca v0");
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate for these names and its key, in PEM.
    fn sign(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// What a client has to know.
    fn tls(&self, server_name: &str) -> Tls {
        Tls {
            ca: self.pem.clone().into_bytes(),
            server_name: Some(server_name.to_owned()),
        }
    }
}

/// Serves the connections to a new port, each with a call of `serve`.
async fn listen<F, S>(serve: S) -> String
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

fn config(address: &str) -> Config {
    Config::new(&[address], Duration::from_secs(20))
}

fn sasl(password: &str) -> Sasl {
    Sasl::scram_sha_512("alice", Secret::new(password))
}

/// The error of a connection that must not come about. Nothing that it shows has the password.
async fn failure(config: Config) -> KafkaError {
    let shown = format!("{config:?}");
    let error = KafkaClient::with_config(config).await.err();
    let error = error.expect("must not succeed");
    for shown in [shown, format!("{error:?}"), error.to_string()] {
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
    error
}

/// Answers requests until the peer hangs up or `answer` has none. It gets the API's number and the
/// request and gives what follows the correlation id. Returns the numbers of the APIs.
async fn serve_kafka(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: impl Fn(i16, &[u8]) -> Option<Vec<u8>>,
) -> Vec<i16> {
    let mut seen = Vec::new();
    while let Ok(size) = stream.read_i32().await {
        let mut request = vec![0; size as usize];
        stream.read_exact(&mut request).await.unwrap();
        let api = i16::from_be_bytes([request[0], request[1]]);
        seen.push(api);
        let Some(answer) = answer(api, &request) else {
            break;
        };
        let mut frame = BytesMut::new();
        frame.put_i32(answer.len() as i32 + 4);
        frame.put_slice(&request[4..8]);
        frame.put_slice(&answer);
        stream.write_all(&frame).await.unwrap();
        stream.flush().await.unwrap();
    }
    seen
}

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;

/// The answers of a broker that asks for no login.
fn plain_answers(api: i16, _request: &[u8]) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    match api {
        API_VERSIONS => {
            let spoken = [
                (API_VERSIONS, 3),
                (METADATA, 12),
                (SASL_HANDSHAKE, 1),
                (SASL_AUTHENTICATE, 2),
            ];
            answer.put_i16(0);
            answer.put_u8(spoken.len() as u8 + 1);
            for (api, version) in spoken {
                answer.put_i16(api);
                answer.put_i16(version);
                answer.put_i16(version);
                answer.put_u8(0);
            }
            answer.put_i32(0);
            answer.put_u8(0);
        }
        // No brokers, no topics.
        METADATA => answer.put_slice(&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 0]),
        _ => return None,
    }
    Some(answer)
}
