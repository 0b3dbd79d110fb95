//! Known advisories about what profiles pin: `profiles/advisories.yaml`.
//!
//! The file is what was known on its date, no more: a version without an entry is not thereby proven
//! good. A pin is a key below `versions`, and an advisory names the ranges that are affected.

use std::path::Path;

use jiff::civil::Date;
use serde::Deserialize;

use super::combinations::InUse;
use super::parts::Part;
use super::version::{numbers, within};
use super::{Node, Value, decode, parse};
use crate::error::{Code, Error, Result};

/// Path of the file below the repository.
pub const FILE: &str = "profiles/advisories.yaml";

/// What is known.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advisories {
    /// The day of the last look, `YYYY-MM-DD`.
    pub checked: String,
    /// One entry for what was published and fixed together.
    pub advisories: Vec<Advisory>,
}

/// What was published about a part.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advisory {
    /// Its numbers, `CVE-...` or `GHSA-...`.
    pub ids: Vec<String>,
    /// The parts, by their keys below `versions`.
    pub pins: Vec<String>,
    /// What can happen, in one line.
    pub what: String,
    /// The versions that have it.
    pub affected: Vec<Affected>,
    /// When it was published, `YYYY-MM-DD`.
    pub date: String,
    /// Where it was.
    pub source: String,
}

/// Versions that have a fault.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affected {
    /// The first one; without it, all before `until`.
    pub from: Option<String>,
    /// The first one without the fault; without it there is no fix yet.
    pub until: Option<String>,
}

/// An advisory that a version has.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The advisory.
    pub advisory: &'a Advisory,
    /// The first version of its line that is fixed.
    pub fixed: Option<&'a str>,
}

/// A part that is known to be vulnerable.
#[derive(Clone, Debug)]
pub struct Vulnerable<'a> {
    /// The part.
    pub part: &'static Part,
    /// Its version.
    pub version: String,
    /// Why.
    pub known: Vec<Known<'a>>,
}

impl Advisories {
    /// Reads the file of a repository. `pins` are the keys below `versions`.
    ///
    /// # Errors
    /// It is not there, or something in it is wrong, at its place.
    pub fn read(root: &Path, pins: &[String]) -> Result<Self> {
        let path = root.join(FILE);
        let text =
            std::fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
        Self::parse(FILE, &text, pins)
    }

    fn parse(file: &str, text: &str, pins: &[String]) -> Result<Self> {
        let tree = parse::parse(file, text)?;
        let all: Advisories = decode::decode(&tree)?;
        let wrong = |node: Option<&Node>, message: String| {
            let error = Error::new(Code::ProfileInvalid, message);
            error.at(node.unwrap_or(&tree).origin.clone())
        };
        let checked = tree.get("checked");
        if !is_date(&all.checked) {
            return Err(wrong(
                checked,
                "`checked` is a day such as 2026-11-29".into(),
            ));
        }
        let entries = tree.get("advisories").map(|node| &node.value);
        let Some(Value::List(entries)) = entries else {
            return Ok(all);
        };
        let mut seen: Vec<&String> = Vec::new();
        for (advisory, node) in all.advisories.iter().zip(entries) {
            if advisory.ids.is_empty() || advisory.pins.is_empty() || advisory.affected.is_empty() {
                let message = "an advisory has `ids`, `pins` and `affected`, none of them empty";
                return Err(wrong(Some(node), message.into()));
            }
            for id in &advisory.ids {
                if !is_id(id) {
                    let message =
                        format!("`{id}` is no number of an advisory, such as CVE-2026-35554");
                    return Err(wrong(node.get("ids"), message));
                }
                if seen.contains(&id) {
                    return Err(wrong(node.get("ids"), format!("{id} has an entry already")));
                }
                seen.push(id);
            }
            for pin in &advisory.pins {
                if !pins.contains(pin) {
                    let error = wrong(node.get("pins"), format!("nothing is pinned as `{pin}`"));
                    let known = pins.iter().map(String::as_str);
                    let all = format!("pins: {}", pins.join(", "));
                    return Err(error.meant(pin, known, all));
                }
            }
            if let Some(problem) = advisory.affected.iter().find_map(Affected::problem) {
                return Err(wrong(node.get("affected"), problem));
            }
            if !is_date(&advisory.date) || advisory.date > all.checked {
                let message = "`date` is a day such as 2026-05-14, and none after `checked`";
                return Err(wrong(node.get("date"), message.into()));
            }
            if !advisory.source.starts_with("https://")
                || advisory.source.contains(char::is_whitespace)
            {
                let message = "`source` is an address that begins with https://";
                return Err(wrong(node.get("source"), message.into()));
            }
        }
        Ok(all)
    }

    /// What is known of a version of a pin.
    pub fn of(&self, pin: &str, version: &str) -> Vec<Known<'_>> {
        let about = self
            .advisories
            .iter()
            .filter(|advisory| advisory.pins.iter().any(|it| it == pin));
        about
            .filter_map(|advisory| {
                let range = advisory.affected.iter().find(|it| it.has(version))?;
                Some(Known {
                    advisory,
                    fixed: range.until.as_deref(),
                })
            })
            .collect()
    }

    /// Which of the parts in use are known to be vulnerable.
    pub fn among(&self, used: &InUse) -> Vec<Vulnerable<'_>> {
        used.parts()
            .filter_map(|(part, version)| {
                let known = self.of(part.key, version);
                (!known.is_empty()).then(|| Vulnerable {
                    part,
                    version: version.to_owned(),
                    known,
                })
            })
            .collect()
    }
}

impl Affected {
    fn has(&self, version: &str) -> bool {
        within(version, self.from.as_deref(), self.until.as_deref())
    }

    fn problem(&self) -> Option<String> {
        let (from, until) = (self.from.as_deref(), self.until.as_deref());
        let unread = [from, until]
            .into_iter()
            .flatten()
            .find(|version| numbers(version).is_empty());
        if let Some(version) = unread {
            return Some(format!("`{version}` is no version"));
        }
        match (from, until) {
            (None, None) => Some("a range has `from`, `until` or both".into()),
            (Some(from), Some(until)) if numbers(from) >= numbers(until) => {
                Some(format!("no version is from {from} and before {until}"))
            }
            _ => None,
        }
    }
}

impl Vulnerable<'_> {
    /// Part, version and the advisories' numbers, in one phrase.
    pub fn phrase(&self) -> String {
        let ids: Vec<&str> = self
            .known
            .iter()
            .flat_map(|known| known.advisory.ids.iter().map(String::as_str))
            .collect();
        let shown = match ids.as_slice() {
            [first, rest @ ..] if rest.len() > 2 => format!("{first} and {} more", rest.len()),
            all => all.join(", "),
        };
        let version = super::version::bare(&self.version);
        format!("{} {version} ({shown})", self.part.title)
    }
}

fn is_date(text: &str) -> bool {
    text.parse::<Date>()
        .is_ok_and(|date| date.to_string() == text)
}

fn is_id(text: &str) -> bool {
    let rest = text.strip_prefix("CVE-").or(text.strip_prefix("GHSA-"));
    rest.is_some_and(|rest| {
        rest.contains('-') && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "\
checked: 2026-11-29
advisories:
  - ids: [CVE-2026-35554]
    pins: [kafka]
    what: a batch in another topic
    affected: [{until: 3.9.2}, {from: 4.0.0, until: 4.0.2}, {from: 5.0}]
    date: 2026-04-07
    source: https://kafka.apache.org/community/cve-list/
";

    fn pins() -> Vec<String> {
        ["kafka", "strimzi", "plugins.postgres"]
            .map(String::from)
            .to_vec()
    }

    fn read(text: &str) -> Result<Advisories> {
        Advisories::parse("a.yaml", text, &pins())
    }

    #[test]
    fn a_version_has_what_was_published_about_it() {
        let all = read(GOOD).expect("valid");
        let fixed = |version| {
            let known = all.of("kafka", version);
            known.first().map(|known| known.fixed.map(str::to_owned))
        };
        assert_eq!(fixed("3.9.1"), Some(Some("3.9.2".into())));
        assert_eq!(fixed("4.0.0"), Some(Some("4.0.2".into())));
        assert_eq!(fixed("5.1.0"), Some(None));
        for version in ["3.9.2", "4.0.2", "4.3.1", "latest"] {
            assert_eq!(fixed(version), None, "{version}");
        }
        assert!(all.of("strimzi", "4.0.0").is_empty());
        let used = InUse::default()
            .with(&super::super::parts::KAFKA, "4.0.0")
            .with(&super::super::parts::STRIMZI, "0.1");
        let phrases: Vec<String> = all.among(&used).iter().map(Vulnerable::phrase).collect();
        assert_eq!(phrases, ["Kafka 4.0.0 (CVE-2026-35554)"]);
    }

    #[test]
    fn what_is_wrong_is_told_at_its_place() {
        for (from, to, place, says) in [
            (
                "checked: 2026-11-29",
                "checked: today",
                "a.yaml:1:1: ",
                "`checked` is a day",
            ),
            ("  - ids", "  - id", "a.yaml:3:5: ", "unknown key `id`"),
            (
                "[CVE-2026-35554]",
                "[]",
                "a.yaml:3:5: ",
                "none of them empty",
            ),
            (
                "[CVE-2026-35554]",
                "[35554]",
                "a.yaml:3:5: ",
                "no number of an advisory",
            ),
            (
                "[CVE-2026-35554]",
                "[CVE-1-1, CVE-1-1]",
                "a.yaml:3:5: ",
                "has an entry already",
            ),
            (
                "[kafka]",
                "[kafak]",
                "a.yaml:4:5: ",
                "did you mean `kafka`?",
            ),
            (
                "{from: 5.0}",
                "{}",
                "a.yaml:6:5: ",
                "has `from`, `until` or both",
            ),
            (
                "{from: 5.0}",
                "{from: new}",
                "a.yaml:6:5: ",
                "`new` is no version",
            ),
            (
                "{from: 4.0.0, ",
                "{from: 4.1.0, ",
                "a.yaml:6:5: ",
                "no version is from 4.1.0",
            ),
            (
                "2026-04-07",
                "2026-12-07",
                "a.yaml:7:5: ",
                "none after `checked`",
            ),
            ("2026-04-07", "2026-13-07", "a.yaml:7:5: ", "a day such as"),
            (
                "https://kafka",
                "kafka",
                "a.yaml:8:5: ",
                "begins with https://",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = read(&GOOD.replacen(from, to, 1)).expect_err(to).to_string();
            assert!(
                error.contains(place) && error.contains(says),
                "{to}: {error}"
            );
        }
    }

    proptest! {
        /// Of any version, an advisory is told exactly if the version is before its fix.
        #[test]
        fn a_fix_ends_what_is_told(version in "[0-9]{1,2}(\\.[0-9]{1,2}){1,2}", fix in "[1-9](\\.[0-9]{1,2}){1,2}") {
            prop_assume!(!numbers(&version).is_empty());
            let text = GOOD.replace("{until: 3.9.2}, {from: 4.0.0, until: 4.0.2}, {from: 5.0}", &format!("{{until: '{fix}'}}"));
            let all = read(&text).expect("valid");
            let told = !all.of("kafka", &version).is_empty();
            prop_assert_eq!(told, numbers(&version) < numbers(&fix));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,300}") {
            let _ = read(&text);
        }
    }
}
