//! What is reported about a finding that needs a person. It has passed the redactor.

use serde_json::{Value, json};

use super::history::{Reason, Trouble};
use crate::clock;
use crate::environment::Environment;
use crate::printed;

/// What is reported about an escalation.
pub(super) fn body(
    env: &Environment,
    trouble: &Trouble,
    reason: Reason,
    why: &str,
    at: u64,
) -> Value {
    let Trouble {
        key,
        broken,
        cause,
        evidence,
        next,
        trace,
    } = trouble;
    let name = &env.name;
    json!({
        // What chat services show.
        "text": format!("[{name}] {} {}: {cause}. {why}. Next: {next}", key.code, key.subject),
        "environment": name,
        "platform": env.platform,
        "at": clock::utc(at),
        "code": key.code,
        "subject": key.subject,
        "severity": if *broken { Value::from("broken") } else { Value::from("degraded") },
        "reason": reason,
        "why": why,
        "cause": cause,
        "evidence": evidence,
        "trace": trace,
        "next": next,
        "more": printed::ours(&format!("cargo xtask explain {}", key.code)),
    })
}
