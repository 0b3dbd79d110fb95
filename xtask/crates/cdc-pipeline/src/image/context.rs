//! What is sent to the engine for a build: the files beside the Dockerfile and the plugins.

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Plugin;
use super::digest::File;
use crate::error::{Code, Error, Result};

/// Beside the Dockerfile, but not part of the image: the list of all versions of all plugins, and
/// the names that are computed from the rest.
const NOT_SENT: [&str; 2] = ["plugins.yaml", "tags.yaml"];
/// Where the plugins lie in the context.
const PLUGINS: &str = "plugins";
/// Bytes of the context on their way at once.
const CHUNK: usize = 256 * 1024;

/// The files of the directory with the Dockerfile that decide what is in the image, as they go
/// into it.
///
/// # Errors
/// The directory cannot be read, or holds what is neither file nor directory.
pub fn files(source: &Path) -> Result<Vec<File>> {
    let mut files = Vec::new();
    collect(source, "", &mut files)?;
    files.retain(|file| !NOT_SENT.contains(&file.path.as_str()));
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, prefix: &str, files: &mut Vec<File>) -> Result<()> {
    let io = |source: io::Error| Error::io("read", dir, &source);
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        let kind = entry.file_type().map_err(io)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() {
            let content = std::fs::read(entry.path())
                .map_err(|source| Error::io("read", entry.path(), &source))?;
            files.push(File::normalized(path, content));
        } else {
            return Err(Error::new(
                Code::Artifact,
                format!(
                    "{} is neither a file nor a directory",
                    entry.path().display()
                ),
            )
            .hint("the build context holds plain files only: links differ between systems"));
        }
    }
    Ok(())
}

/// Writes the context as a tar archive into the channel. To be called where blocking is allowed.
/// The same inputs give the same bytes.
///
/// # Errors
/// A plugin's directory cannot be read, or the receiver is gone.
pub fn write(files: &[File], plugins: &[Plugin], into: mpsc::Sender<Bytes>) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(CHUNK, Channel(into)));
    for file in files {
        let size = file.content.len() as u64;
        append(
            &mut archive,
            &file.path,
            file.mode,
            size,
            file.content.as_slice(),
        )?;
    }
    let mut plugins: Vec<&Plugin> = plugins.iter().collect();
    plugins.sort_by(|one, two| one.name.cmp(&two.name));
    directory(&mut archive, PLUGINS)?;
    for plugin in plugins {
        let root = format!("{PLUGINS}/{}", plugin.name);
        directory(&mut archive, &root)?;
        tree(&mut archive, &plugin.dir, &root)?;
    }
    archive.into_inner()?.flush()
}

fn tree(archive: &mut tar::Builder<impl Write>, dir: &Path, prefix: &str) -> io::Result<()> {
    let mut entries = std::fs::read_dir(dir)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            directory(archive, &path)?;
            tree(archive, &entry.path(), &path)?;
        } else {
            let file = std::fs::File::open(entry.path())?;
            let size = file.metadata()?.len();
            append(archive, &path, 0o644, size, file)?;
        }
    }
    Ok(())
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    path: &str,
    mode: u32,
    size: u64,
    content: impl io::Read,
) -> io::Result<()> {
    let mut header = header(mode);
    header.set_size(size);
    archive.append_data(&mut header, path, content)
}

fn directory(archive: &mut tar::Builder<impl Write>, path: &str) -> io::Result<()> {
    let mut header = header(0o755);
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    archive.append_data(&mut header, format!("{path}/"), io::empty())
}

fn header(mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// A writer whose bytes another task reads.
struct Channel(mpsc::Sender<Bytes>);

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Bytes::copy_from_slice(bytes))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[File], plugins: &[Plugin]) -> Vec<u8> {
        let (send, mut receive) = mpsc::channel(4096);
        write(files, plugins, send).expect("written");
        let mut bytes = Vec::new();
        while let Some(chunk) = receive.blocking_recv() {
            bytes.extend_from_slice(&chunk);
        }
        bytes
    }

    #[test]
    fn the_context_holds_the_files_and_each_plugin_in_its_directory() {
        let dir = tempfile::tempdir().expect("a directory");
        let source = dir.path().join("source");
        std::fs::create_dir_all(source.join("more")).expect("made");
        for (name, text) in [
            ("Dockerfile", "FROM x\r\n"),
            ("plugins.yaml", "all"),
            ("tags.yaml", "names"),
            ("more/run.sh", "#!/bin/sh\n"),
        ] {
            std::fs::write(source.join(name), text).expect("written");
        }
        let plugin = dir.path().join("cache/debezium-1-abc/debezium-connector-x");
        std::fs::create_dir_all(&plugin).expect("made");
        std::fs::write(plugin.join("x.jar"), "jar").expect("written");
        let plugin = Plugin {
            name: "debezium-x".into(),
            coordinates: "g:a:1".into(),
            sha256: String::new(),
            class: "io.X".into(),
            dir: dir.path().join("cache/debezium-1-abc"),
        };
        let files = files(&source).expect("read");
        let bytes = archive(&files, std::slice::from_ref(&plugin));
        let mut reader = tar::Archive::new(bytes.as_slice());
        let seen: Vec<(String, u32, u64, u64)> = reader
            .entries()
            .expect("a tar")
            .map(|entry| {
                let entry = entry.expect("an entry");
                let path = entry.path().expect("a path").display().to_string();
                let header = entry.header();
                let mtime = header.mtime().expect("a time");
                (path, header.mode().expect("a mode"), entry.size(), mtime)
            })
            .collect();
        let expected = [
            ("Dockerfile", 0o644, 7, 0),
            ("more/run.sh", 0o755, 10, 0),
            ("plugins/", 0o755, 0, 0),
            ("plugins/debezium-x/", 0o755, 0, 0),
            ("plugins/debezium-x/debezium-connector-x/", 0o755, 0, 0),
            ("plugins/debezium-x/debezium-connector-x/x.jar", 0o644, 3, 0),
        ];
        let expected: Vec<_> = expected
            .map(|(path, mode, size, mtime)| (path.to_owned(), mode, size, mtime))
            .into();
        assert_eq!(seen, expected);
        assert_eq!(
            bytes,
            archive(&files, &[plugin]),
            "the same inputs, the same bytes"
        );
    }
}
