//! Commands as a person types them: each is this program again, in a process of its own.

use crate::error::{Code, Error, Result};
use crate::printed::{self, TOOL};
use crate::process::{self, Job, ProcessError};

/// How often a command that refuses and names another one is followed.
const FOLLOWED: usize = 2;

/// Types commands about one environment.
#[derive(Debug, Default)]
pub struct Typed {
    options: Vec<String>,
}

impl Typed {
    /// What each command is given that names no profile itself.
    pub fn new(options: Vec<String>) -> Self {
        Typed { options }
    }

    /// Runs a command to its end, and returns its standard output.
    ///
    /// # Errors
    /// It failed; with what it said.
    pub async fn run(&self, words: &[&str]) -> Result<String> {
        let mut words: Vec<String> = words.iter().map(ToString::to_string).collect();
        if !words.iter().any(|it| it == "--profile") {
            words.extend(self.options.iter().cloned());
        }
        let program = process::this_program();
        let program = program.map_err(|error| Error::io("find", "this program", &error))?;
        let ended = process::capture(&Job::new(program, &words), |_| {}).await;
        ended.map_err(|error| {
            let what = format!("{TOOL}{} failed", words.join(" "));
            let said = match &error {
                ProcessError::Ended { tail, .. } => tail.clone(),
                ProcessError::Start { .. } => vec![error.to_string()],
            };
            Error::new(Code::Process, what).details(said)
        })
    }

    /// Does what a finding prints as the next commands. One that is refused and names another one is a mistake of whoever
    /// printed it: it is counted, and the other one is done. Returns what was refused.
    ///
    /// # Errors
    /// The last one failed, or nothing of it is a command.
    pub async fn follow(&self, next: &str) -> Result<Vec<String>> {
        let mut refused = Vec::new();
        let mut todo = commands(next);
        if todo.is_empty() {
            return Err(Error::new(Code::Process, format!("no command in `{next}`")));
        }
        while !todo.is_empty() {
            let words = todo.remove(0);
            let each: Vec<&str> = words.iter().map(String::as_str).collect();
            let Err(error) = self.run(&each).await else {
                continue;
            };
            let lines = error.details.iter();
            let named = lines.filter_map(|line| line.split_once("next: "));
            let named: Vec<Vec<String>> = named.flat_map(|(_, next)| commands(next)).collect();
            if named.is_empty() || refused.len() == FOLLOWED {
                return Err(error);
            }
            refused.push(format!("{TOOL}{}", words.join(" ")));
            todo.splice(0..0, named);
        }
        Ok(refused)
    }
}

/// The commands that a text says to run: all where one comes after the other, else the last, which is the most particular.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let text = printed::confirmed(text, false);
    let mut found: Vec<Vec<String>> = text.split(TOOL).skip(1).map(words).collect();
    found.retain(|words| !words.is_empty());
    if !text.contains("then: ") && found.len() > 1 {
        found.drain(..found.len() - 1);
    }
    found
}

/// The words as a shell reads them, up to where punctuation ends the command.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), String::new(), false);
    let text = text.lines().next().unwrap_or_default();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_last = rest.peek().is_none_or(|next| *next == ' ');
        match c {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => word.push(c),
            '\\' => word.extend(rest.next()),
            '`' | ')' => break,
            ',' | ';' | ':' | '.' if is_last => break,
            ' ' => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_are_printed() {
        let read = |text: &str| {
            let all = commands(text).into_iter();
            all.map(|words| words.join("|")).collect::<Vec<_>>()
        };
        assert_eq!(
            read("cargo xtask connector resume a-b --profile chaos"),
            ["connector|resume|a-b|--profile|chaos"]
        );
        assert_eq!(
            read("cargo xtask up, then: cargo xtask reset-connector a"),
            ["up", "reset-connector|a|--yes"]
        );
        assert_eq!(
            read("start it (cargo xtask up), or: cargo xtask up --set 'a b=c'."),
            ["up|--set|a b=c"]
        );
        assert!(read("kill -CONT 7").is_empty());
    }
}
