//! `logs` on clusters: of every pod of the component, through the API server.
//!
//! `--level` is a filter of this tool, so all of a pod's log is read for it; `--since` alone is the
//! server's.

use std::collections::{HashMap, VecDeque};
use std::process::ExitCode;

use futures_util::stream::BoxStream;
use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::json;

use super::stdout::{self, Reader};
use crate::cli::Logs;
use crate::clock;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::observe::logline::{Filter, Level, TimeZone};
use crate::platform::kubernetes::said;
use crate::report::Output;
use crate::up::cluster::{listed, pods};

/// A pod's line, without the time that the kubelet wrote before it.
type Lines = BoxStream<'static, Result<(String, String)>>;

struct Source<'a> {
    component: &'a str,
    api: Api<Pod>,
    /// Names, each with its main container's.
    pods: Vec<(String, String)>,
    output: Output,
}

pub(super) async fn run(
    env: &Environment,
    component: &str,
    args: &Logs,
    since: Option<u64>,
    output: Output,
) -> Result<ExitCode> {
    let (namespace, selector) = pods(env, component);
    let client = env.link()?.cluster.client.clone();
    let api: Api<Pod> = Api::namespaced(client, namespace);
    let found = listed(env, component).await?;
    // The main container is the first one.
    let pods: Vec<(String, String)> = found
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
    let source = Source {
        component,
        api,
        pods,
        output,
    };
    let now = clock::now_ms();
    let asked = LogParams {
        follow: args.follow,
        previous: args.previous,
        since_seconds: since.map(|since| seconds(now, since)),
        tail_lines: Some(i64::try_from(args.tail).unwrap_or(i64::MAX)),
        ..LogParams::default()
    };
    match args.level {
        Level::Trace => source.all(asked).await?,
        level => source.filtered(asked, level, args.tail, now).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Why there is no log of a pod's container, and what to do.
fn refused(component: &str, pod: &str, error: &kube::Error) -> Error {
    let why = said(error);
    let code = match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    };
    unread(component, pod, code, &why)
}

/// By what the kubelet and the API server say, who have no reasons that programs could read.
fn unread(component: &str, pod: &str, code: u16, why: &str) -> Error {
    let again = format!("wait some seconds, then: cargo xtask diagnose {component}");
    let (code, what, hint) = if let Some((_, reason)) = why.split_once("is waiting to start: ") {
        let what = format!("{component} has no log yet: pod {pod} has not started ({reason})");
        (Code::NotUp, what, again)
    } else if why.contains("does not have a host assigned") {
        let what = format!("{component} has no log yet: no node has taken pod {pod}");
        (Code::NotUp, what, again)
    } else if why.contains("previous terminated container") {
        let what = format!("{component} has no log of a run before: pod {pod} has not ended yet");
        (Code::NotUp, what, format!("cargo xtask logs {component}"))
    } else if code == 404 {
        let what = format!("pod {pod} of {component} is gone: another one is being made");
        (Code::NotUp, what, again)
    } else {
        let what = format!("logs of {component}: {why}");
        (
            Code::Service,
            what,
            format!("cargo xtask diagnose {component}"),
        )
    };
    Error::new(code, what).hint(hint)
}

/// How many seconds before `now` to ask for, so that nothing since `since` is missing; the server
/// takes no less than one.
fn seconds(now: u64, since: u64) -> i64 {
    let seconds = now.saturating_sub(since).div_ceil(1000).max(1);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

impl Source<'_> {
    async fn lines(&self, asked: &LogParams) -> Result<Lines> {
        let mut streams = Vec::new();
        let mut unread = Vec::new();
        for (pod, container) in &self.pods {
            let asked = LogParams {
                container: Some(container.clone()),
                ..asked.clone()
            };
            match self.api.log_stream(pod, &asked).await {
                Ok(log) => {
                    let pod = pod.clone();
                    let lines = log.lines().map_ok(move |line| (pod.clone(), line));
                    let unread = |source| Error::io("read", "the log", &source);
                    streams.push(lines.map_err(unread).boxed());
                }
                Err(error) => unread.push(refused(self.component, pod, &error)),
            }
        }
        if streams.is_empty()
            && let Some(error) = Error::together(unread)
        {
            return Err(error);
        }
        Ok(stream::select_all(streams).boxed())
    }

    fn print(&self, pod: &str, line: &str) -> Result<Reader> {
        let text = match self.output {
            Output::Json => format!(
                "{}\n",
                json!({ "component": self.component, "pod": pod, "line": line })
            ),
            Output::Text if self.pods.len() > 1 => format!("{pod}: {line}\n"),
            Output::Text => format!("{line}\n"),
        };
        stdout::write(text.as_bytes())
    }

    async fn all(&self, asked: LogParams) -> Result<()> {
        let mut lines = self.lines(&asked).await?;
        while let Some((pod, line)) = lines.try_next().await? {
            if self.print(&pod, &line)? == Reader::Gone {
                break;
            }
        }
        Ok(())
    }

    /// What is there first, whole, since what a line belongs to stands above it; then what is
    /// written from then on. The kubelet's times say where the one ends and the other begins.
    async fn filtered(&self, asked: LogParams, level: Level, tail: usize, now: u64) -> Result<()> {
        let follow = asked.follow;
        let mut asked = LogParams {
            follow: false,
            tail_lines: None,
            timestamps: true,
            ..asked
        };
        let mut filters: HashMap<String, (Filter, String)> = HashMap::new();
        let mut last: HashMap<String, VecDeque<String>> = HashMap::new();
        let mut wanted = |pod: &str, stamped: String| -> Option<String> {
            let new = || (Filter::new(level, None, TimeZone::UTC), String::new());
            let (filter, until) = filters.entry(pod.to_owned()).or_insert_with(new);
            let (time, line) = stamped.split_once(' ').unwrap_or(("", &stamped));
            // What the first request gave already; these times sort as their texts.
            if !time.is_empty() && time <= until.as_str() {
                return None;
            }
            time.clone_into(until);
            filter.wants(line).then(|| line.to_owned())
        };
        let mut lines = self.lines(&asked).await?;
        while let Some((pod, line)) = lines.try_next().await? {
            let Some(line) = wanted(&pod, line) else {
                continue;
            };
            let last = last.entry(pod).or_default();
            last.push_back(line);
            if last.len() > tail {
                last.pop_front();
            }
        }
        for (pod, _) in &self.pods {
            for line in last.remove(pod).unwrap_or_default() {
                if self.print(pod, &line)? == Reader::Gone {
                    return Ok(());
                }
            }
        }
        if !follow {
            return Ok(());
        }
        asked.follow = true;
        // A little earlier: what comes twice is left out by its time.
        asked.since_seconds = Some(seconds(clock::now_ms() + 2_000, now));
        let mut lines = self.lines(&asked).await?;
        while let Some((pod, line)) = lines.try_next().await? {
            if let Some(line) = wanted(&pod, line)
                && self.print(&pod, &line)? == Reader::Gone
            {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_has_not_started_says_so_and_what_to_do() {
        // As a kubelet of Kubernetes 1.34 says it.
        let why = "container \"c\" in pod \"c-0\" is waiting to start: ContainerCreating";
        let error = unread("connect", "c-0", 400, why);
        assert_eq!(error.code.exit(), crate::error::Exit::Precondition);
        assert_eq!(
            error.message,
            "connect has no log yet: pod c-0 has not started (ContainerCreating)"
        );
        assert_eq!(
            error.hint.as_deref(),
            Some("wait some seconds, then: cargo xtask diagnose connect")
        );
        let gone = unread("connect", "c-0", 404, "pods \"c-0\" not found");
        assert!(gone.message.contains("another one is being made"), "{gone}");
        let before = unread(
            "connect",
            "c-0",
            400,
            "previous terminated container \"c\" in pod \"c-0\" not found",
        );
        assert_eq!(before.hint.as_deref(), Some("cargo xtask logs connect"));
        let other = unread("connect", "c-0", 403, "pods \"c-0\" is forbidden");
        assert_eq!(other.code, Code::Service);
        assert!(other.hint.is_some());
    }

    #[test]
    fn seconds_are_rounded_up_and_never_none() {
        assert_eq!(seconds(10_000, 10_000), 1);
        assert_eq!(seconds(10_000, 8_999), 2);
        assert_eq!(seconds(10_000, 8_000), 2);
        assert_eq!(seconds(10_000, 20_000), 1);
    }
}
