//! Pushes the image to a registry, for clusters that cannot be loaded directly.

use bollard::Docker;
use bollard::models::PushImageInfo;
use bollard::query_parameters::PushImageOptionsBuilder;
use futures_util::{StreamExt, TryStreamExt};

use super::credentials;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::docker::failed;

/// An image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// `registry/path:tag`.
    pub reference: String,
    /// Digest of the manifest, which a pod's `imageID` ends with when it runs this image.
    pub digest: String,
}

/// Pushes the image `reference`, whose name says where to. Layers that the registry has are not
/// sent again.
///
/// # Errors
/// The registry is not reached, or refuses the credentials or the image.
pub async fn push(docker: &Docker, reference: &str, progress: &Progress) -> Result<Pushed> {
    let (name, tag) = split(reference)?;
    let registry = registry(name);
    let credentials = credentials::find(registry).await?;
    let anonymous = credentials.is_none();
    let options = PushImageOptionsBuilder::default().tag(tag).build();
    let mut answers = docker.push_image(name, Some(options), credentials).boxed();
    let mut digest = None;
    while let Some(answer) = answers.try_next().await.map_err(|error| {
        let refused = failed(&format!("push {reference}"), &error);
        match anonymous {
            true => refused.hint(format!(
                "no credentials for {registry} are in the Docker config: docker login {registry}"
            )),
            false => refused.hint(format!(
                "credentials from the Docker config were used; renew them: docker login {registry}"
            )),
        }
    })? {
        hear(&answer, tag, &mut digest, progress);
    }
    let digest = digest.ok_or_else(|| {
        let what = format!("the registry did not confirm {reference}: the engine names no digest");
        Error::new(Code::Service, what)
    })?;
    Ok(Pushed {
        reference: reference.to_owned(),
        digest,
    })
}

fn hear(answer: &PushImageInfo, tag: &str, digest: &mut Option<String>, progress: &Progress) {
    let Some(status) = &answer.status else {
        return;
    };
    // `<tag>: digest: sha256:... size: 1234` is the engine's last word.
    let told = status
        .strip_prefix(tag)
        .and_then(|rest| rest.strip_prefix(": digest: "))
        .and_then(|rest| rest.split_whitespace().next());
    match told {
        Some(told) => *digest = Some(told.to_owned()),
        None => progress.observe(status.clone()),
    }
}

fn split(reference: &str) -> Result<(&str, &str)> {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') && !name.is_empty() => Ok((name, tag)),
        _ => Err(Error::new(Code::Usage, format!("`{reference}` has no tag"))),
    }
}

/// The registry of an image's name, by Docker's rule: the first part, if it looks like a host.
fn registry(name: &str) -> &str {
    match name.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => credentials::HUB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart_as_docker_does() {
        assert_eq!(
            split("127.0.0.1:5000/a/b:t").expect("a tag"),
            ("127.0.0.1:5000/a/b", "t")
        );
        assert!(split("127.0.0.1:5000/a/b").is_err());
        assert_eq!(registry("127.0.0.1:5000/a/b"), "127.0.0.1:5000");
        assert_eq!(registry("localhost/a"), "localhost");
        assert_eq!(registry("registry.example/team/a"), "registry.example");
        assert_eq!(registry("team/a"), credentials::HUB);
        assert_eq!(registry("a"), credentials::HUB);
    }

    #[test]
    fn the_engines_last_word_is_the_digest() {
        let mut digest = None;
        for status in ["Pushed", "t1: digest: sha256:abc size: 529"] {
            let answer = PushImageInfo {
                status: Some(status.into()),
                ..PushImageInfo::default()
            };
            hear(&answer, "t1", &mut digest, &Progress::silent());
        }
        assert_eq!(digest.as_deref(), Some("sha256:abc"));
    }
}
