//! What a server's answer means for those who wait for it. Pure.
//!
//! A refused login is final only once the server reports that it was started as a member: the image's first server
//! has no users yet.

use super::settings::MongodbSettings;
use crate::clients::mongodb::{Hello, Standing, Trouble};
use crate::components::connect::login;
use crate::readiness::{State, Status};

/// What a member that answers is; `path` is where the component's keys are.
pub(super) fn member(own: &MongodbSettings, path: &str, hello: &Hello) -> Status {
    let Hello { standing, version } = hello;
    let set = &standing.set;
    match own.external {
        Some(_) if set.is_empty() => no_set("it is in no replica set, and change streams need one"),
        Some(_) if own.set().is_some_and(|wanted| wanted != set) => other_set(
            path,
            &format!(
                "it is a member of the replica set `{set}`, not of `{}`",
                own.replica_set
            ),
            set,
        ),
        None if set.is_empty() => Status::in_progress("not in a replica set yet"),
        _ if standing.primary => Status::current(format!("primary of {set}, version {version}")),
        Some(_) => Status::in_progress(format!("not the primary of `{set}`")).next(format!(
            "name all members of the set in {path}.external, with commas between"
        )),
        None => Status::in_progress(format!("not primary of `{set}` yet")),
    }
}

fn no_set(says: &str) -> Status {
    Status::failed(says).next(
        "start mongod with --replSet and initiate the set (rs.initiate()), then: cargo xtask up",
    )
}

fn other_set(path: &str, says: &str, found: &str) -> Status {
    Status::failed(says).next(format!("cargo xtask up --set {path}.replica_set={found}"))
}

/// What keeps the driver from every server.
pub(super) fn trouble(path: &str, trouble: &Trouble, error: &impl std::fmt::Display) -> Status {
    match trouble {
        Trouble::Tls { problem, .. } => login::correct(path, problem.key(), error),
        Trouble::NoSet(_) => no_set(&error.to_string()),
        Trouble::OtherSet { found, .. } => other_set(path, &error.to_string(), found),
        // They may come.
        Trouble::Address(_) | Trouble::Silent(_) => Status {
            state: State::InProgress,
            ..login::correct(path, "external", error)
        },
        Trouble::NoPrimary(_) => Status::in_progress(error.to_string()).next(
            "have the set elect a primary (`rs.status()` says what keeps it); then: cargo xtask up",
        ),
    }
}

/// A login that was refused. The image's first server has no users until its set-up made them, and
/// a member that copies its data has none until they came along; every other one will refuse it
/// again. The image's first server is known by having no replica set option.
pub(super) fn refused_login(
    reason: &str,
    standing: Option<&Standing>,
    external: bool,
    path: &str,
) -> Status {
    let ends = || {
        Status::failed(reason).next(match external {
            true => login::give(&format!("{path}.password")),
            false => format!(
                "the data was made with another password: put that one into {path}.password, or remove the data with `cargo xtask down`"
            ),
        })
    };
    match standing {
        _ if external => ends(),
        None => Status::in_progress(reason),
        Some(standing) if !standing.replicated => {
            Status::in_progress("the first set-up has not made the user yet")
        }
        Some(standing) if !standing.set.is_empty() && !standing.primary && !standing.secondary => {
            Status::in_progress("the member has not copied the users yet")
        }
        Some(_) => ends(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_login_is_final_once_the_server_is_the_one_that_stays() {
        let standing = |set: &str, primary, secondary, replicated| Standing {
            set: set.into(),
            primary,
            secondary,
            replicated,
        };
        for (standing, want) in [
            // No answer without a login either.
            (None, State::InProgress),
            // The image's first server: alone, and so it takes writes.
            (Some(standing("", true, false, false)), State::InProgress),
            // Started as a member, not initiated.
            (Some(standing("", false, false, true)), State::Failed),
            (Some(standing("rs0", true, false, true)), State::Failed),
            (Some(standing("rs0", false, true, true)), State::Failed),
            // It copies its data.
            (Some(standing("rs0", false, false, true)), State::InProgress),
        ] {
            let status = refused_login("refused", standing.as_ref(), false, "mongodb");
            assert_eq!(status.state, want, "{standing:?}");
            assert_eq!(status.next.is_some(), want == State::Failed);
            let external = refused_login("refused", standing.as_ref(), true, "mongodb");
            assert_eq!(external.state, State::Failed);
        }
    }
}
