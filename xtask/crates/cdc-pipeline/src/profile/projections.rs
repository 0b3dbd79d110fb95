//! What a profile says of projections.

use super::Profile;
use super::rules::{NAME, WORD, invalid, key_obeys, obeys};
use super::schema::Projection;
use crate::error::Result;
use crate::profile::Node;

pub(super) fn check(tree: &Node, profile: &Profile) -> Result<()> {
    for (name, projection) in &profile.projections {
        one(tree, profile, name, projection)?;
    }
    Ok(())
}

fn one(tree: &Node, profile: &Profile, name: &str, projection: &Projection) -> Result<()> {
    let path = |key: &'static str| ["projections", name, key];
    let at = |key: &'static str, what: String| {
        invalid(tree, &path(key), format!("projection `{name}`: {what}"))
    };
    key_obeys(tree, &["projections", name], &WORD)?;
    if profile.outbox_of(&projection.topic).is_none() {
        let connectors = profile.connectors.values();
        let topics = connectors.filter_map(|it| Some(it.outbox.as_ref()?.topic.as_str()));
        let what = format!("no outbox sends to the topic {:?}", projection.topic);
        return Err(at("topic", what).meant(
            &projection.topic,
            topics,
            "give a connector an `outbox` with this topic",
        ));
    }
    if profile.component(&projection.into).is_none() {
        let components = profile.components.keys().map(String::as_str);
        let what = format!("there is no component {:?}", projection.into);
        return Err(at("into", what).meant(
            &projection.into,
            components,
            "define it under `components`",
        ));
    }
    let parts: Vec<&str> = projection.table.split('.').collect();
    if parts.len() != 2 || !parts.into_iter().all(WORD.fits) {
        let what = format!("{:?} is not schema.table", projection.table);
        return Err(at("table", what).hint("its names have letters, digits and `_` only"));
    }
    if projection.events.is_empty() {
        let what = "it counts no type of events".to_owned();
        return Err(at("events", what).hint("name some, such as `events: [OrderPlaced]`"));
    }
    obeys(tree, &path("queue"), &projection.queue, &NAME)?;
    let columns = projection.sum.keys().chain([&projection.count]);
    let mut seen = vec![&projection.key];
    for column in columns {
        if seen.contains(&column) {
            let what = format!("two of its columns are called `{column}`");
            return Err(at("sum", what).hint("give each a name of its own"));
        }
        seen.push(column);
    }
    Ok(())
}
