//! What a flow's tables and views at the target are called.

use super::settings::ClickhouseSettings;
use crate::environment::Environment;
use crate::profile::schema::Keep;

/// The names of a flow's tables and views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Kafka engine table.
    pub queue: String,
    /// View from the queue to bronze.
    pub feed: String,
    /// Null table that judges each message.
    pub bronze: String,
    /// View from bronze to silver.
    pub view: String,
    /// Where rows are read.
    pub silver: String,
    /// Where they are: silver itself, or a server's own share of it.
    pub silver_rows: String,
    /// View from bronze to errors.
    pub errors_view: String,
    /// Where messages that are no change are read.
    pub errors: String,
    /// Where they are, as with silver.
    pub errors_rows: String,
    /// The positions after which rows come that were read again, where tables can be.
    pub rereads: Option<String>,
    /// Of a table that keeps the newest rows, on one server: what a TRUNCATE at the source does.
    pub truncates: Option<Truncates>,
}

/// The names of what marks rows as deleted that a TRUNCATE at the source has removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncates {
    /// The positions of each.
    pub table: String,
    /// View from bronze to them.
    pub view: String,
    /// View from them to silver.
    pub deletes: String,
}

impl Names {
    /// The names for a flow of an environment.
    pub fn of(own: &ClickhouseSettings, env: &Environment, flow: &str) -> Self {
        let all = Names::whole(flow, own.are_several(env));
        Names {
            rereads: all.rereads.filter(|_| are_read_again(env, flow)),
            truncates: all.truncates.filter(|_| marks_truncated(own, env, flow)),
            ..all
        }
    }

    /// All names that a flow may have, on one server or where there are several.
    fn whole(flow: &str, are_several: bool) -> Self {
        let rows = if are_several { "_local" } else { "" };
        Names {
            queue: format!("{flow}_queue"),
            feed: format!("mv_{flow}_queue"),
            bronze: format!("{flow}_bronze"),
            view: format!("mv_{flow}"),
            silver: format!("{flow}_silver"),
            silver_rows: format!("{flow}_silver{rows}"),
            errors_view: format!("mv_{flow}_errors"),
            errors: format!("{flow}_errors"),
            errors_rows: format!("{flow}_errors{rows}"),
            rereads: Some(format!("{flow}_rereads")),
            truncates: Some(Truncates {
                table: format!("{flow}_truncates"),
                view: format!("mv_{flow}_truncates"),
                deletes: format!("mv_{flow}_truncated"),
            }),
        }
    }

    /// All that a flow may have had, in the order in which it may be dropped: bronze, by which a flow is known, last.
    pub(super) fn once(flow: &str) -> Vec<String> {
        let both = [true, false].map(|several| Names::whole(flow, several));
        let bronze = &both[0].bronze;
        let all = both.iter().flat_map(Names::all);
        let mut once: Vec<String> = Vec::new();
        for name in all.filter(|it| it != bronze).chain([bronze.as_str()]) {
            if !once.iter().any(|it| it == name) {
                once.push(name.to_owned());
            }
        }
        once
    }

    /// What holds no rows, in the order in which it may be dropped.
    pub(super) fn rebuilt(&self) -> Vec<&str> {
        let mut all = vec![
            self.feed.as_str(),
            &self.queue,
            &self.view,
            &self.errors_view,
            &self.bronze,
        ];
        if let Some(truncates) = &self.truncates {
            all.extend([truncates.view.as_str(), &truncates.deletes]);
        }
        if self.silver != self.silver_rows {
            all.extend([self.silver.as_str(), &self.errors]);
        }
        all
    }

    /// All of them.
    pub fn all(&self) -> Vec<&str> {
        let mut all = self.rebuilt();
        all.extend([self.silver_rows.as_str(), &self.errors_rows]);
        all.extend(self.positions());
        all
    }

    /// The tables of positions beside silver.
    pub fn positions(&self) -> impl Iterator<Item = &str> {
        let truncates = self.truncates.iter().map(|it| it.table.as_str());
        self.rereads.as_deref().into_iter().chain(truncates)
    }
}

/// Whether a flow's table can be read again while its connector streams.
fn are_read_again(env: &Environment, flow: &str) -> bool {
    let flow = env.profile.flows.get(flow);
    let connector = flow.and_then(|flow| env.profile.connectors.get(&flow.connector));
    connector.is_some_and(|it| env.profile.rereads(it).is_some())
}

/// Whether silver marks its rows as deleted when the source's table is emptied. Where each change is kept it
/// is none of a row; and of several servers none sees which rows the others have yet.
fn marks_truncated(own: &ClickhouseSettings, env: &Environment, flow: &str) -> bool {
    let flow = env.profile.flows.get(flow);
    flow.is_some_and(|flow| flow.keep == Keep::Latest) && !own.are_several(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_dropped_from_what_reads_to_what_is_known_of_it() {
        assert_eq!(
            Names::once("a"),
            [
                "mv_a_queue",
                "a_queue",
                "mv_a",
                "mv_a_errors",
                "mv_a_truncates",
                "mv_a_truncated",
                "a_silver",
                "a_errors",
                "a_silver_local",
                "a_errors_local",
                "a_rereads",
                "a_truncates",
                "a_bronze",
            ]
        );
    }
}
