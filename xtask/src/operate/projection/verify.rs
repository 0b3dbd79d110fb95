//! Whether a projection's table has what the outbox's database says itself.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{session, status};
use crate::components::projections::Rows;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::profile::schema::Projection;
use crate::wait;

/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// A key whose row is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// Count and sums as they should be; none where there should be no row.
    pub truth: Option<Vec<Option<String>>>,
    /// Count and sums of the projection's row; none where there is none.
    pub found: Option<Vec<Option<String>>>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The projection.
    pub projection: String,
    /// Keys that were compared.
    pub keys: usize,
    /// Those that differ, and whose truth did not change meanwhile.
    pub differences: Vec<Difference>,
    /// Those that differ, and whose truth kept changing.
    pub unsettled: usize,
    /// Records that the projection has not read.
    pub unread: i64,
}

/// Compares, and looks again at what differs until nothing does or the time is over: events may be on their way.
///
/// # Errors
/// The broker or a database does not answer, or the truth is no query that fits.
pub async fn verify(
    env: &Environment,
    name: &str,
    projection: &Projection,
    settle: Duration,
) -> Result<Verified> {
    let outbox = env.profile.outbox_of(&projection.topic);
    let (_, connector) = outbox.ok_or_else(|| {
        Error::new(
            Code::Plan,
            format!("no outbox sends to {}", projection.topic),
        )
    })?;
    let source = session(env, &connector.source).await?;
    let own = session(env, &projection.into).await?;
    own.prepare(projection).await?;
    let both = async || {
        let truth = source.rows(projection, Some(&projection.truth));
        futures_util::future::try_join(truth, own.rows(projection, None)).await
    };
    let (first, mut found) = both().await?;
    let mut truth = first.clone();
    let begun = Instant::now();
    while !differences(&truth, &found).is_empty() && begun.elapsed() < settle {
        wait::pause(PAUSE).await;
        (truth, found) = both().await?;
    }
    let (differences, unsettled): (Vec<_>, Vec<_>) = differences(&truth, &found)
        .into_iter()
        .partition(|it| first.get(&it.key) == truth.get(&it.key));
    Ok(Verified {
        projection: name.to_owned(),
        keys: truth.len(),
        differences,
        unsettled: unsettled.len(),
        unread: status(env, name, projection).await?.unread,
    })
}

fn differences(truth: &Rows, found: &Rows) -> Vec<Difference> {
    let keys = truth
        .keys()
        .chain(found.keys().filter(|it| !truth.contains_key(*it)));
    keys.filter(|key| truth.get(*key) != found.get(*key))
        .map(|key| Difference {
            key: key.clone(),
            truth: truth.get(key).cloned(),
            found: found.get(key).cloned(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_on_either_side_count() {
        let rows = |all: &[(&str, &str)]| -> Rows {
            let row =
                |(key, value): &(&str, &str)| ((*key).to_owned(), vec![Some((*value).to_owned())]);
            all.iter().map(row).collect()
        };
        let found = differences(
            &rows(&[("1", "5"), ("2", "6")]),
            &rows(&[("2", "7"), ("3", "1"), ("1", "5")]),
        );
        let keys: Vec<&str> = found.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys, ["2", "3"]);
        assert_eq!(found[1].truth, None);
    }
}
