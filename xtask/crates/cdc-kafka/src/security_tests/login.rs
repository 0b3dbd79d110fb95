//! The login against scripted brokers.

use std::sync::{Arc, Mutex};

use super::*;

/// A broker that answers the first and the final SCRAM message with what `first` makes of the
/// client's nonce and with `last`, and notes what it was asked.
async fn scripted(
    first: impl Fn(&str) -> String + Clone + Send + 'static,
    last: &'static str,
) -> (String, Arc<Mutex<Vec<i16>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let address = listen(move |stream| {
        let (first, notes) = (first.clone(), Arc::clone(&notes));
        async move {
            let answer = move |api, request: &[u8]| {
                notes.lock().unwrap().push(api);
                let request = String::from_utf8_lossy(request);
                let text = match request.split_once("n=alice,r=") {
                    Some((_, nonce)) => first(nonce.get(..32)?),
                    None => last.to_owned(),
                };
                login_answers(api, &text).or_else(|| plain_answers(api, &[]))
            };
            serve_kafka(stream, answer).await;
        }
    })
    .await;
    (address, seen)
}

/// What a broker that offers SCRAM-SHA-512 answers, with `text` as its part of SCRAM.
fn login_answers(api: i16, text: &str) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    match api {
        SASL_HANDSHAKE => {
            answer.put_slice(&[0, 0, 0, 0, 0, 1, 0, 13]);
            answer.put_slice(b"SCRAM-SHA-512");
        }
        SASL_AUTHENTICATE => {
            answer.put_slice(&[0, 0, 0, 0, text.len() as u8 + 1]);
            answer.put_slice(text.as_bytes());
            answer.put_slice(&[0; 9]);
        }
        _ => return None,
    }
    Some(answer)
}

fn with_login(address: &str, password: &str) -> Config {
    Config {
        sasl: Some(sasl(password)),
        ..config(address)
    }
}

async fn scram_error(config: Config) -> ScramError {
    match failure(config).await {
        KafkaError::Login {
            problem: LoginProblem::Scram(error),
            ..
        } => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_asked_of_a_broker_that_does_not_prove_itself() {
    let last = "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";
    let first = |nonce: &str| format!("r={nonce}more,s=c2FsdA==,i=4096");
    let (address, seen) = scripted(first, last).await;
    let error = scram_error(with_login(&address, PASSWORD)).await;
    assert_eq!(error, ScramError::Signature);
    assert_eq!(
        *seen.lock().unwrap(),
        [
            API_VERSIONS,
            SASL_HANDSHAKE,
            SASL_AUTHENTICATE,
            SASL_AUTHENTICATE
        ]
    );
}

#[tokio::test]
async fn a_hostile_iteration_count_costs_nothing() {
    let first = |nonce: &str| format!("r={nonce}more,s=c2FsdA==,i=4294967295");
    let (address, seen) = scripted(first, "").await;
    let error = scram_error(with_login(&address, PASSWORD)).await;
    assert_eq!(error, ScramError::Iterations(u32::MAX));
    assert_eq!(
        *seen.lock().unwrap(),
        [API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE]
    );
}

#[tokio::test]
async fn every_connection_has_a_nonce_of_its_own() {
    let nonces = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&nonces);
    let first = move |nonce: &str| {
        notes.lock().unwrap().push(nonce.to_owned());
        String::new()
    };
    let (address, _) = scripted(first, "").await;
    for _ in 0..2 {
        let error = scram_error(with_login(&address, PASSWORD)).await;
        assert!(matches!(error, ScramError::Damaged { .. }), "{error}");
    }
    let nonces = nonces.lock().unwrap();
    assert_eq!(nonces.len(), 2);
    assert_ne!(nonces[0], nonces[1]);
}

#[tokio::test]
async fn a_password_that_is_not_ascii_is_refused() {
    let first = |nonce: &str| format!("r={nonce}more,s=c2FsdA==,i=4096");
    let (address, _) = scripted(first, "").await;
    let error = scram_error(with_login(&address, "pässword")).await;
    assert_eq!(error, ScramError::Credential("password"));
}

#[tokio::test]
async fn the_deadline_holds_over_the_login() {
    let address = listen(|stream| async move {
        let mut stream = stream;
        serve_kafka(&mut stream, plain_answers).await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut config = with_login(&address, PASSWORD);
    config.timeout = Duration::from_secs(1);
    assert_eq!(
        failure(config).await.to_string(),
        format!("no answer to SaslHandshake from {address} within 1 s")
    );
}
