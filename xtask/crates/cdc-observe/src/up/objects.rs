//! Every object of an environment on a cluster, from the templates of its components.
//!
//! Templates may name the profile's keys, their component's settings under its type's name, `name`, `secrets`
//! and what its type adds, and under `k8s` what follows from the profile; `manifests/README.md` lists them.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::components::{Manifests, of};
use crate::error::Result;
use crate::profile::Profile;
use crate::profile::component::{Instance, Space};
use crate::profile::schema::Spread;
use crate::profile::topics::{QUEUES, topics};
use crate::render::objects::{self, Object, Part};

/// The templates of a component with what they may name.
pub struct Templated {
    /// Component.
    pub component: String,
    /// Their paths below `manifests/`.
    pub templates: Vec<&'static str>,
    /// What they may name.
    pub context: Value,
}

/// Every template of an environment, in an order in which their objects could be applied.
///
/// # Errors
/// A value of the profile cannot be what it has to be there.
pub fn templated(made: &Manifests<'_>) -> Result<Vec<Templated>> {
    let env = made.env;
    let common = common(&env.profile, made.on_kind);
    let mut context = env.context();
    context["k8s"] = common.clone();
    let mut all = vec![Templated {
        component: "namespaces".into(),
        templates: vec!["namespaces/kubernetes/namespaces.yaml.hbs"],
        context,
    }];
    for instance in env.running() {
        let component = of(instance);
        let mut context = env.context_of(&instance.name);
        context["k8s"] = common.clone();
        context["secrets"] = secrets(made, instance);
        if let Value::Object(values) = component.values(made)? {
            for (key, value) in values {
                context[key] = value;
            }
        }
        all.push(Templated {
            component: instance.name.clone(),
            templates: component.templates(made),
            context,
        });
    }
    Ok(all)
}

/// Renders them.
///
/// # Errors
/// A template is wrong, or see [`templated`].
pub fn render(made: &Manifests<'_>) -> Result<Vec<Object>> {
    let env = made.env;
    let mut all = Vec::new();
    for own in templated(made)? {
        let templates = own.templates.into_iter();
        let parts: Vec<Part<'_>> = templates
            .map(|template| Part {
                component: &own.component,
                template,
            })
            .collect();
        let objects = objects::render(&env.templates, &own.context, &parts, &env.name);
        all.extend(objects?);
    }
    Ok(all)
}

/// A component's passwords as they go into its Secrets.
fn secrets(made: &Manifests<'_>, of: &Instance) -> Value {
    let password = |name: &str| {
        let password = made.env.password(name).expose().to_owned();
        Value::String((made.shown)(password))
    };
    let mut secrets = Map::new();
    secrets.insert("password".into(), password(&of.name));
    secrets.insert("connector".into(), password(&of.connector_secret()));
    for key in of.spec.keys(&made.env.profile) {
        let name = format!("{}-{}", of.name, key.suffix);
        secrets.insert(key.suffix, password(&name));
    }
    Value::Object(secrets)
}

/// What every template may name under `k8s`.
fn common(profile: &Profile, on_kind: bool) -> Value {
    let (replication_factor, min_insync) = profile.replication();
    json!({
        "on_kind": on_kind,
        "namespaces": [
            profile.namespace(Space::Kafka),
            profile.namespace(Space::Database),
        ],
        "scram": profile.kafka.is_secured(),
        "replication_factor": replication_factor,
        "min_insync": min_insync,
        "topics": topic_values(profile),
        "queues": QUEUES,
        "spread_required": profile.kubernetes.spread == Spread::Required,
        "when_unsatisfiable": match profile.kubernetes.spread {
            Spread::Preferred => "ScheduleAnyway",
            Spread::Required => "DoNotSchedule",
        },
    })
}

fn topic_values(profile: &Profile) -> Vec<Value> {
    // Sinks read tables, not heartbeats. A plugin that the profile names is one.
    let has_sinks = !profile.connect.plugins.is_empty() || !profile.sinks.is_empty();
    let tables: Vec<String> = profile
        .flows
        .values()
        .map(|flow| profile.topic(flow))
        .collect();
    let noted = profile.connectors.values();
    let noted: Vec<String> = noted
        .filter_map(|it| Some(profile.rereads(it)?.tables))
        .collect();
    topics(profile)
        .into_iter()
        .map(|topic| {
            json!({
                "name": resource_name(&topic.name),
                "topic": topic.name,
                "config": topic.config,
                // What `dlq redrive` sends back, and the notes of the tables that connectors capture.
                "written": (has_sinks && tables.contains(&topic.name)) || noted.contains(&topic.name),
            })
        })
        .collect()
}

/// A name that a resource may have. Names that had to be changed are told apart by a digest.
fn resource_name(topic: &str) -> String {
    let plain: String = topic
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() || c == '.' || c == '-' => c,
            _ => '-',
        })
        .collect();
    let edge = |c: char| !c.is_ascii_alphanumeric();
    let fits = plain == topic && !topic.starts_with(edge) && !topic.ends_with(edge);
    if fits && !plain.contains("..") && !plain.contains(".-") && !plain.contains("-.") {
        return plain;
    }
    let digest = Sha256::digest(topic.as_bytes());
    let suffix: String = digest.iter().take(4).map(|b| format!("{b:02x}")).collect();
    // A label follows each dot: none may begin or end with anything but a letter or a digit.
    let dashed = plain.replace('.', "-");
    let stem: String = dashed.trim_matches('-').chars().take(238).collect();
    format!("topic-{stem}-{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_get_names_that_a_resource_may_have() {
        assert_eq!(
            resource_name("postgres.public.users"),
            "postgres.public.users"
        );
        let heartbeat = resource_name("__debezium-heartbeat.postgres");
        assert!(
            heartbeat.starts_with("topic-debezium-heartbeat-postgres-"),
            "{heartbeat}"
        );
        // What differs stays different, however it is spelt.
        let names = ["a.B", "a.b", "a._b", "a.-b", "A.b", "a..b"].map(resource_name);
        for (index, name) in names.iter().enumerate() {
            assert!(!names[..index].contains(name), "{names:?}");
        }
        assert!(resource_name(&"X".repeat(249)).len() <= 253);
    }
}
