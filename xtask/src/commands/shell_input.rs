//! The lines that `shell` is given: typed, with a history that stays with the environment, or piped.
//!
//! Reading blocks until the user types: it has a thread of its own, which reads a line when it is asked for one.

use std::io::BufRead;
use std::path::Path;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use tokio::sync::mpsc;

use crate::error::{Code, Error, Result};
use crate::profile::names_secret;

/// What comes next.
pub(super) enum Typed {
    /// A line, without its end.
    Line(String),
    /// The user took back what was typed.
    Dropped,
    /// There is no more.
    End,
}

/// Where lines come from.
pub(super) struct Input {
    asks: mpsc::Sender<String>,
    lines: mpsc::Receiver<Typed>,
}

impl Input {
    /// A terminal, with the lines that were typed before.
    ///
    /// # Errors
    /// The terminal cannot be used.
    pub(super) fn terminal(history: &Path) -> Result<Self> {
        let unusable = |error: ReadlineError| {
            Error::new(Code::Io, format!("cannot read from the terminal: {error}"))
        };
        let mut editor = DefaultEditor::new().map_err(unusable)?;
        // The first time there is none.
        let _none = editor.load_history(history);
        let history = history.to_owned();
        Ok(Self::of(move |prompt| {
            edited(&mut editor, &history, prompt)
        }))
    }

    /// Standard input, without a prompt.
    pub(super) fn piped() -> Self {
        Self::of(|_| {
            let mut line = String::new();
            match std::io::stdin().lock().read_line(&mut line) {
                Ok(0) | Err(_) => Typed::End,
                Ok(_) => Typed::Line(line.trim_end_matches('\n').to_owned()),
            }
        })
    }

    fn of(mut read: impl FnMut(&str) -> Typed + Send + 'static) -> Self {
        let (asks, mut asked) = mpsc::channel::<String>(1);
        let (says, lines) = mpsc::channel(1);
        std::thread::spawn(move || {
            while let Some(prompt) = asked.blocking_recv() {
                if says.blocking_send(read(&prompt)).is_err() {
                    return;
                }
            }
        });
        Input { asks, lines }
    }

    /// The next line.
    pub(super) async fn line(&mut self, prompt: String) -> Typed {
        match self.asks.send(prompt).await {
            Ok(()) => self.lines.recv().await.unwrap_or(Typed::End),
            Err(_) => Typed::End,
        }
    }
}

fn edited(editor: &mut DefaultEditor, history: &Path, prompt: &str) -> Typed {
    match editor.readline(prompt) {
        Ok(line) => {
            let kept = !line.trim().is_empty() && !names_secret(&line);
            if kept && editor.add_history_entry(&line).unwrap_or(false) {
                // A history that cannot be written is no reason to stop.
                let _unwritten = editor.append_history(history);
            }
            Typed::Line(line)
        }
        Err(ReadlineError::Interrupted) => Typed::Dropped,
        Err(_) => Typed::End,
    }
}
