//! Small file operations that must be safe against a kill at any instant, and how digests are written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};

/// A text file.
///
/// # Errors
/// It cannot be read.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|source| Error::io("read", path, &source))
}

/// A text file; none if it is not there.
///
/// # Errors
/// It is there and cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<String>> {
    if_there(fs::read_to_string(path)).map_err(|source| Error::io("read", path, &source))
}

/// Removes a file if it is there.
///
/// # Errors
/// It cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if_there(fs::remove_file(path)).map(drop);
    removed.map_err(|source| Error::io("remove", path, &source))
}

/// What came of an operation on a file; none if the file is not there.
///
/// # Errors
/// Anything else is wrong.
pub fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file so that a reader sees the old content or the new one, never a part, with the
/// given permissions from its first byte on.
///
/// # Errors
/// The directory cannot be written.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    replace(path, content, mode).map_err(|source| Error::io("write", path, &source))
}

/// As [`write_atomic`], with the system's own error.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("not a file name"))?
        .to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // A file of this name can only be a leftover of a killed process with a recycled pid.
    if_there(fs::remove_file(&temporary))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

/// Writes the file only if its content differs; says whether it did.
///
/// # Errors
/// The file cannot be read or written.
pub fn write_if_changed(path: &Path, content: &[u8], mode: u32) -> Result<bool> {
    let old = if_there(fs::read(path)).map_err(|source| Error::io("write", path, &source))?;
    let differs = old.is_none_or(|old| old != content);
    if differs {
        write_atomic(path, content, mode)?;
    }
    Ok(differs)
}

/// The last `count` lines of a text file; none if it is not there.
///
/// # Errors
/// The file is there and cannot be read.
pub fn tail(path: &Path, count: usize) -> io::Result<Vec<String>> {
    let Some(mut file) = if_there(fs::File::open(path))? else {
        return Ok(Vec::new());
    };
    let bytes = last_lines(&mut file, count)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().map(str::to_owned).collect())
}

/// The last `count` lines of an open file as they are. The file then stands at the end of what was
/// read, so that a reader can go on from there.
///
/// # Errors
/// The file cannot be read.
pub fn last_lines(file: &mut fs::File, count: usize) -> io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    // Long lines included, this much holds the lines anybody asks for at a terminal.
    const WINDOW: u64 = 512 * 1024;
    let length = file.metadata()?.len();
    let window = WINDOW.max((count as u64).saturating_mul(512)).min(length);
    file.seek(SeekFrom::Start(length - window))?;
    let mut bytes = Vec::with_capacity(usize::try_from(window).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    // A line end at the very end belongs to the last line.
    let ends = bytes.iter().enumerate().rev().skip(1);
    let begin = match count {
        0 => bytes.len(),
        _ => ends
            .filter(|(_, byte)| **byte == b'\n')
            .nth(count - 1)
            .map_or(0, |(at, _)| at + 1),
    };
    bytes.drain(..begin);
    Ok(bytes)
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_replace_and_report_change() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.txt");
        assert!(write_if_changed(&path, b"1", 0o600).expect("written"));
        assert!(!write_if_changed(&path, b"1", 0o600).expect("same"));
        assert!(write_if_changed(&path, b"2", 0o600).expect("written"));
        assert_eq!(fs::read(&path).expect("there"), b"2");
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn tail_gives_the_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        assert!(tail(&path, 2).expect("no file").is_empty());
        fs::write(&path, "a\nb\nc\n").expect("written");
        assert_eq!(tail(&path, 2).expect("read"), ["b", "c"]);
        assert_eq!(tail(&path, 9).expect("read"), ["a", "b", "c"]);
        assert!(tail(&path, 0).expect("read").is_empty());
        assert_eq!(tail(&path, usize::MAX).expect("read").len(), 3);
        fs::write(&path, "a\n\nc").expect("written");
        assert_eq!(tail(&path, 2).expect("read"), ["", "c"]);
    }
}
