//! Logins, places and rights, as sources and connectors tell them.

use super::super::{Find, Follows, Next, Rule, USUAL, run};
use super::{after_fix, again, component_of};
use crate::components::connect::login;
use crate::diagnose::facts::Facts;
use crate::diagnose::{Fix, Remedy, Severity, Subject};
use crate::readiness::connect::LOGIN_REFUSED;

/// Gather first: who cannot log in says all sorts of things beside.
pub(super) const LOGIN: &[Rule] = &[Rule {
    code: "LOGIN_REFUSED",
    title: "a login is refused",
    about: "The password was changed at the server, or a connector reads another one than the server has: an empty file, a \
                provider whose path is not allowed, a Secret that was changed after the task had read it. A restart does not \
                help, and repeated tries may lock the account. After the password is right again, restart the connector: \
                a task reads its password once.",
    severity: Severity::Broken,
    remedy: Remedy::Person,
    follows: Follows::Nothing,
    find: Find::Text(LOGIN_REFUSED, with_password),
}];

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "OFFSET_UNUSABLE",
        title: "a connector's committed position is not in its source",
        about: "The source has removed its log there, the server is another one than before, or somebody wrote a \
                wrong offset. `offsets restore` restores a saved position that the source still has; \
                `reset-connector` takes a new snapshot.",
        follows: Follows::Same,
        find: Find::Trace(
            &[
                &["no longer available on the server"],
                &["Could not find existing", "offset"],
                &["ClassCastException", "SourceInfo"],
                &["OffsetContext"],
            ],
            again,
        ),
        ..USUAL
    },
    Rule {
        code: "PERMISSION_DENIED",
        title: "a user lacks a right",
        about: "The server names the right in its message. Grant it, and restart what asked for it.",
        follows: Follows::Same,
        find: Find::Text(
            &[
                &["permission denied"],
                &["TOPIC_AUTHORIZATION_FAILED"],
                &["Not authorized to access topics"],
            ],
            after_fix,
        ),
        ..USUAL
    },
];

fn with_password(facts: &Facts, subject: &Subject) -> Next {
    let Subject::Connector(name) = subject else {
        return run(login::give(&format!(
            "{}.password",
            facts.path(component_of(subject))
        )));
    };
    let connector = facts.connector(name);
    let wanted = connector.and_then(|it| it.wanted.as_ref());
    let refused = connector.is_some_and(|it| it.refused.is_some());
    match (connector.and_then(|it| it.login_works), wanted) {
        // The server takes the password that counts: the resource, or the task, has another one.
        (Some(true), Some(_)) if refused => Next::Fix(Fix::Up),
        (Some(true), _) => Next::Fix(Fix::RestartConnector(name.clone())),
        (_, Some(wanted)) => match &wanted.password_key {
            Some(key) => run(login::give(key)),
            None => Next::Fix(Fix::Up),
        },
        (_, None) => run(format!(
            "correct its password where it is configured, then: cargo xtask connector restart {name}"
        )),
    }
}
