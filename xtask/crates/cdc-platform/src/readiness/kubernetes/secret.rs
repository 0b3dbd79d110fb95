//! Secrets that an operator makes.

use k8s_openapi::api::core::v1::Secret;

use crate::readiness::Status;

/// Whether a Secret has a certificate in PEM under this key.
pub fn certificate(secret: Option<&Secret>, key: &str) -> Status {
    let Some(secret) = secret else {
        return Status::not_found("its operator has not made it yet");
    };
    let Some(bytes) = secret.data.as_ref().and_then(|data| data.get(key)) else {
        return Status::in_progress(format!("it has no `{key}` yet"));
    };
    match bytes.0.starts_with(b"-----BEGIN CERTIFICATE-----") {
        true => Status::current(format!("`{key}` is there")),
        false => Status::failed(format!("its `{key}` is no certificate in PEM")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::State;
    use k8s_openapi::ByteString;

    #[test]
    fn only_a_certificate_will_do() {
        let secret = |key: &str, text: &str| Secret {
            data: Some([(key.to_owned(), ByteString(text.into()))].into()),
            ..Secret::default()
        };
        let state = |secret: Option<&Secret>| certificate(secret, "ca.crt").state;
        assert_eq!(state(None), State::NotFound);
        assert_eq!(state(Some(&Secret::default())), State::InProgress);
        let pem = "-----BEGIN CERTIFICATE-----\nMII\n";
        assert_eq!(state(Some(&secret("ca.key", pem))), State::InProgress);
        assert_eq!(state(Some(&secret("ca.crt", pem))), State::Current);
        assert_eq!(state(Some(&secret("ca.crt", "no"))), State::Failed);
    }
}
