//! How a ClickHouse that the tool runs logs in at Kafka: its consumers are librdkafka's, and what these want is in the
//! server's configuration, never in a table's statement, which others may read.
//!
//! The embedded engine's librdkafka has no TLS and no SCRAM: a relay in its process has both
//! (`manifests/clickhouse/host/kafka_relay.py`).

use serde_json::{Value, json};

use crate::components::Manifests;
use crate::environment::Environment;
use crate::environment::access::Access;
use crate::error::Result;
use crate::platform::Secret;

/// What is in the file that the process on this machine reads: of a server, or of the embedded engine.
pub(super) fn login(env: &Environment, is_server: bool) -> Option<Secret> {
    let access = env.kafka_access()?;
    Some(Secret::new(match is_server {
        true => xml(&access),
        false => relay(env, &access).to_string(),
    }))
}

/// What the relay of the embedded engine needs.
fn relay(env: &Environment, access: &Access) -> Value {
    let login = access.login.as_ref();
    json!({
        "broker": env.kafka().address(),
        "ca": access.ca,
        "mechanism": login.map(|it| it.mechanism().name()),
        "user": login.map(|it| &it.user),
        "password": login.map(|it| it.password.expose()),
    })
}

/// The server's own settings.
fn xml(access: &Access) -> String {
    let mut all = vec![("security_protocol", access.protocol().to_ascii_lowercase())];
    if let Some(ca) = &access.ca {
        all.push(("ssl_ca_location", ca.display().to_string()));
    }
    if let Some(login) = &access.login {
        all.push(("sasl_mechanism", login.mechanism().name().to_owned()));
        all.push(("sasl_username", login.user.clone()));
        all.push(("sasl_password", login.password.expose().to_owned()));
    }
    let lines = all.iter();
    let lines = lines.map(|(key, value)| format!("<{key}>{}</{key}>\n", escaped(value)));
    let lines: String = lines.collect();
    format!("<clickhouse><kafka>\n{lines}</kafka></clickhouse>\n")
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

/// What a server on a cluster is told, with the Secrets that it reads; none where Kafka asks nobody.
///
/// # Errors
/// The authority's file cannot be read.
pub(super) fn settings(made: &Manifests<'_>, name: &str) -> Result<Option<Value>> {
    let env = made.env;
    let secret = format!("kafka-{name}");
    if env.profile.kafka.external.is_none() {
        return Ok(env.profile.kafka.is_secured().then(|| {
            json!({
                "protocol": "sasl_ssl",
                "mechanism": "SCRAM-SHA-512",
                "user": name,
                "secret": secret,
                "trusts": true,
                // Kafka's operator and its users bring the Secrets.
                "authority": Value::Null,
                "password": Value::Null,
            })
        }));
    }
    let Some(access) = env.kafka_access() else {
        return Ok(None);
    };
    let login = access.login.as_ref();
    Ok(Some(json!({
        "protocol": access.protocol().to_ascii_lowercase(),
        "mechanism": login.map(|it| it.mechanism().name()),
        "user": login.map(|it| &it.user),
        "secret": secret,
        "trusts": access.ca.is_some(),
        "authority": access.authority()?,
        "password": login.map(|it| (made.shown)(it.password.expose().to_owned())),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::access::Login;
    use crate::profile::schema::Sasl;

    #[test]
    fn a_password_of_any_characters_is_one_text_of_xml() {
        let access = Access {
            ca: Some("/etc/ca 1.pem".into()),
            login: Some(Login {
                sasl: Sasl::ScramSha256,
                user: "etl".into(),
                password: Secret::new("<a>&\"b"),
            }),
        };
        assert_eq!(
            xml(&access),
            "<clickhouse><kafka>\n<security_protocol>sasl_ssl</security_protocol>\n\
             <ssl_ca_location>/etc/ca 1.pem</ssl_ca_location>\n\
             <sasl_mechanism>SCRAM-SHA-256</sasl_mechanism>\n<sasl_username>etl</sasl_username>\n\
             <sasl_password>&lt;a&gt;&amp;\"b</sasl_password>\n</kafka></clickhouse>\n"
        );
    }
}
