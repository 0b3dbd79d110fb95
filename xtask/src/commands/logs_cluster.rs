//! `logs` on clusters: of every pod of the component, through the API server.

use std::process::ExitCode;

use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, LogParams};
use serde_json::json;

use super::stdout::{self, Reader};
use crate::cli::Logs;
use crate::components::cluster::pods;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::report::Output;

pub(super) async fn run(
    env: &Environment,
    component: &str,
    args: &Logs,
    output: Output,
) -> Result<ExitCode> {
    let (namespace, selector) = pods(env, component);
    let client = env.link()?.cluster.client.clone();
    let api: Api<Pod> = Api::namespaced(client, namespace);
    let refused =
        |error: kube::Error| Error::new(Code::Service, format!("logs of {component}: {error}"));
    let found = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(refused)?;
    // The main container is the first one.
    let pods: Vec<(String, String)> = found
        .items
        .into_iter()
        .filter_map(|pod| {
            let container = pod.spec?.containers.into_iter().next()?.name;
            Some((pod.metadata.name?, container))
        })
        .collect();
    if pods.is_empty() {
        return Err(Error::new(
            Code::NotUp,
            format!("no pod of {component} is there (namespace {namespace}, labels {selector})"),
        )
        .hint("cargo xtask status"));
    }
    let several = pods.len() > 1;
    let mut streams = Vec::new();
    for (pod, container) in pods {
        let parameters = LogParams {
            container: Some(container),
            follow: args.follow,
            previous: args.previous,
            tail_lines: Some(i64::try_from(args.tail).unwrap_or(i64::MAX)),
            ..LogParams::default()
        };
        let lines = api
            .log_stream(&pod, &parameters)
            .await
            .map_err(refused)?
            .lines();
        streams.push(lines.map_ok(move |line| (pod.clone(), line)).boxed());
    }
    let mut lines = stream::select_all(streams);
    while let Some(line) = lines.next().await {
        let (pod, line) = line.map_err(|source| Error::io("read", "the log", &source))?;
        let text = match output {
            Output::Json => format!(
                "{}\n",
                json!({ "component": component, "pod": pod, "line": line })
            ),
            Output::Text if several => format!("{pod}: {line}\n"),
            Output::Text => format!("{line}\n"),
        };
        if stdout::write(text.as_bytes())? == Reader::Gone {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}
