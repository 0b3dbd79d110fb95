//! Lock files: one line per file, `<sha256>  <bytes>  <file name>`.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Code, Error, Location, Result};
use crate::files::hex;

/// A file with its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locked {
    /// File name.
    pub file: String,
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Size.
    pub bytes: u64,
}

/// Reads a lock file.
///
/// # Errors
/// The file is not there, or a line is malformed.
pub fn read(path: &Path) -> Result<Vec<Locked>> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        Error::new(
            Code::Artifact,
            format!(
                "no digests are locked for this version: cannot read {}: {source}",
                path.display()
            ),
        )
        .hint("use a version that is locked, or lock this one: cargo xtask lock")
    })?;
    parse(&path.display().to_string(), &text)
}

/// Reads a lock file's text. `file` is the name used in messages.
///
/// # Errors
/// A line is malformed, at its place.
pub fn parse(file: &str, text: &str) -> Result<Vec<Locked>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            entry(line).ok_or_else(|| {
                Error::new(Code::Artifact, "expected `<sha256>  <bytes>  <file name>`").at(
                    Location {
                        file: file.to_owned(),
                        line: index + 1,
                        column: 1,
                    },
                )
            })
        })
        .collect()
}

fn entry(line: &str) -> Option<Locked> {
    let mut fields = line.split_whitespace();
    let sha256 = fields.next()?.to_owned();
    let bytes = fields.next()?.parse().ok()?;
    let file = fields.next()?.to_owned();
    let hex = sha256.len() == 64
        && sha256
            .chars()
            .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let plain = !file.contains(['/', '\\']) && file != "..";
    (hex && plain && fields.next().is_none()).then_some(Locked {
        file,
        sha256,
        bytes,
    })
}

/// Writes a lock file's text, sorted by file name.
pub fn format(mut files: Vec<Locked>) -> String {
    files.sort_by(|a, b| a.file.cmp(&b.file));
    files
        .iter()
        .map(|locked| format!("{}  {}  {}\n", locked.sha256, locked.bytes, locked.file))
        .collect()
}

/// A text's SHA-256 in hex.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Measures a file.
///
/// # Errors
/// It cannot be read.
pub fn measure(path: &Path) -> std::io::Result<Locked> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 1 << 18];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        bytes += count as u64;
    }
    Ok(Locked {
        file: path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        sha256: hex(&hasher.finalize()),
        bytes,
    })
}

/// Proves that the file is the locked one.
///
/// # Errors
/// It is missing, or differs.
pub fn verify(path: &Path, locked: &Locked) -> Result<()> {
    let found = measure(path).map_err(|source| Error::io("read", path, &source))?;
    if found.sha256 == locked.sha256 {
        return Ok(());
    }
    Err(Error::new(
        Code::Artifact,
        format!("{} is not the file that was locked", locked.file),
    )
    .detail(format!("locked sha256 {} ({} bytes)", locked.sha256, locked.bytes))
    .detail(format!("found  sha256 {} ({} bytes)", found.sha256, found.bytes))
    .hint("do not use it: a mirror serves something else; remove it from the mirror or from ~/.m2, then rerun"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_reads_back() {
        let hash = "a".repeat(64);
        let text = format!("# comment\n{hash}  12  b.jar\n{hash}  3  a.jar\n");
        let files = parse("x.lock", &text).expect("valid");
        assert_eq!(files[0].file, "b.jar");
        assert_eq!(
            format(files),
            format!("{hash}  3  a.jar\n{hash}  12  b.jar\n")
        );
    }

    #[test]
    fn malformed_lines_are_placed() {
        let hash = "a".repeat(64);
        for line in [
            "abc  1  a.jar".into(),
            format!("{hash}  x  a.jar"),
            format!("{hash}  1  ../a"),
            format!("{hash}  1"),
        ] {
            let error = parse("x.lock", &format!("# c\n{line}\n")).expect_err(&line);
            assert!(error.to_string().starts_with("x.lock:2:1: "), "{error}");
        }
    }

    #[test]
    fn a_wrong_file_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.jar");
        std::fs::write(&path, "content").expect("written");
        let right = measure(&path).expect("measured");
        assert_eq!(right.sha256, digest("content"));
        verify(&path, &right).expect("right");
        let wrong = Locked {
            sha256: "0".repeat(64),
            ..right
        };
        assert!(
            verify(&path, &wrong)
                .expect_err("wrong")
                .message
                .contains("a.jar")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,200}|([0-9a-f]{64}  [0-9]{1,25}  [a-z./ ]{1,9}\n){0,4}") {
            if let Ok(files) = parse("x.lock", &text) {
                let again = parse("x.lock", &format(files.clone())).expect("its own text");
                proptest::prop_assert_eq!(again.len(), files.len());
                proptest::prop_assert!(files.iter().all(|locked| again.contains(locked)));
                let escapes = |name: &str| std::path::Path::new(name).components().count() != 1;
                proptest::prop_assert!(!files.iter().any(|locked| escapes(&locked.file)));
            }
        }
    }
}
