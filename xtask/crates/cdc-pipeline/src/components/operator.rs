//! An operator that runs components on clusters, as data that belongs to their type.

use serde_json::Value;

use super::OPERATORS;
use crate::error::{Code, Error, Result};
use crate::platform::kubernetes::watch::Target;
use crate::profile::Profile;
use crate::profile::parts::Part;

/// An operator.
pub struct Operator {
    /// Its name, which is also its folder in `manifests/`.
    pub name: &'static str,
    /// Its version.
    pub part: &'static Part,
    /// The Deployment of its installation.
    pub deployment: &'static str,
    /// The namespace that it is installed in.
    pub namespace: fn(&Profile) -> &str,
    /// Fits an object of its installation files to that namespace. The text is the password that the
    /// operator logs in with at what it runs; it is empty for one that does not.
    pub fit: fn(&mut Value, &str, &str) -> Result<(), &'static str>,
}

impl Operator {
    /// The operator of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(name: &str) -> Result<&'static Self> {
        let mut all = OPERATORS.iter().copied();
        all.find(|it| it.name == name)
            .ok_or_else(|| Error::new(Code::Plan, format!("there is no operator `{name}`")))
    }

    /// Its Deployment.
    pub fn target(&self, profile: &Profile) -> Target {
        let namespace = (self.namespace)(profile);
        Target::of("apps/v1", "Deployment", namespace, self.deployment)
    }
}
