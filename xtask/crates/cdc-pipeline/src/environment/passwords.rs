//! The environment's passwords: made, read, and handed to whom they are for.
//!
//! On clusters the passwords in the cluster's Secrets count, not those that this machine remembers.
//! MongoDB's key used to be root's password: a set that has the old key is restarted member by
//! member onto the new one, and a majority has either.

use std::collections::BTreeMap;

use super::{Environment, Secrets};
use crate::error::Result;
use crate::platform::host::{Dirs, secrets};
use crate::platform::{Platform, Secret};
use crate::profile::Profile;
use crate::profile::component::Instance;
use crate::profile::logins::Login;
use crate::profile::schema::Password;

/// The passwords by the names under which they are kept: a component's own name, with `-connector` its
/// connectors' user, and with the suffixes of its keys whatever else it has.
pub(super) struct Passwords(BTreeMap<String, Secret>);

impl Passwords {
    /// Those of a profile: its own, or what was generated before, or new ones.
    ///
    /// # Errors
    /// A file cannot be used.
    pub(super) fn of(
        profile: &Profile,
        dirs: &Dirs,
        platform: Platform,
        mode: Secrets,
    ) -> Result<Self> {
        let mut all = BTreeMap::new();
        let mut add = |name: String, fixed: Option<&Password>| {
            let fixed = fixed.map(|Password(text)| Secret::new(text.as_str()));
            let secret = match mode {
                Secrets::Create => secrets::ensure(dirs, &name, fixed.as_ref()),
                Secrets::Existing => secrets::existing(dirs, &name, fixed.as_ref()),
            };
            all.insert(name, secret?);
            Ok::<_, crate::error::Error>(())
        };
        // Nobody gave a service of the user's own the password that would be generated for it.
        let none = Password(String::new());
        for instance in profile.components.values() {
            let external = instance.is_external().then_some(&none);
            if let Some(accounts) = instance.spec.accounts() {
                add(instance.name.clone(), accounts.password.or(external))?;
                if let Login::Own(_) = instance.connector_login() {
                    let fixed = accounts.connector.and_then(|it| it.password);
                    add(instance.connector_secret(), fixed)?;
                }
            }
            for key in instance.spec.keys(profile) {
                if !key.on_clusters || platform != Platform::Host {
                    let fixed = external.filter(|_| !key.on_clusters);
                    add(format!("{}-{}", instance.name, key.suffix), fixed)?;
                }
            }
        }
        Ok(Passwords(all))
    }

    /// The password of this name; empty where there is none.
    pub(super) fn get(&self, name: &str) -> Secret {
        let found = self.0.get(name).cloned();
        found.unwrap_or_else(|| Secret::new(""))
    }
}

impl Environment {
    /// The password that is kept under this name; empty where there is none.
    pub fn password(&self, name: &str) -> Secret {
        self.passwords.get(name)
    }

    /// What a component's connectors log in with.
    pub fn connector_password(&self, of: &Instance) -> Secret {
        match of.connector_login() {
            Login::Own(_) => self.password(&of.connector_secret()),
            Login::Shared(_) => self.password(&of.name),
            Login::Nobody => Secret::new(""),
        }
    }

    /// Every password of the environment. Nothing but a search for them may want all.
    pub fn secrets(&self) -> Vec<String> {
        let own = self.passwords.0.values();
        let mut all: Vec<String> = own.map(|secret| secret.expose().to_owned()).collect();
        all.extend(self.kafka_login().password.map(|it| it.expose().to_owned()));
        all
    }
}
