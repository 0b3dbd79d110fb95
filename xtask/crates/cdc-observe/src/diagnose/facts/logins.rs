//! Whether a source takes a connector's login as this tool knows it, where something says that it is refused.

use super::Connector;
use crate::components::connect::login;
use crate::environment::Environment;
use crate::readiness::connect::is_login_refused;
use crate::wait::Limit;

/// Tries the logins that are said to be refused.
pub(super) async fn add(env: &Environment, connectors: &mut [Connector], limit: &Limit) {
    for connector in connectors.iter_mut().filter(|it| is_said_refused(it)) {
        let Some(wanted) = env.profile.connectors.get(&connector.name) else {
            continue;
        };
        let works = limit
            .within(login::works(env, &connector.name, wanted))
            .await;
        connector.login_works = works.ok().flatten();
    }
}

fn is_said_refused(connector: &Connector) -> bool {
    let refused = connector.refused.iter();
    let refused = refused.flat_map(|it| it.evidence.iter().chain([&it.message]));
    let complaints = connector.complaints.iter().chain(refused);
    let mut said = complaints.map(String::as_str).chain(connector.traces());
    said.any(is_login_refused)
}
