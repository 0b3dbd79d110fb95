//! Looks into a built image before it is used. Nothing of it is run: a container is made, never
//! started, and read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, DownloadFromContainerOptionsBuilder, RemoveContainerOptionsBuilder,
};
use bytes::Bytes;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::ConnectImage;
use crate::error::{Code, Error, Result};
use crate::files::{hex, write_atomic};
use crate::plan::Progress;
use crate::platform::docker::{self, failed};
use crate::platform::host::dirs;

/// Kafka's home in Strimzi's images.
const HOME: &str = "/opt/kafka";
/// What Strimzi's operator starts in a Connect pod. Its configuration is rendered by the operator and
/// mounted: the images hold no script for that.
const SCRIPT: &str = "kafka_connect_run.sh";
/// Part of the name of jars that must not be on a class path: Log4j 1 bindings.
const UNWANTED: &str = "reload4j";

/// What is to be found in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Architecture of the machine that runs it, as images name it.
    pub architecture: String,
    /// Connector classes by the plugin directory that holds them.
    pub classes: BTreeMap<String, String>,
}

/// What was found in an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The image's architecture.
    pub architecture: String,
    /// Paths of files below Kafka's home.
    pub files: BTreeSet<String>,
    /// Connector classes by the plugin directory that holds them.
    pub classes: BTreeMap<String, BTreeSet<String>>,
}

/// What is wrong with an image; nothing if it is fine.
pub fn judge(found: &Found, expected: &Expected) -> Vec<String> {
    let mut wrong = Vec::new();
    if found.architecture != expected.architecture {
        wrong.push(format!(
            "it is for {}, and what runs it is {}",
            found.architecture, expected.architecture
        ));
    }
    for file in &found.files {
        let name = file.rsplit('/').next().unwrap_or(file);
        if name.contains(UNWANTED) && name.ends_with(".jar") {
            wrong.push(format!(
                "{HOME}/{file}: a second binding for SLF4J, which takes Kafka's logging over; \
                 use a base image of Kafka 4 or newer"
            ));
        }
    }
    if !found.files.contains(SCRIPT) {
        wrong.push(format!(
            "{HOME}/{SCRIPT} is missing: the base is not one of Strimzi's images"
        ));
    }
    for (plugin, class) in &expected.classes {
        if !found
            .classes
            .get(plugin)
            .is_some_and(|has| has.contains(class))
        {
            wrong.push(format!("{HOME}/plugins/{plugin} has no jar with {class}"));
        }
    }
    wrong
}

/// Inspects the built image; says whether it looked, or had found this very image fine before.
///
/// # Errors
/// Something is wrong with the image, or the engine does not show it.
pub async fn inspect(
    docker: &Docker,
    image: &ConnectImage,
    id: &str,
    cache: &Path,
    progress: &Progress,
) -> Result<bool> {
    let expected = Expected {
        architecture: docker::facts(docker).await?.architecture,
        classes: image
            .plugins
            .iter()
            .map(|plugin| (plugin.name.clone(), plugin.class.clone()))
            .collect(),
    };
    // An id names content and so never changes its meaning; what was looked for belongs to it.
    let key = hex(&Sha256::digest(format!("{id} {expected:?}").as_bytes()));
    let dir = cache.join("inspected-images");
    let proof = dir.join(key);
    if proof.is_file() {
        return Ok(false);
    }
    progress.observe("looking into the image");
    let found = look(docker, id, expected.classes.values().cloned().collect()).await?;
    let wrong = judge(&found, &expected);
    if !wrong.is_empty() {
        return Err(Error::new(
            Code::GateFailed,
            format!("the image for Connect ({id}) is not fit for use"),
        )
        .details(wrong));
    }
    dirs::make(&dir, 0o755)?;
    write_atomic(&proof, id.as_bytes(), 0o644)?;
    Ok(true)
}

/// Reads what an image holds below Kafka's home, and which of the classes are in its plugins.
///
/// # Errors
/// The engine does not show it.
pub async fn look(docker: &Docker, id: &str, classes: Vec<String>) -> Result<Found> {
    let architecture = docker
        .inspect_image(id)
        .await
        .map_err(|error| failed(&format!("look at image {id}"), &error))?
        .architecture
        .unwrap_or_default();
    // The image may have no command of its own, and a container must have one to be made.
    let body = ContainerCreateBody {
        image: Some(id.to_owned()),
        cmd: Some(vec!["/never-started".into()]),
        network_disabled: Some(true),
        ..ContainerCreateBody::default()
    };
    let container = docker
        .create_container(None::<CreateContainerOptions>, body)
        .await
        .map_err(|error| failed(&format!("open image {id}"), &error))?
        .id;
    let result = read(docker, &container, classes).await;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true);
    let removed = docker
        .remove_container(&container, Some(options.build()))
        .await
        .map_err(|error| failed("remove the container that was made to look into it", &error));
    let mut found = result?;
    removed?;
    found.architecture = docker::architecture(&architecture).to_owned();
    Ok(found)
}

async fn read(docker: &Docker, container: &str, classes: Vec<String>) -> Result<Found> {
    let (send, receive) = mpsc::channel::<Bytes>(16);
    let parse = tokio::task::spawn_blocking(move || parse(Receiver::new(receive), &classes));
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(HOME)
        .build();
    let mut stream = Box::pin(docker.download_from_container(container, Some(options)));
    let sent = loop {
        match stream.try_next().await {
            Ok(Some(bytes)) => {
                // The reader may have what it wants: the end of an archive is padding.
                if send.send(bytes).await.is_err() {
                    break Ok(());
                }
            }
            Ok(None) => break Ok(()),
            Err(error) if docker::is_missing(&error) => break Ok(()),
            Err(error) => break Err(failed(&format!("show {HOME} of the image"), &error)),
        }
    };
    drop(send);
    let parsed = parse
        .await
        .map_err(|error| Error::new(Code::Service, format!("reading the image failed: {error}")))?;
    sent?;
    parsed.map_err(|error| {
        let what = format!("the image's archive is damaged: {error}");
        Error::new(Code::Service, what)
    })
}

/// Reads an archive of Kafka's home. One without entries is an image that has no such directory.
fn parse(archive: impl Read, classes: &[String]) -> std::io::Result<Found> {
    let wanted: BTreeMap<String, &String> = classes
        .iter()
        .map(|class| (format!("{}.class", class.replace('.', "/")), class))
        .collect();
    let mut found = Found::default();
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_dir() {
            continue;
        }
        let path = entry.path()?.to_string_lossy().into_owned();
        // The archive's paths begin with the directory's own name.
        let Some((_, file)) = path.split_once('/') else {
            continue;
        };
        let plugin = file
            .strip_prefix("plugins/")
            .and_then(|rest| rest.split('/').next());
        if let Some(plugin) = plugin
            && file.ends_with(".jar")
        {
            let plugin = plugin.to_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let jar = zip::ZipArchive::new(std::io::Cursor::new(bytes))
                .map_err(|error| std::io::Error::other(format!("{file}: {error}")))?;
            let has = jar.file_names().filter_map(|name| wanted.get(name));
            found
                .classes
                .entry(plugin)
                .or_default()
                .extend(has.map(|class| (*class).clone()));
        }
        found.files.insert(file.to_owned());
    }
    Ok(found)
}

/// A reader of what another task sends.
struct Receiver {
    channel: mpsc::Receiver<Bytes>,
    rest: Bytes,
}

impl Receiver {
    fn new(channel: mpsc::Receiver<Bytes>) -> Self {
        Receiver {
            channel,
            rest: Bytes::new(),
        }
    }
}

impl Read for Receiver {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.rest.is_empty() {
            match self.channel.blocking_recv() {
                Some(bytes) => self.rest = bytes,
                None => return Ok(0),
            }
        }
        let count = self.rest.len().min(into.len());
        into[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str = "io.debezium.connector.postgresql.PostgresConnector";

    fn expected() -> Expected {
        Expected {
            architecture: "amd64".into(),
            classes: BTreeMap::from([("debezium-postgres".into(), CLASS.into())]),
        }
    }

    fn jar(entry: &str) -> Vec<u8> {
        let mut jar = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        jar.start_file(entry, zip::write::SimpleFileOptions::default())
            .expect("begun");
        jar.finish().expect("written").into_inner()
    }

    fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, path, content.as_slice())
                .expect("added");
        }
        archive.into_inner().expect("written")
    }

    fn good() -> Vec<(&'static str, Vec<u8>)> {
        vec![
            ("kafka/kafka_connect_run.sh", b"#!".to_vec()),
            ("kafka/libs/slf4j-api-1.7.36.jar", b"never opened".to_vec()),
            (
                "kafka/plugins/debezium-postgres/x/debezium-connector-postgres.jar",
                jar("io/debezium/connector/postgresql/PostgresConnector.class"),
            ),
        ]
    }

    fn wrong(files: &[(&str, Vec<u8>)]) -> Vec<String> {
        let mut found = parse(archive(files).as_slice(), &[CLASS.into()]).expect("read");
        found.architecture = "amd64".into();
        judge(&found, &expected())
    }

    #[test]
    fn a_good_image_is_fine() {
        assert_eq!(wrong(&good()), Vec::<String>::new());
    }

    #[test]
    fn each_fault_is_named() {
        let without = |part: &str| -> Vec<(&str, Vec<u8>)> {
            let keep = |file: &(&str, Vec<u8>)| !file.0.contains(part);
            good().into_iter().filter(keep).collect()
        };
        assert!(
            wrong(&without("kafka_connect_run"))[0].contains("kafka_connect_run.sh is missing")
        );
        assert!(wrong(&without("plugins"))[0].contains(CLASS));
        let mut reload = good();
        reload.push(("kafka/libs/slf4j-reload4j-1.7.36.jar", Vec::new()));
        let told = wrong(&reload);
        assert!(
            told.len() == 1 && told[0].contains("slf4j-reload4j-1.7.36.jar"),
            "{told:?}"
        );
        let mut other = without("plugins");
        let name = "kafka/plugins/debezium-mongodb/debezium-connector-postgres.jar";
        other.push((
            name,
            jar("io/debezium/connector/postgresql/PostgresConnector.class"),
        ));
        assert_eq!(
            wrong(&other).len(),
            1,
            "the class lies in another plugin's directory"
        );
        let mut arm = parse(archive(&good()).as_slice(), &[CLASS.into()]).expect("read");
        arm.architecture = "arm64".into();
        assert!(judge(&arm, &expected())[0].contains("arm64"));
    }

    #[test]
    fn a_damaged_jar_is_an_error_with_its_name() {
        let mut files = good();
        files[2].1 = b"not a jar".to_vec();
        let error = parse(archive(&files).as_slice(), &[CLASS.into()]).expect_err("damaged");
        assert!(
            error
                .to_string()
                .contains("debezium-connector-postgres.jar"),
            "{error}"
        );
    }
}
