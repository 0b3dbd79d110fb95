//! Printed commands that ask before they destroy something: where nobody can be asked, they carry `--yes`,
//! so that they work as they stand. Pure.

/// What every printed command begins with.
const TOOL: &str = "cargo xtask ";

/// The commands that ask, and how many words each has after its name.
const ASKING: [(&str, usize); 7] = [
    ("doctor", 0),
    ("down", 0),
    ("reset-connector", 1),
    ("slot drop", 1),
    ("offsets restore", 1),
    ("dlq redrive", 1),
    ("dlq purge", 1),
];
/// With one of these nothing is asked.
const UNASKED: [&str; 3] = ["--yes", "--dry-run", "--keep-data"];
/// Options whose next word is their value.
const VALUED: [&str; 5] = ["--profile", "--platform", "--context", "--set", "--before"];

/// The text, whose commands carry `--yes` where they want it and nobody is asked.
pub fn confirmed(text: &str, is_asked: bool) -> String {
    if is_asked {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(TOOL) {
        let (before, command) = rest.split_at(at + TOOL.len());
        out += before;
        let end = end(command);
        out += &command[..end];
        if wants(&command[..end]) {
            out += " --yes";
        }
        rest = &command[end..];
    }
    out + rest
}

/// Where a command ends in the text that it begins: after its own words and options.
fn end(text: &str) -> usize {
    let Some((name, words)) = asking(text) else {
        return 0;
    };
    let mut end = name.len();
    let (mut left, mut value) = (words, false);
    for (at, word) in words_of(text) {
        if at < name.len() {
            continue;
        }
        let is_option = word.starts_with("--");
        if !is_option && !value && left == 0 {
            break;
        }
        left -= usize::from(!is_option && !value);
        value = VALUED.contains(&word);
        end = at + word.len();
        // What is said after it is no part of it.
        if text[end..].starts_with([',', ';', ':', '`', ')', '.', '"']) {
            break;
        }
    }
    end
}

/// The words of a text, each with its place, without what ends a command.
fn words_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    text.split(' ').map(move |word| {
        let place = at;
        at += word.len() + 1;
        (
            place,
            word.trim_end_matches([',', ';', ':', '`', ')', '.', '"']),
        )
    })
}

fn asking(text: &str) -> Option<(&'static str, usize)> {
    let mut all = ASKING.into_iter();
    all.find(|(name, _)| {
        text.strip_prefix(name)
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
    })
}

fn wants(command: &str) -> bool {
    let has = |option: &str| command.split(' ').any(|word| word == option);
    let asks = asking(command).is_some_and(|(name, _)| name != "doctor" || has("--fix"));
    asks && !UNASKED.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::cli::{Cli, Command, DlqCommand, OffsetsCommand, SlotCommand};

    #[test]
    fn commands_that_ask_carry_what_answers_where_nobody_is_asked() {
        for (text, want) in [
            (
                "cargo xtask reset-connector pg",
                "cargo xtask reset-connector pg --yes",
            ),
            (
                "cargo xtask slot list, then: cargo xtask slot drop NAME",
                "cargo xtask slot list, then: cargo xtask slot drop NAME --yes",
            ),
            (
                "rename it, or remove it: `cargo xtask down`",
                "rename it, or remove it: `cargo xtask down --yes`",
            ),
            (
                "cargo xtask down removes it; then cargo xtask up makes it",
                "cargo xtask down --yes removes it; then cargo xtask up makes it",
            ),
            (
                "cargo xtask down --profile other, or cargo xtask down --keep-data",
                "cargo xtask down --profile other --yes, or cargo xtask down --keep-data",
            ),
            (
                "cargo xtask reset-connector pg --truncate-target --yes",
                "cargo xtask reset-connector pg --truncate-target --yes",
            ),
            (
                "cargo xtask connector stop pg",
                "cargo xtask connector stop pg",
            ),
            (
                "cargo xtask doctor shows how",
                "cargo xtask doctor shows how",
            ),
            ("cargo xtask doctor --fix", "cargo xtask doctor --fix --yes"),
        ] {
            assert_eq!(confirmed(text, false), want);
            assert_eq!(confirmed(text, true), text);
            // Nothing is added twice.
            assert_eq!(confirmed(want, false), want);
        }
    }

    /// Whether a command would refuse where nobody can be asked.
    fn refuses(command: &Command) -> bool {
        match command {
            Command::Doctor(args) => args.fix && !args.yes,
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
        // `up` asks once, before it changes a cluster for the first time.
        found.retain(|it| it != "up");
        let mut known = ASKING.map(|(name, _)| name.to_owned());
        found.sort();
        known.sort();
        assert_eq!(found, known);
    }

    /// Every text of the sources that names a command of this tool.
    fn texts(dir: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
            let path = entry.path();
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

    #[test]
    fn no_printed_command_refuses_for_want_of_an_answer() {
        let mut found = Vec::new();
        for folder in ["src", "crates"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            texts(&folder, &mut found);
        }
        assert!(found.len() > 100, "{}", found.len());
        let mut asking = 0;
        for text in found {
            let text = confirmed(&text, false);
            for (at, _) in text.match_indices(TOOL) {
                let command = &text[at + TOOL.len()..];
                if asking_words(command).is_none() {
                    continue;
                }
                asking += 1;
                let mut words = vec!["xtask"];
                words.extend(asking_words(command).unwrap_or_default());
                // What is not whole (`reset-connector`, by its name alone) is no command to type.
                if let Ok(cli) = Cli::try_parse_from(&words) {
                    assert!(!refuses(&cli.command), "{words:?} of `{text}`");
                }
            }
        }
        assert!(asking > 10, "{asking}");
    }

    fn asking_words(command: &str) -> Option<Vec<&str>> {
        asking(command)?;
        Some(command[..end(command)].split(' ').collect())
    }
}
