//! `topic create`: a topic, or the proof that it is there as wanted.

use std::process::ExitCode;

use serde_json::json;

use crate::cli::{RoleChoice, TopicCreate};
use crate::clients::kafka::KafkaClient;
use crate::commands::stdout;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::observe::topics::create::{Outcome, Wanted, ensure, named};
use crate::observe::topics::roles::{self, Role};
use crate::observe::topics::{lost, owner, settings};
use crate::report::Output;

pub(super) fn check(args: &TopicCreate) -> Result<()> {
    named(&args.name)?;
    settings::parse(&args.config).map(drop)
}

pub(super) async fn run(
    env: &Environment,
    client: &KafkaClient,
    args: &TopicCreate,
    output: Output,
) -> Result<ExitCode> {
    let brokers = client.cluster().await.map_err(lost)?.brokers.len();
    let wanted = wanted(args, brokers)?;
    if let Some(resource) = owner::resource(env, &args.name).await? {
        let what = format!("topic `{}` belongs to the KafkaTopic {resource}", args.name);
        return Err(
            Error::new(Code::Drift, what).hint(format!("cargo xtask topic describe {}", args.name))
        );
    }
    let outcome = ensure(client, &wanted, args.dry_run).await?;
    let object = json!({ "outcome": outcome, "topic": wanted });
    stdout::answer(output, object, || {
        let did = match outcome {
            Outcome::Created => "created",
            Outcome::WouldCreate => "would create",
            Outcome::Unchanged => "exists already, as wanted:",
        };
        let number = |number: Option<String>| number.unwrap_or("the broker's default".into());
        let mut text = format!(
            "{did} {}\n  partitions {}\n  replicas {}\n",
            wanted.name,
            number(wanted.partitions.map(|number| number.to_string())),
            number(wanted.replicas.map(|number| number.to_string())),
        );
        for (key, value) in &wanted.config {
            text.push_str(&format!("  {key} {value}\n"));
        }
        text
    })
}

fn wanted(args: &TopicCreate, brokers: usize) -> Result<Wanted> {
    let (role, high_volume) = match args.role {
        None => (Role::Other, false),
        Some(RoleChoice::Cdc) => (Role::Cdc, false),
        Some(RoleChoice::CdcHighVolume) => (Role::Cdc, true),
        Some(RoleChoice::SchemaHistory) => (Role::SchemaHistory, false),
        Some(RoleChoice::Dlq) => (Role::Dlq, false),
        Some(RoleChoice::Heartbeat) => (Role::Heartbeat, false),
    };
    let defaults = roles::defaults(role, high_volume, brokers);
    let (partitions, mut config) = match defaults {
        Some((partitions, config)) => (Some(partitions), config),
        None => Default::default(),
    };
    config.extend(settings::parse(&args.config)?);
    Ok(Wanted {
        name: args.name.clone(),
        partitions: args.partitions.or(partitions),
        replicas: args.replicas,
        config,
    })
}
