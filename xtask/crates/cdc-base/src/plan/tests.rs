//! What a run does when its nodes end well, fail, or lead nowhere.

use std::time::Duration;

use super::run::{Ended, Event, RunReport, run};
use super::{Outcome, Plan, Progress};
use crate::error::{Code, Error, Result};
use crate::status::Status;
use crate::wait::{self, Patience};

fn ok() -> Result<Outcome> {
    Ok(Outcome::Unchanged("fine".into()))
}

async fn execute(plan: Plan) -> RunReport {
    let (graph, actions) = plan.build().expect("a graph");
    run(graph, actions, |_, _| {}).await
}

#[tokio::test]
async fn independent_nodes_run_at_the_same_time() {
    // Each waits for the other: only concurrency lets both end.
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let mut plan = Plan::default();
    for id in ["a", "b"] {
        let barrier = barrier.clone();
        plan.step(id, id, &[], async move |_| {
            barrier.wait().await;
            ok()
        });
    }
    let report = execute(plan).await;
    assert!(report.errors.is_empty());
}

#[tokio::test]
async fn a_failure_skips_its_dependents_and_nothing_else() {
    let mut plan = Plan::default();
    plan.step("bad", "bad", &[], async |_| {
        Err(Error::new(Code::Process, "broken"))
    });
    plan.step("other bad", "other", &[], async |_| {
        Err(Error::new(Code::Process, "broken too"))
    });
    plan.step("good", "good", &[], async |_| ok());
    plan.step("after bad", "x", &["bad"], async |_| ok());
    plan.step("after both", "x", &["after bad", "good"], async |_| ok());
    plan.step("after good", "x", &["good"], async |_| ok());
    let report = execute(plan).await;
    assert_eq!(report.errors.len(), 2);
    let ended: Vec<&Ended> = report.nodes.iter().map(|node| &node.ended).collect();
    assert_eq!(ended[3], &Ended::Skipped(0));
    assert_eq!(ended[4], &Ended::Skipped(0));
    assert!(matches!(ended[5], Ended::Done(_)));
}

#[tokio::test(start_paused = true)]
async fn what_leads_nowhere_any_more_is_cancelled_at_once() {
    let forever = async |progress: Progress| {
        let patience = Patience::local(Duration::from_secs(600));
        let look = || async { Status::in_progress("not yet") };
        wait::until("x", patience, &progress, look).await?;
        ok()
    };
    let changed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let done = changed.clone();
    let mut plan = Plan::default();
    plan.gate("kafka", "k", &[], async |_| {
        tokio::time::sleep(Duration::from_secs(10)).await;
        Err(Error::new(Code::GateFailed, "NotReady").hint("look"))
    });
    plan.gate("postgres", "p", &[], forever);
    plan.step("initiate", "i", &[], forever);
    plan.step("load", "l", &[], async move |progress: Progress| {
        // A change in the middle is finished; what would be waited for after it is not.
        tokio::time::sleep(Duration::from_secs(12)).await;
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        forever(progress).await
    });
    plan.step("build", "b", &[], async |_| {
        tokio::time::sleep(Duration::from_secs(13)).await;
        ok()
    });
    plan.step("tables", "t", &["build"], async |_| ok());
    let all = ["kafka", "postgres", "initiate", "load", "tables"];
    plan.gate("canary", "c", &all, async |_| ok());
    // It proves something of its own, and fails on its own.
    plan.gate("clickhouse", "h", &[], async |_| {
        tokio::time::sleep(Duration::from_secs(11)).await;
        Err(Error::new(Code::GateFailed, "no login"))
    });
    let (graph, actions) = plan.build().expect("a graph");
    let begin = tokio::time::Instant::now();
    let mut seen = Vec::new();
    let report = run(graph, actions, |graph, event| {
        let id = |node: usize| graph.nodes()[node].id.clone();
        let at = begin.elapsed().as_secs();
        match event {
            Event::Failed { node, hint, .. } => seen.push((at, "failed", id(node), hint)),
            Event::Skipped { node, .. } => seen.push((at, "skipped", id(node), None)),
            Event::Finished { node, .. } => seen.push((at, "finished", id(node), None)),
            _ => {}
        }
    })
    .await;
    let line = |at, what, id: &str| (at, what, id.to_owned(), None);
    assert_eq!(
        seen,
        [
            (10, "failed", "kafka".to_owned(), Some("look".to_owned())),
            line(10, "skipped", "postgres"),
            line(10, "skipped", "tables"),
            line(10, "skipped", "canary"),
            line(10, "skipped", "initiate"),
            line(11, "failed", "clickhouse"),
            line(12, "skipped", "load"),
            line(13, "finished", "build"),
        ]
    );
    assert!(changed.load(std::sync::atomic::Ordering::Relaxed));
    assert_eq!(report.errors.len(), 2);
    assert!(matches!(report.nodes[2].ended, Ended::Skipped(0)));
}

#[tokio::test]
async fn what_is_needed_stands_above_what_needs_something_in_the_errors() {
    let mut plan = Plan::default();
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    plan.gate("kafka/operated", "x", &["start"], async |_| {
        let _ = told.await;
        Err(Error::new(Code::GateFailed, "NotReady"))
    });
    plan.step("start", "x", &[], async |_| ok());
    plan.step("tables", "x", &["start"], async |_| ok());
    plan.gate("canary", "x", &["tables"], async |_| {
        let _ = tell.send(());
        Err(Error::new(Code::GateFailed, "no row"))
    });
    let report = execute(plan).await;
    let told: Vec<&str> = report.errors.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(told, ["NotReady", "no row"]);
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let mut plan = Plan::default();
    plan.step("a", "a", &[], async |_| panic!("a bug"));
    plan.step("b", "b", &["a"], async |_| ok());
    let report = execute(plan).await;
    assert_eq!(report.errors.len(), 1);
    assert_eq!(report.nodes[1].ended, Ended::Skipped(0));
}

#[tokio::test]
async fn events_arrive_in_order() {
    let mut plan = Plan::default();
    plan.gate("a", "a", &[], async |progress: Progress| {
        progress.observe("waiting");
        ok()
    });
    let (graph, actions) = plan.build().expect("a graph");
    let mut seen = Vec::new();
    run(graph, actions, |_, event| {
        seen.push(match event {
            Event::Started { .. } => "started",
            Event::Observed { .. } => "observed",
            Event::Finished { .. } => "finished",
            _ => "other",
        });
    })
    .await;
    assert_eq!(seen, ["started", "observed", "finished"]);
}
