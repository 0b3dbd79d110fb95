//! The committed tags: which image each profile of the repository means.
//!
//! The file makes a change of the image visible in a review, and lets CI say that one was
//! forgotten. What `up` builds is always named by its inputs.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use crate::error::{Code, Error, Location, Result};
use crate::files::{read_if_there, write_if_changed};

/// Path of the file below the repository.
pub const FILE: &str = "images/connect/tags.yaml";

const HEAD: &str = "# Tag of the Connect image of each profile of this repository: a function of what goes into it.\n\
                    # Written by `cargo xtask image-bump`; CI runs `cargo xtask image-bump --check`.\n";

/// A profile's committed tag beside the one that its inputs give now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The profile.
    pub profile: String,
    /// As committed, with its line.
    pub old: Option<(String, usize)>,
    /// As computed; none for a profile that is there no more.
    pub new: Option<String>,
}

impl Change {
    /// Whether the committed tag is not what it should be.
    pub fn is_stale(&self) -> bool {
        self.old.as_ref().map(|(tag, _)| tag) != self.new.as_ref()
    }

    /// For people: `old -> new`.
    pub fn describe(&self) -> String {
        let old = self.old.as_ref().map_or("(none)", |(tag, _)| tag);
        let new = self.new.as_deref().unwrap_or("(no such profile)");
        if self.is_stale() {
            format!("{}: {old} -> {new}", self.profile)
        } else {
            format!("{}: {old}", self.profile)
        }
    }

    /// An annotation as GitHub Actions reads it from a log, if the tag is stale.
    pub fn annotation(&self) -> Option<String> {
        self.is_stale().then(|| {
            let line = self.old.as_ref().map_or(1, |(_, line)| *line);
            format!(
                "::error file={FILE},line={line},title=stale image tag::{} (run: cargo xtask image-bump)",
                escape(&self.describe())
            )
        })
    }
}

/// A message must stay on its line.
fn escape(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The committed tags and their lines; none if the file is not there.
///
/// # Errors
/// The file is malformed.
pub fn read(root: &Path) -> Result<IndexMap<String, (String, usize)>> {
    parse(&read_if_there(&root.join(FILE))?.unwrap_or_default())
}

fn parse(text: &str) -> Result<IndexMap<String, (String, usize)>> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(index, line)| {
            let entry = line
                .split_once(": ")
                .map(|(name, tag)| (name.trim(), tag.trim()));
            match entry {
                Some((name, tag)) if !name.is_empty() && !tag.is_empty() => {
                    Ok((name.to_owned(), (tag.to_owned(), index + 1)))
                }
                _ => Err(Error::new(Code::Artifact, "expected `<profile>: <tag>`")
                    .at(Location {
                        file: FILE.into(),
                        line: index + 1,
                        column: 1,
                    })
                    .hint("cargo xtask image-bump writes the file anew once it is removed")),
            }
        })
        .collect()
}

/// What is committed beside what is computed, in the order of the computed ones.
pub fn compare(
    committed: &IndexMap<String, (String, usize)>,
    computed: &IndexMap<String, String>,
) -> Vec<Change> {
    let now = computed.iter().map(|(profile, tag)| Change {
        profile: profile.clone(),
        old: committed.get(profile).cloned(),
        new: Some(tag.clone()),
    });
    let gone = committed
        .iter()
        .filter(|(profile, _)| !computed.contains_key(*profile))
        .map(|(profile, old)| Change {
            profile: profile.clone(),
            old: Some(old.clone()),
            new: None,
        });
    now.chain(gone).collect()
}

/// Writes the file; says whether it changed.
///
/// # Errors
/// It cannot be written.
pub fn write(root: &Path, tags: &IndexMap<String, String>) -> Result<bool> {
    let path: PathBuf = root.join(FILE);
    write_if_changed(&path, format(tags).as_bytes(), 0o644)
}

fn format(tags: &IndexMap<String, String>) -> String {
    let lines: String = tags
        .iter()
        .map(|(profile, tag)| format!("{profile}: {tag}\n"))
        .collect();
    format!("{HEAD}{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
        pairs
            .iter()
            .map(|(name, tag)| ((*name).to_owned(), (*tag).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_and_is_yaml() {
        let tags = tags(&[("a", "1-x"), ("b", "2-y")]);
        let text = format(&tags);
        let read = parse(&text).expect("well formed");
        assert_eq!(read["a"], ("1-x".into(), 3));
        assert_eq!(read["b"], ("2-y".into(), 4));
        let yaml: IndexMap<String, String> = serde_yaml::from_str(&text).expect("YAML");
        assert_eq!(yaml, tags);
        assert!(
            compare(&read, &tags)
                .iter()
                .all(|change| !change.is_stale())
        );
    }

    #[test]
    fn stale_missing_and_left_over_tags_are_annotated_at_their_lines() {
        let committed = parse("# c\na: 1-x\nold: 1-z\n").expect("well formed");
        let changes = compare(&committed, &tags(&[("a", "1-y"), ("new", "1-n")]));
        let told: Vec<String> = changes.iter().map(Change::describe).collect();
        assert_eq!(
            told,
            [
                "a: 1-x -> 1-y",
                "new: (none) -> 1-n",
                "old: 1-z -> (no such profile)"
            ]
        );
        let annotations: Vec<String> = changes.iter().filter_map(Change::annotation).collect();
        assert_eq!(annotations.len(), 3);
        assert!(
            annotations[0].starts_with(
                "::error file=images/connect/tags.yaml,line=2,title=stale image tag::a: 1-x -> 1-y"
            ),
            "{}",
            annotations[0]
        );
        assert!(annotations[2].contains("line=3"), "{}", annotations[2]);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = parse("a: 1\nb\n").expect_err("malformed").to_string();
        assert!(error.starts_with("images/connect/tags.yaml:2:1"), "{error}");
    }
}
