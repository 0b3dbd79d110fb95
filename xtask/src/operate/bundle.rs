//! One archive for whoever helps: what was seen and found, without any secret.
//!
//! Every text goes through [`Redactor`] last, whatever it is made of: what keeps a secret out is
//! that its value is known, not that somebody thought of every place where it may stand.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use indexmap::IndexMap;
use kube::api::LogParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::clock;
use crate::components::connect;
use crate::diagnose::Diagnosis;
use crate::diagnose::facts::{self, Facts, Known, limited};
use crate::endpoint::MASK;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::files::{tail, write_atomic};
use crate::operate::heal::history;
use crate::platform::Platform;
use crate::profile::is_secret;
use crate::up::cluster;
use crate::wait::Limit;

/// Lines of each log.
const LINES: usize = 500;
/// What is shorter would be found in words, and no password that anybody should have is.
const SHORTEST: usize = 4;

/// What is written as `%XX` in an address: all but what RFC 3986 leaves as it is.
const IN_ADDRESS: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Replaces every secret of an environment in a text.
pub struct Redactor {
    /// Longest first: a secret may be part of another.
    secrets: Vec<String>,
}

impl Redactor {
    /// Knows the environment's passwords, its secret files, and what the profile calls secret.
    pub fn of(env: &Environment) -> Self {
        let mut secrets = env.secrets();
        for (path, node) in env.tree.leaves() {
            let text = node.scalar_text();
            if is_secret(&path) && !text.contains("${") {
                secrets.push(text);
            }
        }
        Redactor::new(secrets)
    }

    fn new(secrets: Vec<String>) -> Self {
        let mut forms: Vec<String> = secrets
            .iter()
            .filter(|secret| secret.len() >= SHORTEST)
            .flat_map(|secret| forms(secret))
            .collect();
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Redactor { secrets: forms }
    }

    /// The text without them.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
        }
        text
    }
}

/// A secret as it may stand in JSON, in an address, in a Secret's data.
fn forms(secret: &str) -> [String; 4] {
    let json = Value::String(secret.to_owned()).to_string();
    let percent = utf8_percent_encode(secret, &IN_ADDRESS).to_string();
    [
        secret.to_owned(),
        json.trim_matches('"').to_owned(),
        percent,
        STANDARD.encode(secret),
    ]
}

/// Writes the archive. It is the owner's alone: what is no secret may still be nobody's business.
///
/// # Errors
/// The file cannot be written.
pub async fn write(
    env: &Arc<Environment>,
    facts: &Facts,
    diagnosis: &Diagnosis,
    path: &Path,
) -> Result<()> {
    let mut files: IndexMap<String, String> = IndexMap::new();
    let mut add = |name: &str, value: &Value| {
        files.insert(name.to_owned(), format!("{value:#}\n"));
    };
    let about = json!({
        "tool": env!("CARGO_PKG_VERSION"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "profile": env.name,
        "platform": env.platform,
        "at": clock::utc(facts.at),
        "left_out": env.left_out.iter().map(|it| &it.reason).collect::<Vec<_>>(),
    });
    add("about.json", &about);
    add("findings.json", &json!(diagnosis));
    add("facts.json", &json!(facts));
    add("profile.json", &env.tree.to_json());
    add("connectors.json", &connectors(env).await);
    // What healers saw and did before; nothing where none ever ran.
    let history = history::text(&env.dirs.state);
    let history = history.unwrap_or_else(|error| error.message);
    if !history.is_empty() {
        files.insert("heal.jsonl".into(), history);
    }
    for (name, text) in logs(env).await {
        files.insert(format!("logs/{name}.log"), text);
    }
    let redactor = Redactor::of(env);
    let archive = pack(&files, &redactor).map_err(|error| Error::io("pack", path, &error))?;
    write_atomic(path, &archive, 0o600)
}

/// The configurations as they run.
async fn connectors(env: &Environment) -> Value {
    let client = env.connect_client();
    match limited(&Limit::growing(facts::WAIT), client.all()).await {
        Known::Seen(all) => {
            let shown = all.into_iter();
            let shown = shown.map(|(name, listed)| (name, connect::shown(listed.info.config)));
            json!(shown.collect::<IndexMap<_, _>>())
        }
        Known::Unknown(why) => json!({ "unknown": why }),
    }
}

/// The ends of logs, or why there is none.
async fn logs(env: &Environment) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let asked = LogParams {
        tail_lines: i64::try_from(LINES).ok(),
        ..LogParams::default()
    };
    for component in env.running().map(|it| it.name.as_str()) {
        if env.platform == Platform::Host {
            for (name, path) in [
                (component.to_owned(), env.dirs.log(component)),
                (
                    format!("{component}.previous"),
                    env.dirs.previous_log(component),
                ),
            ] {
                // What never ran has no log.
                if path.is_file() {
                    let lines = tail(&path, LINES).map(|lines| lines.join("\n"));
                    all.push((name, lines.unwrap_or_else(|error| error.to_string())));
                }
            }
        } else {
            let logs = async {
                let logs = cluster::logs(env, component, &asked).await;
                logs.map_err(|error| error.message)
            };
            match limited(&Limit::growing(facts::WAIT), logs).await {
                Known::Seen(logs) => all.extend(logs),
                Known::Unknown(why) => all.push((component.to_owned(), why)),
            }
        }
    }
    all
}

fn pack(files: &IndexMap<String, String>, redactor: &Redactor) -> std::io::Result<Vec<u8>> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    let mut archive = tar::Builder::new(gzip);
    for (name, text) in files {
        let text = redactor.redact(text);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        archive.append_data(&mut header, name, text.as_bytes())?;
    }
    let mut gzip = archive.into_inner()?;
    gzip.flush()?;
    gzip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form() {
        let redactor = Redactor::new(vec!["pa\"ss/wörd".into(), "pa\"ss".into(), "x".into()]);
        for text in [
            "login pa\"ss/wörd!",
            "{\"password\": \"pa\\\"ss/wörd\"}",
            "mongodb://root:pa%22ss%2Fw%C3%B6rd@h/",
            "data: cGEic3Mvd8O2cmQ=",
        ] {
            let redacted = redactor.redact(text);
            assert!(redacted.contains(MASK), "{redacted}");
            assert!(
                !redacted.contains("ss/w") && !redacted.contains("ss%2F"),
                "{redacted}"
            );
        }
        assert_eq!(redactor.redact("an x stays"), "an x stays");
    }
}
