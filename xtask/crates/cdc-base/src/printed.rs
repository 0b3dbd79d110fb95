//! Printed commands work as they stand: they carry the profile, platform and overrides of the run that prints
//! them, and, where nobody can be asked, the `--yes` of those that ask before they destroy something.
//!
//! Options stand right after a command's name: where a command ends in a sentence cannot be known, and an override
//! that the text itself names comes later and wins. Everything here is pure but [`ours`], the one place that
//! knows this process's own command line.

use std::io::IsTerminal;
use std::sync::OnceLock;

/// What every printed command begins with.
pub const TOOL: &str = "cargo xtask ";

/// The commands that ask, and how many words each has after its name.
pub const ASKING: [(&str, usize); 11] = [
    ("cache clean", 0),
    ("chaos", 0),
    ("doctor", 0),
    ("down", 0),
    ("reset-connector", 1),
    ("slot drop", 1),
    ("offsets restore", 1),
    ("dlq redrive", 1),
    ("dlq purge", 1),
    ("projection replay", 1),
    ("up", 0),
];
/// Those of them that ask with this option only.
const ASKING_WITH: [(&str, &str); 2] = [("doctor", "--fix"), ("up", "--prune")];
/// The commands whose next word is part of their name.
pub const GROUPS: [&str; 13] = [
    "env",
    "cache",
    "profile",
    "connector",
    "flow",
    "slot",
    "offsets",
    "topic",
    "group",
    "dlq",
    "image",
    "projection",
    "workload",
];
/// With one of these nothing is asked.
const UNASKED: [&str; 3] = ["--yes", "--dry-run", "--keep-data"];
/// Options whose next word is their value.
const VALUED: [&str; 5] = ["--profile", "--platform", "--context", "--set", "--before"];

/// Options with their values: `--profile`, `shop.yaml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Those that chose this run's environment.
    pub chosen: Vec<(String, String)>,
    /// The overrides that the environment was made with. `up` alone is to be given them again; other commands
    /// know them.
    pub made: Vec<(String, String)>,
}

/// What this process was given, once its command line is known.
static OURS: OnceLock<Options> = OnceLock::new();

/// Remembers this run's options. The first call counts.
pub fn remember(options: Options) {
    // A second run in one process does not exist outside of tests.
    let _kept = OURS.set(options);
}

/// The text as this process prints it: its commands work as they stand.
pub fn ours(text: &str) -> String {
    let none = Options::default();
    let options = OURS.get().unwrap_or(&none);
    confirmed(&carrying(text, options), std::io::stdin().is_terminal())
}

/// The text, whose commands carry these options, each quoted for a shell. A command that names another profile
/// means another environment and is left alone.
pub fn carrying(text: &str, options: &Options) -> String {
    let mut parts = text.split(TOOL);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_at(name_end(part));
        out += TOOL;
        out += name;
        // Where the command's own words end at the latest.
        let ends = [", ", "\n", "`", "; ", ")"];
        let ends = ends.iter().filter_map(|end| rest.find(end));
        let own = &rest[..ends.min().unwrap_or(rest.len())];
        let has = |option: &str| own.split([' ', '=']).any(|word| word == option);
        // The same again would ask for a password twice.
        let sets = |value: &str| {
            let set = format!(" --set {}", quoted(value));
            let mut found = own.match_indices(&set);
            found.any(|(at, _)| matches!(own.as_bytes().get(at + set.len()), None | Some(b' ')))
        };
        let made = options.made.iter().filter(|_| name == "up");
        let carried: String = made
            .chain(&options.chosen)
            .filter(|(option, value)| match option == "--set" {
                true => !sets(value),
                false => !has(option),
            })
            .map(|(option, value)| format!(" {option} {}", quoted(value)))
            .collect();
        if !name.is_empty() && !has("--profile") && !rest.starts_with(carried.as_str()) {
            out += &carried;
        }
        out += rest;
    }
    out
}

/// Where the name of the command ends that a text begins with.
fn name_end(text: &str) -> usize {
    let word = |from: usize| {
        let is_other = |c: char| !(c.is_ascii_lowercase() || c == '-');
        let text = text.get(from..).unwrap_or_default();
        text.find(is_other).unwrap_or(text.len())
    };
    let first = word(0);
    let is_group = GROUPS.iter().any(|it| text.get(..first) == Some(*it));
    match text.get(first..first + 1) == Some(" ") {
        true if is_group => match word(first + 1) {
            0 => first,
            second => first + 1 + second,
        },
        _ => first,
    }
}

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

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

/// The words of the command that a text begins with, its name first; none if it is no command that asks.
pub fn asking_words(text: &str) -> Option<Vec<&str>> {
    asking(text)?;
    Some(text[..end(text)].split(' ').collect())
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
    let asks = asking(command).is_some_and(|(name, _)| {
        let mut with = ASKING_WITH.iter().filter(|it| it.0 == name);
        with.all(|(_, option)| has(option))
    });
    asks && !UNASKED.into_iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_carry_what_chose_the_environment() {
        let options = [
            ("--profile", "my shop.yaml"),
            ("--platform", "host"),
            ("--set", "kafka.port=1"),
            ("--set", "flows.a.key=[it's]"),
        ]
        .map(|(option, value)| (option.to_owned(), value.to_owned()));
        let options = Options {
            chosen: options.to_vec(),
            made: Vec::new(),
        };
        let all = "--profile 'my shop.yaml' --platform host --set kafka.port=1 \
                   --set 'flows.a.key=[it'\\''s]'";
        let less = all.replace("--platform host ", "");
        for (text, want) in [
            ("cargo xtask up", format!("cargo xtask up {all}")),
            (
                "cargo xtask slot list, then: cargo xtask slot drop NAME",
                format!("cargo xtask slot list {all}, then: cargo xtask slot drop {all} NAME"),
            ),
            (
                "`cargo xtask down` removes it",
                format!("`cargo xtask down {all}` removes it"),
            ),
            (
                "cargo xtask explain lists them",
                format!("cargo xtask explain {all} lists them"),
            ),
            // A group alone has no second word to its name.
            (
                "cargo xtask topic config --check",
                format!("cargo xtask topic config {all} --check"),
            ),
            (
                "cargo xtask up --platform kind",
                format!("cargo xtask up {less} --platform kind"),
            ),
            // What the text sets stands behind what the run set, and wins.
            (
                "cargo xtask up --set kafka.port=2",
                format!("cargo xtask up {all} --set kafka.port=2"),
            ),
            (
                "cargo xtask down, or continue there: --platform kind",
                format!("cargo xtask down {all}, or continue there: --platform kind"),
            ),
            // Another environment.
            (
                "cargo xtask down --profile other",
                "cargo xtask down --profile other".into(),
            ),
            ("no command: cargo xtask", "no command: cargo xtask".into()),
        ] {
            assert_eq!(carrying(text, &options), want);
            assert_eq!(carrying(&want, &options), want, "nothing is added twice");
            assert_eq!(carrying(text, &Options::default()), text);
        }
    }

    #[test]
    fn up_alone_carries_what_the_environment_was_made_with() {
        let set = |value: &str| ("--set".to_owned(), value.to_owned());
        let options = Options {
            chosen: vec![set("b=2")],
            made: vec![set("a=1")],
        };
        let text = "cargo xtask down, then: cargo xtask up";
        let want = "cargo xtask down --set b=2, then: cargo xtask up --set a=1 --set b=2";
        assert_eq!(carrying(text, &options), want);
        assert_eq!(carrying(want, &options), want, "nothing is added twice");
        let text = "cargo xtask up --set a=1, cargo xtask up --set a=12";
        let want =
            "cargo xtask up --set b=2 --set a=1, cargo xtask up --set a=1 --set b=2 --set a=12";
        assert_eq!(carrying(text, &options), want);
    }

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
}
