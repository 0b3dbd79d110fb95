//! CloudNativePG stays in the namespace that its webhooks name.

use super::settings::OPERATOR;
use crate::components::Operator;

/// CloudNativePG.
pub(crate) static CLOUDNATIVE_PG: Operator = Operator {
    name: "cloudnative-pg",
    part: &OPERATOR,
    deployment: "cnpg-controller-manager",
    namespace: |_| "cnpg-system",
    fit: |_, _, _| Ok(()),
};
