//! The commands that a text prints, as a person would type them.

#![allow(clippy::panic, reason = "a test fails by a panic")]

use clap::Parser;
use xtask::cli::{
    Cli, Command, ConnectorCommand, DlqCommand, FlowCommand, GroupCommand, ImageCommand,
    SlotCommand, TopicCommand,
};
use xtask::printed::TOOL;

/// Every command in the text, in words; one that no part of the tool understands is a failure.
pub(crate) fn commands(text: &str) -> Vec<Vec<String>> {
    text.match_indices(TOOL)
        .map(|(at, _)| command(&text[at + TOOL.len()..]))
        .collect()
}

/// The commands of lines that say what to do next.
pub(crate) fn next(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .filter(|line| ["next: ", "more: "].iter().any(|it| line.contains(it)))
        .flat_map(commands)
        .collect()
}

/// The longest beginning of the text that is a command: a sentence may go on behind it.
fn command(text: &str) -> Vec<String> {
    let words = words(text.lines().next().unwrap_or_default());
    let found = (1..=words.len())
        .rev()
        .find(|end| parsed(&words[..*end]).is_some());
    let end = found.unwrap_or_else(|| panic!("`{TOOL}{text}` is no command"));
    words[..end].to_vec()
}

/// What the tool makes of these words.
pub(crate) fn parsed(words: &[String]) -> Option<Cli> {
    let words = words.iter().map(String::as_str);
    Cli::try_parse_from(std::iter::once("xtask").chain(words)).ok()
}

/// The words as a shell reads them, up to where punctuation ends the command.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_last = rest.peek().is_none_or(|next| *next == ' ');
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '\\') => word.extend(rest.next()),
            (None, '`' | ')') => break,
            (None, ',' | ';' | ':' | '.') if is_last => break,
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (_, c) => word.push(c),
        }
    }
    words.push(word);
    words
}

/// Every command that a run printed as the next one is whole, and means the environment that the run was given.
#[track_caller]
pub(crate) fn check(args: &[String], said: &str) {
    let given = |words: &[String], option: &str| {
        let at = words.iter().position(|it| it == option)?;
        words.get(at + 1).cloned()
    };
    for words in next(said) {
        for option in ["--profile", "--platform", "--context"] {
            let Some(want) = given(args, option) else {
                continue;
            };
            let is = given(&words, option);
            assert!(is.is_some(), "{args:?} prints {words:?}: no {option}");
            // A version may be shown for another profile; what removes data never is.
            let removes = words.first().is_some_and(|it| it == "down");
            assert!(!removes || is == Some(want), "{args:?} prints {words:?}");
        }
    }
}

/// The text without the options that chose an environment, none of which holds a space.
pub(crate) fn bare(text: &str) -> String {
    let mut words = text.split(' ');
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match ["--profile", "--platform", "--context", "--set"].contains(&word) {
            true => drop(words.next()),
            false => kept.push(word),
        }
    }
    kept.join(" ")
}

/// Whether a command only looks, and ends by itself.
pub(crate) fn only_looks(cli: &Cli) -> bool {
    match &cli.command {
        Command::Status(args) => !args.watch,
        Command::Lag(args) => !args.watch,
        Command::Reconcile(args) => !args.yes && !args.repeat.schedule,
        Command::Diagnose(args) => !args.fix,
        Command::Logs(args) => !args.follow,
        Command::Connector(command) => matches!(
            command,
            ConnectorCommand::List | ConnectorCommand::Status(_) | ConnectorCommand::Config(_)
        ),
        Command::Topic(command) => {
            matches!(command, TopicCommand::List(_) | TopicCommand::Describe(_))
        }
        Command::Flow(command) => matches!(command, FlowCommand::List | FlowCommand::Show(_)),
        Command::Slot(command) => matches!(command, SlotCommand::List(_)),
        Command::Group(command) => {
            matches!(command, GroupCommand::List | GroupCommand::Describe(_))
        }
        Command::Dlq(command) => matches!(command, DlqCommand::List | DlqCommand::Show(_)),
        Command::Image(command) => matches!(command, ImageCommand::List),
        Command::Explain(_) | Command::Versions(_) | Command::Plan(_) | Command::Profile(_) => true,
        _ => false,
    }
}
