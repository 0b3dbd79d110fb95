//! The crate-wide error: what went wrong, where, why, and the next thing to do.
//!
//! Clients return typed errors of their own; these become an [`Error`] where a stable code and a
//! hint can be attached.

use std::fmt;
use std::path::PathBuf;

/// Process exit codes. They are part of the command line's contract (see `README.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// The command ran and failed.
    Failed = 1,
    /// A comparison found differences.
    Differences = 2,
    /// The command line or a profile is wrong; nothing was started.
    BadInput = 3,
    /// Something that this machine must provide is missing.
    Precondition = 4,
    /// A gate did not become current in time.
    TimedOut = 5,
    /// Interrupted by the user.
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Stable error codes: scripts may match them, so a code is never reused for another meaning.
macro_rules! codes {
    ($(#[doc = $doc:literal] $name:ident = $text:literal => $exit:ident,)*) => {
        /// A stable, machine-readable name of a kind of error.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $(#[doc = $doc] $name,)* }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$name => $doc,)* }.trim()
            }

            /// The name as printed in messages and JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The exit code that a command ends with on this error.
            pub fn exit(self) -> Exit {
                match self { $(Code::$name => Exit::$exit,)* }
            }
        }
    };
}

codes! {
    /// A command-line argument does not fit.
    Usage = "USAGE" => BadInput,
    /// A profile, or a file it names, does not exist.
    ProfileNotFound = "PROFILE_NOT_FOUND" => BadInput,
    /// A profile is not YAML, has a wrong type, an unknown key, or contradicts itself.
    ProfileInvalid = "PROFILE_INVALID" => BadInput,
    /// A template names a variable that the profile does not give, or is malformed.
    Template = "TEMPLATE" => BadInput,
    /// The plan's graph is not a graph that can run: a cycle or an unknown dependency.
    Plan = "PLAN" => Failed,
    /// A prerequisite is not installed here.
    Missing = "PREREQUISITE_MISSING" => Precondition,
    /// A port that the profile wants belongs to another process.
    PortTaken = "PORT_TAKEN" => Precondition,
    /// A directory of the environment cannot be used.
    Directory = "DIRECTORY" => Precondition,
    /// Another run holds the environment.
    Locked = "LOCKED" => Precondition,
    /// The environment does not exist: nothing was brought up.
    NotUp = "NOT_UP" => Precondition,
    /// The platform is not available in this version or on this machine.
    Platform = "PLATFORM" => Precondition,
    /// An artifact could not be had or its digest is wrong.
    Artifact = "ARTIFACT" => Failed,
    /// A process could not be started, or ended when it should not have.
    Process = "PROCESS" => Failed,
    /// A gate saw a state that cannot become current by waiting.
    GateFailed = "GATE_FAILED" => Failed,
    /// A gate was not current before its deadline.
    GateTimeout = "GATE_TIMEOUT" => TimedOut,
    /// A service refused or broke a request.
    Service = "SERVICE" => Failed,
    /// What exists differs from what the profile asks for in a way that is not changed silently.
    Drift = "DRIFT" => Failed,
    /// The pipeline does not carry changes as it should.
    Verify = "VERIFY_FAILED" => Failed,
    /// A file could not be read or written.
    Io = "IO" => Failed,
    /// One of the development checks failed.
    Check = "CHECK_FAILED" => Failed,
    /// Interrupted by a signal.
    Interrupted = "INTERRUPTED" => Interrupted,
}

/// A place in a text file. Lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file as the user knows it, or the name of another origin (`--set kafka.port`).
    pub file: String,
    /// Line from 1; 0 when the origin has no lines.
    pub line: usize,
    /// Column from 1; 0 when unknown.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// An error as the user reads it.
#[derive(Debug)]
pub struct Error {
    /// Stable code, which also decides the exit code.
    pub code: Code,
    /// One sentence: what is wrong.
    pub message: String,
    /// Where it is wrong, if it is in a text.
    pub at: Option<Box<Location>>,
    /// Evidence: log lines, the cause as the library told it.
    pub details: Vec<String>,
    /// The next command or action.
    pub hint: Option<String>,
    /// Other errors of the same run, independent of this one.
    pub others: Vec<Error>,
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A new error with the code and the sentence that says what is wrong.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error {
            code,
            message: message.into(),
            at: None,
            details: Vec::new(),
            hint: None,
            others: Vec::new(),
        }
    }

    /// The first of several errors, with the others in it; none where there is none.
    pub fn together(errors: impl IntoIterator<Item = Error>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        first.others.extend(errors);
        Some(first)
    }

    /// Adds the next thing to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the known name that may have been meant, or else another thing to do.
    #[must_use]
    pub fn meant<'a>(
        self,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
        otherwise: impl Into<String>,
    ) -> Self {
        match nearest(name, known) {
            Some(near) => self.hint(format!("did you mean `{near}`?")),
            None => self.hint(otherwise),
        }
    }

    /// Adds the place in a text.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.at = Some(Box::new(location));
        self
    }

    /// Adds a line of evidence.
    #[must_use]
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Adds several lines of evidence.
    #[must_use]
    pub fn details(mut self, lines: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(lines);
        self
    }

    /// An input or output error on a path.
    pub fn io(action: &str, path: impl Into<PathBuf>, source: &std::io::Error) -> Self {
        Error::new(
            Code::Io,
            format!("cannot {action} {}: {source}", path.into().display()),
        )
    }

    /// The error as JSON, for `--output json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code.as_str(),
            "message": self.message,
            "at": self.at.as_ref().map(ToString::to_string),
            "details": self.details,
            "hint": self.hint,
            "others": self.others.iter().map(Error::to_json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        write!(f, "{} [{}]", self.message, self.code.as_str())?;
        for line in &self.details {
            write!(f, "\n  | {line}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  next: {hint}")?;
        }
        for other in &self.others {
            write!(f, "\nerror: {other}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The innermost cause of a transport error: `connection refused` rather than `error sending`.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

/// The candidate closest to `name`, if one is close enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Whether a text is a pattern rather than a name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The error for a name that nothing has; `cargo xtask <what> list` has all of them.
pub fn unknown(what: &str, text: &str, known: &[&str]) -> Error {
    let list = format!("cargo xtask {what} list");
    if is_pattern(text) {
        return Error::new(Code::Usage, format!("no {what} fits `{text}`")).hint(list);
    }
    let error = Error::new(Code::Usage, format!("there is no {what} `{text}`"));
    match nearest(text, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`? All: {list}")),
        None => error.hint(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_typo_and_refuses_a_stranger() {
        let names = ["postgres", "mongodb", "clickhouse", "kafka"];
        assert_eq!(nearest("postgrse", names), Some("postgres"));
        assert_eq!(nearest("clickhose", names), Some("clickhouse"));
        assert_eq!(nearest("zookeeper", names), None);
    }

    #[test]
    fn an_error_reads_what_where_and_next() {
        let error = Error::new(Code::ProfileInvalid, "unknown key `prot`")
            .at(Location {
                file: "profiles/x.yaml".into(),
                line: 3,
                column: 5,
            })
            .hint("did you mean `port`?");
        assert_eq!(
            error.to_string(),
            "profiles/x.yaml:3:5: unknown key `prot` [PROFILE_INVALID]\n  next: did you mean `port`?"
        );
    }

    proptest::proptest! {
        #[test]
        fn nearest_is_a_candidate_and_none_is_nearer(
            name in "[a-z_]{0,8}",
            candidates in proptest::collection::vec("[a-z_]{0,8}", 0..6),
        ) {
            let known = || candidates.iter().map(String::as_str);
            let found = nearest(&name, known());
            let distance = |other: &str| strsim::damerau_levenshtein(&name, other);
            match found {
                Some(found) => {
                    proptest::prop_assert!(known().any(|other| other == found));
                    proptest::prop_assert!(known().all(|other| distance(other) >= distance(found)));
                    proptest::prop_assert!(distance(found) <= found.len().max(name.len()).div_ceil(3));
                }
                None => proptest::prop_assert!(known().all(|other| other != name)),
            }
        }

        #[test]
        fn a_single_slip_in_a_name_is_understood(name in "[a-z]{4,12}", at in 0_usize..4) {
            let mut slip = name.clone();
            slip.remove(at);
            proptest::prop_assert_eq!(nearest(&slip, [name.as_str()]), Some(name.as_str()));
        }
    }
}
