//! What keeps a component, a connector or an operator from its work, as the platform sees it.
//!
//! A slot that is not read is asked about after four seconds: where its login is refused, or it is
//! gone and the connector has an offset, nobody will make it, and the wait ends with the command
//! that helps.

use std::collections::BTreeMap;

use super::Environment;
use super::link::CONNECTOR;
use crate::error::Result;
use crate::platform::Platform;
use crate::platform::host::daemon;
use crate::readiness::connect::ConnectorStatus;
use crate::readiness::{State, Status};

impl Environment {
    /// What keeps a component from answering, as its platform sees it: a process that has ended, a
    /// resource that is not current. None where nothing speaks against asking it.
    pub async fn blocked_by(&self, component: &str) -> Option<Status> {
        if self.is_external(component) {
            return None;
        }
        match self.platform {
            Platform::Host => daemon::ended(&self.dirs, component),
            Platform::Kind | Platform::Kubernetes => match self.link.get() {
                Some(link) => link.blocked_by(&self.profile, component).await,
                None => Some(Status::unknown("the cluster is not there")),
            },
        }
    }

    /// As [`Environment::blocked_by`], for those who wait until nothing does: an operator that may be of an
    /// old opinion is asked to look again.
    pub async fn still_blocked_by(&self, component: &str) -> Option<Status> {
        let blocked = self.blocked_by(component).await?;
        Some(self.nudged(component, blocked).await)
    }

    /// As [`Environment::unserved_by`], with what [`Environment::still_blocked_by`] does.
    pub async fn still_unserved_by(&self, component: &str) -> Option<Status> {
        let blocked = self.unserved_by(component).await?;
        Some(self.nudged(component, blocked).await)
    }

    async fn nudged(&self, component: &str, blocked: Status) -> Status {
        if blocked.state == State::Failed {
            return blocked;
        }
        said_too(blocked, self.nudge_operator(component).await)
    }

    /// As [`Environment::blocked_by`], but without what a component does not need to serve requests.
    pub async fn unserved_by(&self, component: &str) -> Option<Status> {
        match self.link.get() {
            Some(link) if !self.is_external(component) => {
                link.unserved_by(&self.profile, component).await
            }
            _ => self.blocked_by(component).await,
        }
    }

    /// Ends waits of others for a component that are in vain by now, and says what it did. Strimzi looks
    /// every two minutes, and not at all at a change that came while it was busy; a kubelet pauses for
    /// up to five. For waits of commands that change something.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn nudge_operator(&self, component: &str) -> Result<Option<String>> {
        match self.link.get() {
            Some(link) if !self.is_external(component) => {
                link.nudge_operator(&self.profile, component, false).await
            }
            _ => Ok(None),
        }
    }

    /// What keeps a component's pods from starting; none once they have, whatever becomes of them.
    pub async fn not_started(&self, component: &str) -> Option<Status> {
        let link = self.link.get()?;
        link.not_started(&self.profile, component).await
    }

    /// What stands between a connector's resource and what Connect says about it, where an operator
    /// looks after it: a change that it has not taken up, a configuration that it refused (Connect
    /// goes on with the one before), a state that is wanted and not there yet.
    pub async fn connector_blocked_by(
        &self,
        name: &str,
        status: Option<&ConnectorStatus>,
    ) -> Option<Status> {
        let link = self.link.get()?;
        link.connector_blocked_by(&self.profile, name, status).await
    }

    /// Asks the operator to look at a connector again, as [`Environment::nudge_operator`]; also where
    /// Connect has `changed` what the operator made of it.
    ///
    /// # Errors
    /// The cluster refuses.
    pub async fn nudge_connector(&self, name: &str, changed: bool) -> Result<Option<String>> {
        let Some(link) = self.link.get() else {
            return Ok(None);
        };
        let name = format!("{}{name}", CONNECTOR);
        link.nudge_operator(&self.profile, &name, changed).await
    }

    /// Whether the operator of Kafka and Connect is at work, without pods that were there `before`, by
    /// name and uid: a restarted one is back when it leads.
    pub async fn operator_leads(&self, before: &BTreeMap<String, String>) -> Status {
        match self.link.get() {
            Some(link) => link.operator_leads(&self.profile, before).await,
            None => Status::unknown("the cluster is not there"),
        }
    }

    /// Whether an operator of another version than the one that runs was the last that looked at Kafka.
    pub async fn unseen_by_operator(&self) -> Option<Status> {
        self.link.get()?.unseen_by_operator(&self.profile).await
    }
}

/// With what was done about it.
pub fn said_too(status: Status, nudged: Result<Option<String>>) -> Status {
    let said = match nudged {
        Ok(None) => return status,
        Ok(Some(said)) => said,
        Err(error) => format!(
            "its operator cannot be asked to look again: {}",
            error.message
        ),
    };
    Status {
        message: format!("{}; {said}", status.message),
        ..status
    }
}
