//! From a downloaded file to the files a component runs with.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::error::{Code, Error, Result};

/// How a file becomes part of its artifact's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpack {
    /// As it is.
    Copy,
    /// A gzipped tar archive.
    TarGz,
    /// A jar that holds one xz-compressed tar archive: the layout of zonky's PostgreSQL binaries.
    TxzInJar,
}

/// Unpacks one file into a directory. The tar reader refuses entries that would leave it.
///
/// # Errors
/// The file is damaged or the directory cannot be written.
pub fn unpack(how: Unpack, file: &Path, into: &Path) -> Result<()> {
    let damaged = |error: &dyn std::fmt::Display| {
        Error::new(
            Code::Artifact,
            format!("cannot unpack {}: {error}", file.display()),
        )
    };
    let reader =
        BufReader::new(File::open(file).map_err(|source| Error::io("open", file, &source))?);
    match how {
        Unpack::Copy => {
            let target = into.join(file.file_name().unwrap_or_default());
            // A hard link where the file system can: the same bytes need no second copy.
            match std::fs::hard_link(file, &target) {
                Ok(()) => Ok(()),
                Err(_) => std::fs::copy(file, &target)
                    .map(drop)
                    .map_err(|source| Error::io("copy", target, &source)),
            }
        }
        Unpack::TarGz => {
            untar(flate2::bufread::GzDecoder::new(reader), into).map_err(|e| damaged(&e))
        }
        Unpack::TxzInJar => {
            let mut jar = zip::ZipArchive::new(reader).map_err(|e| damaged(&e))?;
            let name = jar
                .file_names()
                .find(|name| name.ends_with(".txz"))
                .map(str::to_owned)
                .ok_or_else(|| damaged(&"it holds no .txz"))?;
            let entry = jar.by_name(&name).map_err(|e| damaged(&e))?;
            let xz = lzma_rust2::XzReader::new(BufReader::new(entry), true);
            untar(xz, into).map_err(|e| damaged(&e))
        }
    }
}

fn untar(reader: impl Read, into: &Path) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_mtime(false);
    archive.unpack(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_archive_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("x.tar.gz");
        std::fs::write(&file, "not gzip").expect("written");
        for how in [Unpack::TarGz, Unpack::TxzInJar] {
            let error = unpack(how, &file, dir.path()).expect_err("damaged");
            assert!(error.message.contains("x.tar.gz"), "{error}");
        }
    }

    #[test]
    fn a_tar_archive_unpacks() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("x.tar.gz");
        let gz = flate2::write::GzEncoder::new(
            File::create(&file).expect("created"),
            flate2::Compression::fast(),
        );
        let mut builder = tar::Builder::new(gz);
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        header.set_mode(0o755);
        header.set_cksum();
        builder
            .append_data(&mut header, "bin/x", &b"hi"[..])
            .expect("added");
        builder.into_inner().expect("tar").finish().expect("gzip");
        unpack(Unpack::TarGz, &file, dir.path()).expect("unpacked");
        assert_eq!(
            std::fs::read(dir.path().join("bin/x")).expect("there"),
            b"hi"
        );
    }
}
