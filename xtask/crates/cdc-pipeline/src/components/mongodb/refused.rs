//! What a refused login means. Pure.
//!
//! It is final only once the server reports that it was started as a member: the image's first server
//! has no users yet.

use crate::clients::mongodb::Standing;
use crate::readiness::Status;

/// A login that was refused. The image's first server has no users until its set-up made them, and
/// a member that copies its data has none until they came along; every other one will refuse it
/// again. The image's first server is known by having no replica set option.
pub(super) fn refused_login(reason: &str, standing: Option<&Standing>, external: bool) -> Status {
    let ends = || {
        Status::failed(reason).next(if external {
            "correct mongodb.user and mongodb.password"
        } else {
            "the data was made with another password: put that one into mongodb.password, or remove the data with `cargo xtask down`"
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
    use crate::readiness::State;

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
            let status = refused_login("refused", standing.as_ref(), false);
            assert_eq!(status.state, want, "{standing:?}");
            assert_eq!(status.next.is_some(), want == State::Failed);
            let external = refused_login("refused", standing.as_ref(), true);
            assert_eq!(external.state, State::Failed);
        }
    }
}
