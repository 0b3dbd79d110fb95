//! Credentials for a registry, where the `docker` command keeps them. They go to the engine in
//! memory and nowhere else.

use std::collections::BTreeMap;
use std::path::Path;

use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine, GeneralPurpose, GeneralPurposeConfig};
use bollard::auth::DockerCredentials;
use serde::Deserialize;

use crate::error::{Code, Error, Result};
use crate::files::read_if_there;
use crate::platform::docker::address::config_dir;
use crate::process::{Job, ProcessError, capture};

/// What Docker Hub is called in the Docker config.
pub(super) const HUB: &str = "https://index.docker.io/v1/";

#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("********")
    }
}

/// What a credential helper answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The credentials for a registry; none if the Docker config has none.
///
/// # Errors
/// The config or a helper's answer is malformed, or a helper fails.
pub(super) async fn find(registry: &str) -> Result<Option<DockerCredentials>> {
    find_in(&config_dir().join("config.json"), registry).await
}

async fn find_in(path: &Path, registry: &str) -> Result<Option<DockerCredentials>> {
    let Some(text) = read_if_there(path)? else {
        return Ok(None);
    };
    // The parser's message could quote a secret: only its place is reported.
    let config: Config = serde_json::from_str(&text).map_err(|error| {
        let what = format!("{} is malformed at line {}", path.display(), error.line());
        Error::new(Code::Io, what)
    })?;
    if let Some(helper) = config.helpers.get(registry).or(config.store.as_ref())
        && let Some(found) = ask(helper, registry).await?
    {
        return Ok(Some(found));
    }
    let entry = config
        .auths
        .iter()
        .find(|(name, _)| host(name) == host(registry))
        .map(|(_, entry)| entry);
    match entry {
        // An entry without content says that a helper has it.
        Some(entry) if !entry.auth.is_empty() || entry.identitytoken.is_some() => {
            decode(entry, registry).map(Some).ok_or_else(|| {
                let what = format!("{}: the entry of {registry} is malformed", path.display());
                Error::new(Code::Io, what).hint(format!("docker login {registry}"))
            })
        }
        _ => Ok(None),
    }
}

/// A registry's name without scheme and path, which the config may have either way.
fn host(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    name.split('/').next().unwrap_or(name)
}

fn decode(entry: &Entry, registry: &str) -> Option<DockerCredentials> {
    let decoded = match entry.auth.as_str() {
        "" => String::new(),
        auth => String::from_utf8(base64(auth)?).ok()?,
    };
    let (username, password) = match decoded.as_str() {
        "" => ("", ""),
        text => text.split_once(':')?,
    };
    Some(DockerCredentials {
        username: Some(username.to_owned()),
        password: Some(password.trim_end_matches('\0').to_owned()),
        identitytoken: entry.identitytoken.clone(),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    })
}

/// Standard base64, with its padding or without: both are seen in configs.
fn base64(text: &str) -> Option<Vec<u8>> {
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&alphabet::STANDARD, lenient)
        .decode(text.trim())
        .ok()
}

/// Asks a helper: `docker-credential-<name> get` reads the registry and answers with JSON.
async fn ask(helper: &str, registry: &str) -> Result<Option<DockerCredentials>> {
    let program = format!("docker-credential-{helper}");
    let failed = |reason: String| {
        let what = format!("{program} gave no credentials for {registry}: {reason}");
        Error::new(Code::Service, what)
    };
    let path = which::which(&program).map_err(|_| {
        let what = format!("the Docker config names {program}, which is not in PATH");
        Error::new(Code::Missing, what)
            .hint("install it, or remove it from the Docker config and run docker login")
    })?;
    let mut job = Job::new(path, ["get"]);
    job.input = Some(crate::process::pipe(registry).map_err(|error| failed(error.to_string()))?);
    let text = match capture(&job, |_| {}).await {
        Ok(text) => text,
        // The protocol's way of saying that there are none.
        Err(error) if said(&error).contains("credentials not found") => return Ok(None),
        Err(error @ ProcessError::Start { .. }) => return Err(failed(error.to_string())),
        Err(ProcessError::Ended { status, .. }) => {
            return Err(failed(format!("it ended with {status}")));
        }
    };
    let answer: Answer =
        serde_json::from_str(&text).map_err(|_| failed("its answer is malformed".into()))?;
    let token = answer.username == "<token>";
    let (username, password) = match token {
        true => (None, None),
        false => (Some(answer.username), Some(answer.secret.clone())),
    };
    Ok(Some(DockerCredentials {
        username,
        password,
        identitytoken: token.then_some(answer.secret),
        serveraddress: Some(registry.to_owned()),
        ..DockerCredentials::default()
    }))
}

fn said(error: &ProcessError) -> String {
    error.tail().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn found(config: &str, registry: &str) -> Result<Option<DockerCredentials>> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("config.json");
        std::fs::write(&path, config).expect("written");
        find_in(&path, registry).await
    }

    #[tokio::test]
    async fn an_entry_is_decoded_for_its_registry_only() {
        // printf 'user:pa:ss' | base64
        let config = r#"{"auths": {"https://registry.example/v2/": {"auth": "dXNlcjpwYTpzcw=="}}}"#;
        let seen = found(config, "registry.example")
            .await
            .expect("read")
            .expect("found");
        assert_eq!(seen.username.as_deref(), Some("user"));
        assert_eq!(seen.password.as_deref(), Some("pa:ss"));
        assert_eq!(found(config, "other.example").await.expect("read"), None);
        assert_eq!(found("{}", "registry.example").await.expect("read"), None);
    }

    #[tokio::test]
    async fn a_malformed_config_tells_its_line_and_no_secret() {
        let config = "{\"auths\": {\n \"a\": {\"auth\": 12345}}}";
        let error = found(config, "a").await.expect_err("malformed").to_string();
        assert!(
            error.contains("line 2") && !error.contains("12345"),
            "{error}"
        );
        let error = found(r#"{"auths": {"a": {"auth": "c2VjcmV0"}}}"#, "a").await;
        let error = error.expect_err("no colon").to_string();
        assert!(
            !error.contains("c2VjcmV0") && !error.contains("secret"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let config = r#"{"credHelpers": {"a": "no-such-helper-here"}}"#;
        let error = found(config, "a").await.expect_err("missing");
        assert_eq!(error.code, Code::Missing);
        assert!(
            error
                .message
                .contains("docker-credential-no-such-helper-here"),
            "{error}"
        );
        assert_eq!(found(config, "b").await.expect("not asked"), None);
    }

    #[test]
    fn base64_of_all_lengths() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYg==", "foob"),
        ] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("Zm9*"), None);
    }
}
