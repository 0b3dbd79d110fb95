//! Strimzi goes into Kafka's namespace and watches it alone, as its installation guide says: the namespace
//! of the subjects of its bindings is changed, and of what is namespaced. Versions before 1.0 ship its
//! Deployment without the security context that Pod Security's `restricted` asks for; later ones have it.

use crate::components::Operator;
use crate::environment::STRIMZI_DEPLOYMENT;
use crate::platform::kubernetes::bundles::install::{into_namespace, restrict};
use crate::profile::component::Space;
use crate::profile::parts;

/// Strimzi.
pub(crate) static STRIMZI: Operator = Operator {
    name: "strimzi",
    part: &parts::STRIMZI,
    deployment: STRIMZI_DEPLOYMENT,
    namespace: |profile| profile.namespace(Space::Kafka),
    fit: |object, namespace, _| {
        into_namespace(object, namespace);
        restrict(object);
        Ok(())
    },
};
