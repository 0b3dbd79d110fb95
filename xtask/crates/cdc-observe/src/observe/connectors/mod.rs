//! Connectors as they run: which ones are meant, what they do, and having them do something else.

pub mod view;

use super::names;
use crate::components::connect::settled;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::plan::Progress;

/// The connectors that exist and that the patterns mean: a name, `*` and `?` in a name, or a
/// source (`postgres`, `mongo`). No pattern means all.
///
/// # Errors
/// A pattern means none; with the nearest name.
pub async fn named(env: &Environment, patterns: &[String]) -> Result<Vec<String>> {
    let client = env.connect_client();
    let mut existing = settled(&Progress::silent(), || client.connectors()).await?;
    existing.sort();
    let by_source = |source: &str| -> Vec<String> {
        let connectors = env.profile.connectors.iter();
        connectors
            .filter(|(_, connector)| {
                let read = env.read_by(connector);
                read.is_some_and(|it| it.name == source || it.kind.is_called(source))
            })
            .map(|(name, _)| name.clone())
            .collect()
    };
    select(&existing, &by_source, patterns)
}

/// The one connector that a pattern means.
///
/// # Errors
/// It means none, or several.
pub async fn one(env: &Environment, pattern: &str) -> Result<String> {
    let mut found = named(env, &[pattern.to_owned()]).await?;
    match (found.pop(), found.is_empty()) {
        (Some(name), true) => Ok(name),
        (last, _) => {
            found.extend(last);
            let what = format!("`{pattern}` means several connectors: {}", found.join(", "));
            Err(Error::new(Code::Usage, what).hint("name one of them"))
        }
    }
}

fn select(
    existing: &[String],
    by_source: &dyn Fn(&str) -> Vec<String>,
    patterns: &[String],
) -> Result<Vec<String>> {
    if patterns.is_empty() {
        return Ok(existing.to_vec());
    }
    let mut wanted = Vec::new();
    for pattern in patterns {
        let read = match existing.contains(pattern) {
            true => Vec::new(),
            false => by_source(pattern),
        };
        match read.is_empty() {
            true => wanted.push(pattern.clone()),
            false => wanted.extend(read),
        }
    }
    let known: Vec<&str> = existing.iter().map(String::as_str).collect();
    names::choose("connector", &wanted, &known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_means_its_connectors() {
        let existing = ["mongo-connector", "pg-a", "pg-b"].map(str::to_owned);
        let by_source = |source: &str| match source {
            "postgres" => vec!["pg-a".to_owned()],
            "mongo" => vec!["mongo-connector".to_owned()],
            _ => Vec::new(),
        };
        let select = |patterns: &[&str]| {
            let patterns: Vec<String> = patterns.iter().map(|&text| text.to_owned()).collect();
            select(&existing, &by_source, &patterns)
        };
        assert_eq!(select(&[]).expect("all"), existing);
        assert_eq!(select(&["postgres"]).expect("by source"), ["pg-a"]);
        assert_eq!(select(&["pg-*", "pg-a"]).expect("once"), ["pg-a", "pg-b"]);
        let error = select(&["mongo-conector"]).expect_err("unknown");
        assert!(
            error
                .hint
                .is_some_and(|hint| hint.contains("`mongo-connector`"))
        );
        assert_eq!(error.code, Code::Usage);
    }
}
