//! TLS against servers in this process.

use std::sync::Arc;

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

use super::*;

const NAME: &str = "my-cluster-kafka-bootstrap.kafka.svc";

/// A broker behind TLS with a certificate for `names`.
async fn tls_broker(authority: &Authority, names: &[&str]) -> String {
    cdc_base::tls::install();
    let (certificate, key) = authority.sign(names);
    let server = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(server));
    listen(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve_kafka(stream, plain_answers).await;
            }
        }
    })
    .await
}

fn over_tls(address: &str, tls: Tls) -> Config {
    Config {
        tls: Some(tls),
        ..config(address)
    }
}

async fn problem(config: Config) -> TlsProblem {
    match failure(config).await {
        KafkaError::Tls { problem, .. } => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_given_name_and_ca_are_accepted() {
    let authority = Authority::new();
    let address = tls_broker(&authority, &["other", NAME]).await;
    let config = over_tls(&address, authority.tls(NAME));
    KafkaClient::with_config(config).await.unwrap();
    // While a CA is renewed there are two.
    let mut both = authority.tls(NAME);
    both.ca = [Authority::new().pem, authority.pem].concat().into_bytes();
    KafkaClient::with_config(over_tls(&address, both))
        .await
        .unwrap();
}

#[tokio::test]
async fn without_a_given_name_the_dialled_host_is_expected() {
    let authority = Authority::new();
    let unnamed = || Tls {
        server_name: None,
        ..authority.tls("")
    };
    let address = tls_broker(&authority, &["127.0.0.1"]).await;
    KafkaClient::with_config(over_tls(&address, unnamed()))
        .await
        .unwrap();
    let address = tls_broker(&authority, &[NAME]).await;
    let expected = TlsProblem::WrongName {
        expected: "127.0.0.1".into(),
        presented: vec![format!("DnsName(\"{NAME}\")")],
    };
    assert_eq!(problem(over_tls(&address, unnamed())).await, expected);
}

#[tokio::test]
async fn another_name_is_refused() {
    let authority = Authority::new();
    let address = tls_broker(&authority, &[NAME]).await;
    let error = failure(over_tls(&address, authority.tls("stranger.svc"))).await;
    assert_eq!(
        error.to_string(),
        format!(
            "no TLS with Kafka at {address}: its certificate is not for stranger.svc but for DnsName(\"{NAME}\")"
        )
    );
    assert!(!error.is_retriable());
    let nonsense = problem(over_tls(&address, authority.tls("not a name"))).await;
    assert_eq!(nonsense, TlsProblem::InvalidName("not a name".into()));
}

#[tokio::test]
async fn another_ca_of_the_same_name_is_refused() {
    let address = tls_broker(&Authority::new(), &[NAME]).await;
    let other = Authority::new();
    let problem = problem(over_tls(&address, other.tls(NAME))).await;
    assert_eq!(problem, TlsProblem::UnknownAuthority);
}

#[tokio::test]
async fn a_ca_that_is_none_is_refused_before_anything_is_dialled() {
    for ca in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let tls = Tls {
            ca: ca.into(),
            server_name: None,
        };
        let error = failure(over_tls("127.0.0.1:1", tls)).await;
        assert!(matches!(error, KafkaError::Ca(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_plaintext_client_is_told_of_tls() {
    let address = tls_broker(&Authority::new(), &[NAME]).await;
    let error = failure(config(&address)).await;
    assert!(matches!(error, KafkaError::TlsWanted { .. }), "{error:?}");
}

#[tokio::test]
async fn peers_without_tls_are_recognised() {
    let tls = || Authority::new().tls(NAME);
    let closing = listen(|stream| async move { drop(stream) }).await;
    let error = failure(over_tls(&closing, tls())).await;
    assert!(error.is_retriable(), "{error}");
    assert_eq!(problem(over_tls(&closing, tls())).await, TlsProblem::Closed);
    let http = listen(|mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    assert_eq!(problem(over_tls(&http, tls())).await, TlsProblem::NotTls);
}

#[tokio::test]
async fn the_deadline_holds_over_the_handshake() {
    let address = listen(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = over_tls(&address, Authority::new().tls(NAME));
    config.timeout = Duration::from_millis(500);
    assert_eq!(
        failure(config).await.to_string(),
        format!("no answer to the TLS handshake from {address} within 0.5 s")
    );
}
