//! Debezium's JDBC sink: what it reads, and where and as whom it writes.
//!
//! A table has the name of the source's, without schema and prefix: a transformation cuts the topic's name.

use serde_json::json;

use super::{ConnectorManifest, of, with_schemas};
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Sink;

/// Renders a sink as the environment's worker gets it. The password is a reference that Connect resolves.
///
/// # Errors
/// The template is wrong.
pub(super) fn manifest(env: &Environment, name: &str, sink: &Sink) -> Result<ConnectorManifest> {
    let written = env.profile.component(&sink.sink).ok_or_else(|| {
        let what = format!(
            "sink `{name}` writes to `{}`, which is not there",
            sink.sink
        );
        Error::new(Code::Plan, what)
    })?;
    let endpoint = env.connector_endpoint(written);
    let password_dir = env.connector_password_dir(written);
    let flows = env.profile.flows.values();
    let flows = flows.filter(|flow| flow.to.as_deref() == Some(name));
    let topics: Vec<String> = flows.map(|flow| env.profile.topic(flow)).collect();
    // Of several partitions none says which of its records came before a TRUNCATE in another.
    let kafka = &env.profile.kafka;
    let partitions = kafka
        .config
        .get("num.partitions")
        .map_or("1", String::as_str);
    let replication_factor = match kafka.external {
        // Their own default.
        Some(_) => "-1".to_owned(),
        None => env.profile.replication().0.to_string(),
    };
    let is_in_order = kafka.external.is_none() && partitions == "1";
    let context = json!({
        "tasks": sink.tasks,
        "topics": topics.join(","),
        "url": of(written).jdbc_url(&endpoint),
        "user": endpoint.user,
        "password": format!("${{strimzidir:{password_dir}:password}}"),
        "queue": sink.queue,
        "replication_factor": replication_factor,
        "truncates": is_in_order,
    });
    let template = "connect/connectors/jdbc-sink.yaml.hbs";
    let mut manifest: ConnectorManifest = env.templates.yaml(template, &context)?;
    manifest.config.extend(with_schemas());
    manifest.config.extend(sink.config.clone());
    Ok(manifest)
}
