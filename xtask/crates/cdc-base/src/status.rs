//! What a gate is: kstatus's words, with the message that explains each.

/// The state of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum State {
    /// As wanted.
    Current,
    /// On its way.
    InProgress,
    /// Broken in a way that waiting does not fix.
    Failed,
    /// Not there.
    NotFound,
    /// Could not be observed.
    Unknown,
}

/// What keeps a pod from working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It needs more memory than its limit.
    OutOfMemory,
    /// Its program is not in its image.
    ProgramMissing,
    /// Its node cannot get its image.
    ImageUnavailable,
    /// No node takes it.
    Unschedulable,
    /// Its volume is not made.
    VolumePending,
    /// A volume, Secret or ConfigMap cannot be mounted.
    MountFailed,
}

/// A state with the message that explains it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// The state.
    pub state: State,
    /// Why, in one line.
    pub message: String,
    /// Lines that prove it, such as the end of a log.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
    /// What keeps a pod from working, where that is known, and the clause of the message that says so.
    #[serde(skip)]
    pub cause: Option<(Cause, String)>,
    /// The next thing to do, where the state is final.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Status {
    fn new(state: State, message: impl Into<String>) -> Self {
        Status {
            state,
            message: message.into(),
            evidence: Vec::new(),
            cause: None,
            next: None,
        }
    }

    /// As wanted.
    pub fn current(message: impl Into<String>) -> Self {
        Status::new(State::Current, message)
    }

    /// On its way.
    pub fn in_progress(message: impl Into<String>) -> Self {
        Status::new(State::InProgress, message)
    }

    /// Broken in a way that waiting does not fix.
    pub fn failed(message: impl Into<String>) -> Self {
        Status::new(State::Failed, message)
    }

    /// Not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Status::new(State::NotFound, message)
    }

    /// Could not be observed.
    pub fn unknown(message: impl Into<String>) -> Self {
        Status::new(State::Unknown, message)
    }

    /// Adds lines that prove the status.
    #[must_use]
    pub fn with_evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }

    /// Adds the next thing to do.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}
