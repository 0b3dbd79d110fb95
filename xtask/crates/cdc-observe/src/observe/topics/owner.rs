//! Who has the say about a topic. On a cluster Strimzi's operator returns a topic to what its
//! KafkaTopic says, and leaves those alone that have none.
//!
//! So a topic is made through the broker: a KafkaTopic's finalizer would delay `down`. Settings of
//! a topic that has a KafkaTopic are changed in the KafkaTopic.

use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::settings::Alteration;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::platform::Platform;

/// The KafkaTopic that a topic belongs to; none if the broker has the say.
///
/// # Errors
/// The API server does not answer.
pub async fn resource(env: &Environment, topic: &str) -> Result<Option<String>> {
    if env.platform == Platform::Host || env.is_external("kafka") {
        return Ok(None);
    }
    let found = api(env)?
        .list(&ListParams::default())
        .await
        .map_err(refused)?;
    Ok(found
        .items
        .iter()
        .find(|object| name_of_topic(object) == Some(topic))
        .and_then(|object| object.metadata.name.clone()))
}

/// The name of the topic that a KafkaTopic is about.
fn name_of_topic(object: &DynamicObject) -> Option<&str> {
    let named = object
        .data
        .pointer("/spec/topicName")
        .and_then(Value::as_str);
    named.or(object.metadata.name.as_deref())
}

/// Changes settings in a KafkaTopic; its operator changes the topic.
///
/// # Errors
/// The API server refuses.
pub async fn alter(env: &Environment, resource: &str, changes: &[Alteration]) -> Result<()> {
    let patch = Patch::Merge(patch(changes));
    let params = PatchParams::default();
    let patched = api(env)?.patch(resource, &params, &patch).await;
    patched.map(drop).map_err(refused)
}

fn patch(changes: &[Alteration]) -> Value {
    let config: Map<String, Value> = changes
        .iter()
        // A merge patch removes what is null.
        .map(|change| (change.key.clone(), json!(change.becomes)))
        .collect();
    json!({ "spec": { "config": config } })
}

fn api(env: &Environment) -> Result<Api<DynamicObject>> {
    let kind = ApiResource {
        group: "kafka.strimzi.io".into(),
        version: "v1".into(),
        api_version: "kafka.strimzi.io/v1".into(),
        kind: "KafkaTopic".into(),
        plural: "kafkatopics".into(),
    };
    let client = env.link()?.cluster.client.clone();
    let namespace = &env.profile.kubernetes.kafka_namespace;
    Ok(Api::namespaced_with(client, namespace, &kind))
}

fn refused(error: kube::Error) -> Error {
    Error::new(Code::Service, format!("KafkaTopics: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_may_have_another_name_than_its_topic() {
        let object = |value: Value| serde_json::from_value::<DynamicObject>(value).unwrap();
        let named = object(json!({ "metadata": { "name": "a" }, "spec": { "topicName": "a.B" } }));
        assert_eq!(name_of_topic(&named), Some("a.B"));
        let plain = object(json!({ "metadata": { "name": "a" }, "spec": {} }));
        assert_eq!(name_of_topic(&plain), Some("a"));
    }

    #[test]
    fn a_default_is_a_setting_that_is_not_there() {
        let change = |key: &str, becomes: Option<&str>| Alteration {
            key: key.into(),
            is: None,
            becomes: becomes.map(str::to_owned),
        };
        assert_eq!(
            patch(&[change("a", Some("1")), change("b", None)]),
            json!({ "spec": { "config": { "a": "1", "b": null } } })
        );
    }
}
