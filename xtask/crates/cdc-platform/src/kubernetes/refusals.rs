//! What the server refused, as the user reads it.

use super::retry::Refusal;
use super::{Cluster, ObjectRef};
use crate::error::{Code, Error};

/// A field that another manager owns.
pub(super) struct Taken {
    object: ObjectRef,
    field: String,
    manager: String,
}

/// The fields that a refused apply names.
pub(super) fn conflicts(object: &ObjectRef, refusal: &Refusal) -> Vec<Taken> {
    let Some(details) = refusal.status().and_then(|status| status.details.as_ref()) else {
        return Vec::new();
    };
    let causes = details.causes.iter();
    causes
        .filter(|cause| cause.reason == "FieldManagerConflict")
        .map(|cause| Taken {
            object: object.clone(),
            field: cause.field.trim_start_matches('.').to_owned(),
            // conflict with "kubectl-edit" using v1
            manager: cause
                .message
                .split('"')
                .nth(1)
                .unwrap_or(&cause.message)
                .to_owned(),
        })
        .collect()
}

/// One error for all of them.
pub(super) fn conflict(taken: Vec<Taken>) -> Error {
    let mut managers: Vec<&str> = taken.iter().map(|taken| taken.manager.as_str()).collect();
    managers.sort_unstable();
    managers.dedup();
    let fields = if taken.len() == 1 {
        "a field is"
    } else {
        "fields are"
    };
    let what = format!("{fields} owned by {}", managers.join(", "));
    let lines: Vec<String> = taken
        .iter()
        .map(|taken| {
            format!(
                "{}: {} (owned by {})",
                taken.object, taken.field, taken.manager
            )
        })
        .collect();
    Error::new(Code::Drift, what).details(lines).hint(
        "see both values with `cargo xtask diff`; let the other manager give the fields up, or take them over: cargo xtask up --force",
    )
}

/// A refusal of an object, as the user reads it.
pub(super) fn explain(cluster: &Cluster, object: &ObjectRef, refusal: &Refusal) -> Error {
    let causes = refusal
        .status()
        .and_then(|status| status.details.as_ref())
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    if causes
        .iter()
        .any(|cause| cause.reason == "NamespaceTerminating")
    {
        let namespace = object.namespace.as_deref().unwrap_or_default();
        let what = format!("{object}: the namespace {namespace} is being deleted");
        return Error::new(Code::Service, what).hint(format!(
            "wait until it is gone; what holds it: `kubectl --context {} get namespace {namespace} -o yaml`",
            cluster.context
        ));
    }
    cluster.refused(&object.to_string(), refusal)
}
