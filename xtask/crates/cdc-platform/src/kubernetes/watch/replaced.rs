//! Waiting for an object's pods to be others.

use std::sync::Arc;
use std::time::Duration;

use kube::core::DynamicObject;

use super::{Target, Watches};
use crate::error::Result;
use crate::plan::Progress;
use crate::readiness::{State, Status};
use crate::wait;

impl Watches {
    /// Waits until the object's pods are as `judge` wants them, and the object is current too. Only
    /// then its failure counts: what is wrong with pods that are to go is being fixed.
    ///
    /// # Errors
    /// `GateFailed` and `GateTimeout`, as [`wait::until`].
    pub async fn replaced(
        &self,
        what: &str,
        target: Target,
        judge: impl Fn(&[Arc<DynamicObject>]) -> Status,
        deadline: Duration,
        progress: &Progress,
    ) -> Result<String> {
        let gate = self.gate(target);
        let mut changes = gate.changes();
        let gate = tokio::sync::Mutex::new(gate);
        wait::until_changed(what, deadline, progress, &mut changes, || async {
            let mut gate = gate.lock().await;
            // A watch that has only just begun has seen no pod yet.
            if let Some(blind) = gate.blind() {
                return blind;
            }
            let pods = judge(&gate.seen().pods);
            if pods.state != State::Current {
                return pods;
            }
            match gate.look().await {
                status if status.state == State::Current => pods,
                status => status,
            }
        })
        .await
    }
}
