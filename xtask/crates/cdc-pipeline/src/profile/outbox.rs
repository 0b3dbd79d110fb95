//! What a profile says of outboxes, and of what their events add up to.

use super::check::is_table;
use super::component::Source;
use super::rules::{NAME, WORD, invalid, key_obeys, obeys};
use super::schema::{Outbox, Projection};
use super::{Node, Profile};
use crate::error::Result;

/// The outbox that a connector reads.
pub(super) fn check(
    tree: &Node,
    profile: &Profile,
    name: &str,
    source: &Source,
    outbox: &Outbox,
) -> Result<()> {
    let at = |key: &'static str| ["connectors", name, "outbox", key];
    if !source.has_outbox {
        let what = format!("connector `{name}`: its source can have no outbox in this version");
        return Err(invalid(tree, &["connectors", name, "outbox"], what).hint("remove `outbox`"));
    }
    if !is_table(source.table, &outbox.table) {
        let what = format!(
            "connector `{name}`: {:?} is not {}",
            outbox.table, source.table
        );
        return Err(
            invalid(tree, &at("table"), what).hint("its names have letters, digits and `_` only")
        );
    }
    obeys(tree, &at("topic"), &outbox.topic, &NAME)?;
    let mut flows = profile.flows.iter();
    let own = flows.find(|(_, it)| it.connector == name && it.table == outbox.table);
    if let Some((flow, _)) = own {
        let what = format!("connector `{name}`: its outbox is the table of flow `{flow}`");
        return Err(invalid(tree, &at("table"), what)
            .hint("an outbox's rows are events, which no target holds: remove the flow"));
    }
    let mut flows = profile.flows.iter();
    if let Some((flow, _)) = flows.find(|(_, it)| profile.topic(it) == outbox.topic) {
        let what = format!("connector `{name}`: its outbox has the topic of flow `{flow}`");
        return Err(invalid(tree, &at("topic"), what).hint("choose another topic"));
    }
    let mut flows = profile.flows.iter();
    if let Some((flow, _)) = flows.find(|(_, it)| it.connector == name && it.to.is_some()) {
        let what = format!(
            "connector `{name}`: flow `{flow}` goes to a sink, for which events would carry schemas"
        );
        return Err(invalid(tree, &["connectors", name, "outbox"], what)
            .hint("give the outbox a connector of its own"));
    }
    Ok(())
}

/// The projections.
pub(super) fn projections(tree: &Node, profile: &Profile) -> Result<()> {
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
    if !is_table("schema.table", &projection.table) {
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
