//! `logs`: print a component's log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::json;

use super::stdout::{self, Reader};
use super::{context, logs_cluster};
use crate::cli::{Global, Logs};
use crate::clock;
use crate::components;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::files;
use crate::observe::logline::{self, Filter, Level, TimeZone};
use crate::platform::Platform;
use crate::report::Output;
use crate::wait;

/// How often a followed log is looked at.
const PERIOD: Duration = Duration::from_millis(100);

pub(super) async fn run(global: &Global, args: &Logs) -> Result<ExitCode> {
    let since = args.since.as_deref();
    let since = since
        .map(|text| logline::since::parse(text, clock::now_ms()))
        .transpose()?;
    let env = context::existing_for(global, |it| components::fits(it, &args.component)).await?;
    let component = components::named(&env, &args.component)?.name();
    if env.platform != Platform::Host {
        return logs_cluster::run(&env, component, args, since, global.output).await;
    }
    let filter = (args.level != Level::Trace || since.is_some())
        .then(|| Filter::new(args.level, since, TimeZone::system()));
    let path = if args.previous {
        env.dirs.previous_log(component)
    } else {
        env.dirs.log(component)
    };
    let mut printer = Printer {
        component: component.to_owned(),
        output: global.output,
        line: Vec::new(),
        filter,
    };
    let mut log = match Log::open(&path) {
        Ok(log) => log,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(no_log(&env, component, args.previous));
        }
        Err(error) => return Err(Error::io("read", path, &error)),
    };
    let text = match &mut printer.filter {
        None => files::last_lines(&mut log.file, args.tail),
        Some(filter) => {
            last_wanted(&mut log.file, filter, args.tail).map(|(wanted, unfinished)| {
                printer.line = unfinished;
                wanted
            })
        }
    }
    .map_err(|source| Error::io("read", &path, &source))?;
    if printer.write(&text)? == Reader::Gone {
        return Ok(ExitCode::SUCCESS);
    }
    if args.follow {
        follow(&mut log, &mut printer).await?;
    }
    printer.end()?;
    Ok(ExitCode::SUCCESS)
}

/// Prints what is written, without an end to wait for: the command ends with Ctrl-C, or when
/// nobody reads any more.
async fn follow(log: &mut Log, printer: &mut Printer) -> Result<()> {
    loop {
        let (old, new) = log
            .more()
            .map_err(|source| Error::io("read", &log.path, &source))?;
        let mut reader = printer.print(&old)?;
        if let Some(new) = new {
            printer.end()?;
            reader = printer.print(&new)?;
        }
        if reader == Reader::Gone {
            return Ok(());
        }
        wait::pause(PERIOD).await;
    }
}

/// Why there is no log.
fn no_log(env: &Environment, component: &str, previous: bool) -> Error {
    let error = |what: String| Error::new(Code::NotUp, format!("{component} {what}"));
    if let Some(address) = env.external(component) {
        return error(format!("is external ({address}): its log is where it runs"));
    }
    if let Some(left) = env.left_out.iter().find(|left| left.component == component) {
        return error("does not run".into()).detail(left.reason.clone());
    }
    if previous {
        let this = format!("cargo xtask logs {component}");
        return error("was not started twice yet".into()).hint(this);
    }
    error(format!("never ran for profile `{}`", env.name)).hint("cargo xtask up")
}

/// Prints a log's bytes as they are, or its lines as JSON.
struct Printer {
    component: String,
    output: Output,
    /// In JSON: a line whose end is not there yet. In text: what was printed since the last line
    /// end.
    line: Vec<u8>,
    /// Which lines are printed. It knows a line only when it is whole.
    filter: Option<Filter>,
}

impl Printer {
    /// Prints what is wanted of these bytes.
    fn print(&mut self, bytes: &[u8]) -> Result<Reader> {
        if self.filter.is_none() {
            return self.write(bytes);
        }
        self.line.extend_from_slice(bytes);
        let mut wanted = Vec::new();
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            if wants(&mut self.filter, &line) {
                wanted.extend(line);
            }
        }
        let unfinished = std::mem::take(&mut self.line);
        let reader = self.write(&wanted);
        self.line = unfinished;
        reader
    }

    /// Prints bytes, whatever they are.
    fn write(&mut self, bytes: &[u8]) -> Result<Reader> {
        if bytes.is_empty() {
            return Ok(Reader::There);
        }
        let mut lines = bytes.to_vec();
        if self.filter.is_none() {
            self.line.append(&mut lines);
            let end = self.line.iter().rposition(|byte| *byte == b'\n');
            lines = self.line.drain(..end.map_or(0, |at| at + 1)).collect();
        }
        match self.output {
            Output::Text => stdout::write(bytes),
            Output::Json => {
                let text = String::from_utf8_lossy(&lines);
                let lines: String = text.lines().map(|line| self.json(line)).collect();
                stdout::write(lines.as_bytes())
            }
        }
    }

    fn json(&self, line: &str) -> String {
        format!("{}\n", json!({ "component": self.component, "line": line }))
    }

    /// Ends a line that its writer did not end.
    fn end(&mut self) -> Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        if self.filter.is_some() {
            let wanted = wants(&mut self.filter, &line);
            let line = [line.as_slice(), b"\n"].concat();
            return match wanted {
                true => self.write(&line).map(drop),
                false => Ok(()),
            };
        }
        match self.output {
            Output::Text => stdout::print("\n"),
            Output::Json => stdout::print(&self.json(&String::from_utf8_lossy(&line))),
        }
    }
}

fn wants(filter: &mut Option<Filter>, line: &[u8]) -> bool {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    filter.as_mut().is_none_or(|filter| filter.wants(text))
}

/// The last `count` lines of a log that are wanted, and the beginning of a line that is being
/// written. All of it is read: what a line belongs to stands above it.
fn last_wanted(
    file: &mut File,
    filter: &mut Filter,
    count: usize,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut last: VecDeque<Vec<u8>> = VecDeque::new();
    let mut reader = BufReader::new(file);
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok((last.into_iter().flatten().collect(), line));
        }
        let text = String::from_utf8_lossy(&line);
        if !filter.wants(text.trim_end_matches(['\n', '\r'])) {
            continue;
        }
        last.push_back(line);
        if last.len() > count {
            last.pop_front();
        }
    }
}

/// An open log. A restart renames it and begins another one of its name.
struct Log {
    path: PathBuf,
    file: File,
    identity: Option<(u64, u64)>,
}

impl Log {
    fn open(path: &Path) -> io::Result<Log> {
        let file = File::open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Log {
            path: path.to_owned(),
            file,
            identity,
        })
    }

    /// What was written since the last look: to this file, and to the one that took its place.
    fn more(&mut self) -> io::Result<(Vec<u8>, Option<Vec<u8>>)> {
        // The name is looked up first: what was written before the rename is then in the old file.
        let next = match Log::open(&self.path) {
            Ok(next) if next.identity != self.identity => Some(next),
            // Between the rename and the new file there is none of this name.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => None,
        };
        let mut old = Vec::new();
        if self.file.stream_position()? > self.file.metadata()?.len() {
            // Another program emptied it.
            self.file.seek(SeekFrom::Start(0))?;
        }
        self.file.read_to_end(&mut old)?;
        let Some(mut next) = next else {
            return Ok((old, None));
        };
        let mut new = Vec::new();
        next.file.read_to_end(&mut new)?;
        *self = next;
        Ok((old, Some(new)))
    }
}

/// Device and number of a file: its name may come to mean another one.
#[cfg(unix)]
fn identity(meta: &std::fs::Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    Some((meta.dev(), meta.ino()))
}

/// Not known here: a file that becomes shorter is then read from its beginning.
#[cfg(not(unix))]
fn identity(_meta: &std::fs::Metadata) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_followed_log_survives_a_restart_and_an_empty_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.log");
        let append = |text: &str| {
            let file = File::options().append(true).create(true).open(&path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .expect("written");
        };
        append("one\n");
        let mut log = Log::open(&path).expect("open");
        let mut more = || log.more().expect("read");
        assert_eq!(more(), (b"one\n".to_vec(), None));
        append("two\n");
        std::fs::rename(&path, dir.path().join("x.previous.log")).expect("renamed");
        assert_eq!(more(), (b"two\n".to_vec(), None));
        append("three\n");
        assert_eq!(more(), (Vec::new(), Some(b"three\n".to_vec())));
        File::create(&path).expect("emptied");
        append("4\n");
        assert_eq!(more(), (b"4\n".to_vec(), None));
        assert_eq!(more(), (Vec::new(), None));
    }
}
