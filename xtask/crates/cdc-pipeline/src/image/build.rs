//! Builds the image where it is not there yet, and removes one that is not fit for use: its name says
//! what it is made from, not what the base held at that time, so that it would be found again.

use std::collections::HashMap;
use std::path::Path;

use bollard::Docker;
use bollard::models::BuildInfo;
use bollard::query_parameters::{BuildImageOptionsBuilder, RemoveImageOptionsBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::{ConnectImage, context, inspect};
use crate::error::{Code, Error, Result};
use crate::plan::Progress;
use crate::platform::docker::{self, failed, is_missing};

/// The label that holds the digest of all inputs: a tag holds its first digits only, and anybody
/// can give an image a tag.
pub const INPUTS_LABEL: &str = "cdc-xtask.dev/inputs";
const MANAGED_LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "cdc-xtask");
/// Lines of a build that an error shows.
const TAIL: usize = 12;

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// `repository:tag`.
    pub reference: String,
    /// The engine's id.
    pub id: String,
    /// Digest of the inputs.
    pub inputs: String,
    /// Whether it was built now.
    pub new: bool,
}

/// Has an image afterwards that was inspected and is fit for use. The plugins' directories must be there.
///
/// One from an earlier build that is not fit is built again, since its base may have been repaired.
///
/// # Errors
/// As [`build`] and [`inspect::inspect`]; nothing is left of an image that is not fit.
pub async fn fit(
    docker: &Docker,
    image: &ConnectImage,
    cache: &Path,
    progress: &Progress,
) -> Result<Built> {
    loop {
        let built = build(docker, image, progress).await?;
        let Err(error) = inspect::inspect(docker, image, &built.id, cache, progress).await else {
            return Ok(built);
        };
        if error.code != Code::GateFailed {
            return Err(error);
        }
        remove(docker, &built.reference).await?;
        if built.new {
            return Err(error.hint(format!(
                "docker pull {}, then run the same command again",
                image.base
            )));
        }
        progress.observe("the image that is there is not fit for use: building it again");
    }
}

async fn remove(docker: &Docker, reference: &str) -> Result<()> {
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    docker
        .remove_image(reference, Some(options), None)
        .await
        .map(drop)
        .map_err(|error| failed(&format!("remove {reference}"), &error))
}

/// Has the image afterwards. The plugins' directories must be there.
///
/// # Errors
/// A step of the build fails, or the engine or a plugin's directory cannot be used.
pub async fn build(docker: &Docker, image: &ConnectImage, progress: &Progress) -> Result<Built> {
    let inputs = image.inputs()?;
    let digest = inputs.digest();
    let reference = format!("{}:{}", image.repository, inputs.tag());
    let architecture = docker::facts(docker).await?.architecture;
    if let Some(id) = existing(docker, &reference, &digest, &architecture).await? {
        return Ok(Built {
            reference,
            id,
            inputs: digest,
            new: false,
        });
    }
    for plugin in &image.plugins {
        if !plugin.dir.is_dir() {
            return Err(Error::new(
                Code::Artifact,
                format!(
                    "{} is not in the cache: {}",
                    plugin.name,
                    plugin.dir.display()
                ),
            ));
        }
    }
    run(docker, image, inputs.files, &reference, &digest, progress).await?;
    let id = existing(docker, &reference, &digest, &architecture).await?;
    let id = id.ok_or_else(|| {
        Error::new(
            Code::Service,
            format!("{reference} was built, but the engine has it for another architecture or not at all"),
        )
        .detail(format!("the engine runs on {architecture}"))
        .hint("unset DOCKER_DEFAULT_PLATFORM, and remove a base image of another architecture")
    })?;
    Ok(Built {
        reference,
        id,
        inputs: digest,
        new: true,
    })
}

/// The id of the image of exactly these inputs.
async fn existing(
    docker: &Docker,
    reference: &str,
    digest: &str,
    architecture: &str,
) -> Result<Option<String>> {
    let seen = match docker.inspect_image(reference).await {
        Ok(seen) => seen,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(failed(&format!("look at {reference}"), &error)),
    };
    let label = seen
        .config
        .and_then(|config| config.labels)
        .and_then(|labels| labels.get(INPUTS_LABEL).cloned());
    let same = label.as_deref() == Some(digest)
        && seen.architecture.as_deref().map(docker::architecture) == Some(architecture);
    Ok(seen.id.filter(|_| same))
}

async fn run(
    docker: &Docker,
    image: &ConnectImage,
    files: Vec<super::digest::File>,
    reference: &str,
    digest: &str,
    progress: &Progress,
) -> Result<()> {
    let labels = HashMap::from([(INPUTS_LABEL, digest), (MANAGED_LABEL.0, MANAGED_LABEL.1)]);
    let options = BuildImageOptionsBuilder::default()
        .dockerfile("Dockerfile")
        .t(reference)
        .buildargs(&HashMap::from([("BASE", image.base.as_str())]))
        .labels(&labels)
        // Everything was fetched and verified before: no step may bring in more.
        .networkmode("none")
        .rm(true)
        .forcerm(true)
        .build();
    let (send, receive) = mpsc::channel(8);
    let plugins = image.plugins.clone();
    let packing = tokio::task::spawn_blocking(move || context::write(&files, &plugins, send));
    let body = stream::unfold(receive, |mut receive| async {
        let bytes = receive.recv().await?;
        Some((Ok(bytes), receive))
    });
    progress.observe("sending the build context");
    let mut answers = docker
        .build_image(options, None, Some(bollard::body_try_stream(body)))
        .boxed();
    let mut log = Log::default();
    let result = loop {
        match answers.try_next().await {
            Ok(Some(answer)) => log.hear(answer, progress),
            Ok(None) => break Ok(()),
            Err(error) => break Err(log.error(reference, &image.base, &error)),
        }
    };
    drop(answers);
    match packing.await {
        Ok(Ok(())) => result,
        // An engine that gives up stops reading: its reason is the better one.
        _ if result.is_err() => result,
        Ok(Err(error)) => Err(Error::io(
            "pack the build context from",
            &image.source,
            &error,
        )),
        Err(error) => Err(Error::new(
            Code::Artifact,
            format!("packing failed: {error}"),
        )),
    }
}

/// What a build said.
#[derive(Default)]
struct Log {
    step: Option<String>,
    /// Lines since the step began.
    lines: Vec<String>,
}

impl Log {
    fn hear(&mut self, answer: BuildInfo, progress: &Progress) {
        // A pull of the base image tells its state line by line.
        if let Some(status) = answer.status {
            progress.observe(match answer.id {
                Some(id) => format!("{id}: {status}"),
                None => status,
            });
        }
        for line in answer.stream.unwrap_or_default().lines() {
            let line = line.trim_end();
            if line.is_empty() {
                continue;
            }
            if line.starts_with("Step ") {
                progress.observe(line);
                self.step = Some(line.to_owned());
                self.lines.clear();
            } else {
                self.lines.push(line.to_owned());
            }
        }
    }

    fn error(&self, reference: &str, base: &str, error: &bollard::errors::Error) -> Error {
        use bollard::errors::Error as Engine;
        let reason = match error {
            Engine::DockerStreamError { error } => error.clone(),
            Engine::DockerResponseServerError { message, .. } => message.clone(),
            other => other.to_string(),
        };
        let at = match &self.step {
            Some(step) => format!(" in {step}"),
            None => String::new(),
        };
        let failure = Error::new(
            Code::Service,
            format!("building {reference} failed{at}: {reason}"),
        )
        .details(self.lines[self.lines.len().saturating_sub(TAIL)..].to_vec());
        if self.step.as_ref().is_none_or(|step| step.contains("FROM ")) {
            failure.hint(format!("try: docker pull {base}"))
        } else {
            failure
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> BuildInfo {
        BuildInfo {
            stream: Some(text.into()),
            ..BuildInfo::default()
        }
    }

    #[test]
    fn an_error_shows_its_step_and_only_that_steps_lines() {
        let mut log = Log::default();
        for text in [
            "Step 1/3 : FROM x\n",
            " ---> 1\n",
            "Step 2/3 : RUN check\n",
            "bad jar\n\n",
        ] {
            log.hear(said(text), &Progress::silent());
        }
        let engine = bollard::errors::Error::DockerStreamError {
            error: "returned a non-zero code: 1".into(),
        };
        let error = log.error("a:b", "x", &engine);
        assert!(
            error.message.contains("in Step 2/3 : RUN check: returned"),
            "{error}"
        );
        assert_eq!(error.details, ["bad jar"]);
        assert_eq!(error.hint, None);
        let early = Log::default().error("a:b", "x", &engine);
        assert_eq!(early.hint.as_deref(), Some("try: docker pull x"));
    }
}
