//! `heal`: restart what a restart can fix, and report everything else.

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::stdout::{self, say};
use super::{context, diagnose};
use crate::cli::{Global, Heal};
use crate::clock;
use crate::diagnose::Diagnosis;
use crate::environment::Environment;
use crate::error::{Code, Error, Exit, Result};
use crate::operate::heal::decide::Limits;
use crate::operate::heal::history::{Event, Key, Record, Trouble};
use crate::operate::heal::{self, Left, Options};
use crate::operate::webhook::Webhook;
use crate::report::Output;
use crate::report::text::{Ink, Palette};
use crate::wait;

/// The pause before an API server is asked again that did not answer.
const RECONNECT: std::time::Duration = std::time::Duration::from_secs(2);

/// Heals until it is done or interrupted, and then lets the next healer begin at once.
pub(super) async fn run(
    global: &Global,
    args: &Heal,
    interrupted: impl Future<Output = Error>,
) -> Result<ExitCode> {
    let place = heal::Place::default();
    let end = tokio::select! {
        // The handlers are there before anything begins.
        biased;
        signal = interrupted => match args.watch {
            true => Ok(signal.code.exit().into()),
            false => Err(signal),
        },
        end = heal(global, args, &place) => end,
    };
    place.leave().await;
    end
}

async fn heal(global: &Global, args: &Heal, place: &heal::Place) -> Result<ExitCode> {
    let options = Options {
        watch: args.watch,
        interval: args.interval,
        limits: Limits {
            max_restarts: args.max_restarts,
        },
        webhook: match &args.alert_webhook {
            Some(address) => Some(Webhook::new(address)?),
            None => None,
        },
    };
    let env = attached(global, args.watch).await?;
    if args.dry_run {
        return dry_run(global.output, &env, &options.limits).await;
    }
    let palette = stdout::palette();
    let mut events = Vec::new();
    let mut tell = |record: &Record| match global.output {
        Output::Text => say!("{}", line(record, palette)),
        Output::Json if args.watch => say!("{}", json!(record)),
        Output::Json => events.push(json!(record)),
    };
    let again = async || context::existing(global).await;
    let left = heal::run(env.clone(), again, options, place, &mut tell).await?;
    let code = stdout::ended(left.sound, Exit::Failed);
    if args.watch {
        eprintln!("the environment is gone");
        return Ok(ExitCode::SUCCESS);
    }
    let object = document(&env, &left, "events", json!(events));
    stdout::answer(global.output, object, || described(&env, left, palette))?;
    Ok(code)
}

/// The environment. A healer that goes on begins once its API server answers.
async fn attached(global: &Global, watch: bool) -> Result<Arc<Environment>> {
    let mut said = String::new();
    loop {
        match context::existing(global).await {
            Err(error) if watch && matches!(error.code, Code::Platform | Code::Service) => {
                if error.message != said {
                    eprintln!("waiting: {}", error.message);
                    said = error.message;
                }
                wait::pause(RECONNECT).await;
            }
            result => return result,
        }
    }
}

async fn dry_run(output: Output, env: &Arc<Environment>, limits: &Limits) -> Result<ExitCode> {
    let (left, plans) = heal::would(env, limits).await?;
    let object = document(env, &left, "dry_run", json!(plans));
    stdout::answer(output, object, || {
        if plans.is_empty() && left.unknown.is_empty() {
            return "no problem found: nothing would be done\n".into();
        }
        let plans = plans.iter().map(|plan| format!("{plan}\n"));
        let unknown = left.unknown.iter();
        let unknown = unknown.map(|it| format!("not known: {}: {}\n", it.fact, it.why));
        plans.chain(unknown).collect()
    })
}

/// How it was left, and under a name of its own what was done or would be.
fn document(env: &Environment, left: &Left, name: &str, done: Value) -> Value {
    json!({
        "profile": env.name,
        "platform": env.platform,
        "sound": left.sound,
        name: done,
        "findings": left.findings,
        "unknown": left.unknown,
    })
}

fn described(env: &Environment, left: Left, palette: Palette) -> String {
    diagnose::describe(
        &Diagnosis {
            profile: env.name.clone(),
            platform: env.platform,
            took_ms: 0,
            findings: left.findings,
            unknown: left.unknown,
        },
        palette,
    )
}

/// An event for people.
fn line(record: &Record, palette: Palette) -> String {
    let name = |key: &Key| format!("{} {}", key.code, key.subject);
    let (ink, text) = match &record.event {
        Event::Began { pid } => (Ink::Dim, format!("starts (pid {pid})")),
        Event::Found(Trouble { key, cause, .. }) => {
            (Ink::Yellow, format!("found {}: {cause}", name(key)))
        }
        Event::Gone(key) => (Ink::Green, format!("gone {}", name(key))),
        Event::Healed { key, after_ms } => {
            let after = clock::span(*after_ms);
            (Ink::Green, format!("healed {} after {after}", name(key)))
        }
        Event::Held(key) => (Ink::Green, format!("held {}", name(key))),
        Event::Attempt { key, act, number } => (
            Ink::Yellow,
            format!("restart {number} for {}: {act}", name(key)),
        ),
        Event::Ended {
            key,
            ok,
            said,
            took_ms,
            ..
        } => {
            let (ink, how) = match ok {
                true => (Ink::Dim, "done"),
                false => (Ink::Red, "failed"),
            };
            let took = clock::span(*took_ms);
            (ink, format!("{how} for {} in {took}: {said}", name(key)))
        }
        Event::Escalated { trouble, why, .. } => {
            let mut text = format!(
                "needs a person: {}: {}\n  why: {why}",
                name(&trouble.key),
                trouble.cause
            );
            for line in &trouble.evidence {
                text += &format!("\n  | {line}");
            }
            (Ink::Red, format!("{text}\n  next: {}", trouble.next))
        }
        Event::Alerted {
            key, said: None, ..
        } => (Ink::Dim, format!("sent to the webhook: {}", name(key))),
        Event::Alerted {
            key,
            said: Some(said),
            ..
        } => (
            Ink::Yellow,
            format!("could not send to the webhook: {}: {said}", name(key)),
        ),
        Event::Standby { why } => (Ink::Dim, format!("stands by: {why}")),
        Event::Resumed => (Ink::Dim, "continues".into()),
    };
    let time = palette.ink(Ink::Dim, clock::utc(record.at));
    let text = palette.ink(ink, text);
    format!("{time} {text}")
}
