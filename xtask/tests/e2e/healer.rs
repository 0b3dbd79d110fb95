//! A healer that watches, and the history that it writes.

use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::sandbox::{Sandbox, interrupt, kill};

/// How long an event may take. Nothing here is about speed: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(300);

/// A healer that is killed with its test.
pub struct Watch(Child);

impl Watch {
    pub fn begin(sandbox: &Sandbox, more: &[&str]) -> Self {
        let args = [&["heal", "--watch", "--interval", "2s"], more].concat();
        Watch(sandbox.spawn(&args))
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Ends it as a person does.
    pub fn end(mut self) -> Option<i32> {
        interrupt(self.0.id());
        self.0.wait().expect("it ends").code()
    }

    pub fn kill(mut self) {
        kill(self.0.id());
        self.0.wait().expect("it ends");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The history's events of this kind.
pub fn events(sandbox: &Sandbox, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(sandbox.dir().join("heal.jsonl")).unwrap_or_default();
    let all = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    all.filter(|event: &Value| event["event"] == kind).collect()
}

/// Waits until there is such an event.
pub async fn event(sandbox: &Sandbox, kind: &str, is: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        if let Some(event) = events(sandbox, kind).into_iter().find(&is) {
            return event;
        }
        let text = std::fs::read_to_string(sandbox.dir().join("heal.jsonl"));
        assert!(
            begin.elapsed() < PATIENCE,
            "there is no such event `{kind}`: {text:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub fn about<'a>(code: &'a str, subject: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |event| event["code"] == code && event["subject"] == subject
}
