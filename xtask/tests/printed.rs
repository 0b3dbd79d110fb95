//! Commands that are printed work as they stand: those that ask carry what answers where nobody is asked.

#![allow(clippy::panic, reason = "a test fails by a panic")]

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "support/commands.rs"]
mod commands;

use std::path::Path;

use clap::{CommandFactory, Parser};
use xtask::cli::{CacheCommand, Cli, Command, DlqCommand, OffsetsCommand, SlotCommand};
use xtask::printed::{ASKING, GROUPS, Options, TOOL, asking_words, carrying, confirmed};

/// Whether a command would refuse where nobody can be asked.
fn refuses(command: &Command) -> bool {
    match command {
        Command::Up(args) => args.prune && !(args.yes || args.dry_run),
        Command::Doctor(args) => args.fix && !args.yes,
        Command::Cache(CacheCommand::Clean(args)) => !(args.yes || args.dry_run),
        Command::Chaos(args) => !(args.yes || args.dry_run),
        Command::Down(args) => !(args.yes || args.keep_data || args.dry_run),
        Command::ResetConnector(args) => !(args.yes || args.dry_run),
        Command::Slot(SlotCommand::Drop(args)) => !(args.yes || args.dry_run),
        Command::Offsets(OffsetsCommand::Restore(args)) => !(args.yes || args.dry_run),
        Command::Dlq(DlqCommand::Redrive(args)) => !(args.yes || args.dry_run),
        Command::Dlq(DlqCommand::Purge(args)) => !(args.yes || args.dry_run),
        _ => false,
    }
}

#[test]
fn every_command_that_can_be_answered_is_known() {
    fn walk(path: &str, command: &clap::Command, found: &mut Vec<String>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name());
            if sub.get_arguments().any(|it| it.get_id() == "yes") {
                found.push(path.trim().to_owned());
            }
            walk(&path, sub, found);
        }
    }
    let mut found = Vec::new();
    walk("", &Cli::command(), &mut found);
    // Without it, `reconcile --repair` says what it would do.
    found.retain(|it| it != "reconcile");
    let mut known = ASKING.map(|(name, _)| name.to_owned());
    found.sort();
    known.sort();
    assert_eq!(found, known);
}

/// Every text of the sources that names a command of this tool.
fn texts(dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        let path = entry.path();
        if path.file_stem().is_some_and(|it| it == "tests") {
            continue;
        }
        if path.is_dir() {
            texts(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            let text = std::fs::read_to_string(&path).expect("text");
            // Texts go on over line ends that are escaped.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let mut joined = String::new();
            for line in text.lines() {
                let line = line.trim();
                if line.starts_with("//") {
                    continue;
                }
                match line.strip_suffix('\\') {
                    Some(part) => joined += part,
                    None => joined += &format!("{line}\n"),
                }
            }
            found.extend(
                joined
                    .lines()
                    .filter(|it| it.contains(TOOL))
                    .map(str::to_owned),
            );
        }
    }
}

fn all_texts() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["src/commands", "src/operate", "crates"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        texts(&folder, &mut found);
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

#[test]
fn groups_are_the_commands_with_a_second_word() {
    let cli = Cli::command();
    let groups = cli.get_subcommands().filter(|it| it.has_subcommands());
    let mut groups: Vec<&str> = groups.map(clap::Command::get_name).collect();
    let mut known = GROUPS;
    groups.sort_unstable();
    known.sort_unstable();
    assert_eq!(groups, known);
}

/// Whatever the tool may print, with names in their places, is understood as it would be printed.
#[test]
fn every_printed_command_is_one_with_what_the_run_was_given() {
    let options = [
        ("--profile", "my shop.yaml"),
        ("--platform", "host"),
        ("--set", "flows.a.key=[it's]"),
    ]
    .map(|(option, value)| (option.to_owned(), value.to_owned()));
    let options = Options {
        chosen: options.to_vec(),
        made: Vec::new(),
    };
    let mut read = 0;
    let lines = all_texts();
    // What a lock is taken for says who has it, and is not for typing.
    let lines = lines.iter().filter(|line| !line.contains("lock::"));
    let literals = lines.flat_map(|line| literals(line));
    for text in literals.filter(|it| it.contains(TOOL) && it != TOOL) {
        let text = carrying(&confirmed(&filled(&text), false), &options);
        for words in commands::commands(&text) {
            read += 1;
            let cli = commands::parsed(&words).expect("a command");
            // Only what names its own has another one.
            if !text.contains("--profile other") {
                assert_eq!(cli.global.profile, "my shop.yaml", "{words:?}");
            }
            assert!(cli.global.platform.is_some(), "{words:?}");
            assert_eq!(
                cli.global.set.first(),
                Some(&options.chosen[2].1),
                "{words:?}"
            );
        }
    }
    assert!(read > 100, "{read}");
}

/// What stands between quotes, and before the first and after the last: texts go on over lines.
fn literals(line: &str) -> Vec<String> {
    let escaped = line.replace("\\\"", "\u{1}");
    let parts = escaped.split('"');
    parts
        .map(|it| it.replace('\u{1}', "\"").replace("\\n", "\n"))
        .collect()
}

/// A text of the sources as it is printed: names stand where the sources have braces.
fn filled(text: &str) -> String {
    let text = text
        .replace("{component}", "kafka")
        .replace("{what}", "topic");
    let mut parts = text.split('{');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out += "x";
        out += part.split_once('}').map_or(part, |(_, rest)| rest);
    }
    out
}

#[test]
fn no_printed_command_refuses_for_want_of_an_answer() {
    let mut asking = 0;
    for text in all_texts() {
        let text = confirmed(&text, false);
        for (at, _) in text.match_indices(TOOL) {
            let command = &text[at + TOOL.len()..];
            let Some(asked) = asking_words(command) else {
                continue;
            };
            asking += 1;
            let mut words = vec!["xtask"];
            words.extend(asked);
            // What is not whole (`reset-connector`, by its name alone) is no command to type.
            if let Ok(cli) = Cli::try_parse_from(&words) {
                assert!(!refuses(&cli.command), "{words:?} of `{text}`");
            }
        }
    }
    assert!(asking > 10, "{asking}");
}
