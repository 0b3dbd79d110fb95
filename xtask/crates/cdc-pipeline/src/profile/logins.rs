//! Whom connectors log in as: on servers that the tool runs a user of their own with no more rights
//! than they need, on a server of the user's own the profile's user, unless the profile asks for one.

use super::component::Instance;

/// The connectors' own user where the profile names none.
pub const CONNECTOR_USER: &str = "cdc_connector";

/// Whom a source's connectors log in as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login<'a> {
    /// A user of their own, which the tool makes and gives its rights.
    Own(&'a str),
    /// The user that the tool itself logs in as.
    Shared(&'a str),
    /// The server knows no users.
    Nobody,
}

impl<'a> Login<'a> {
    /// The user's name; empty where there is none.
    pub fn user(self) -> &'a str {
        match self {
            Login::Own(user) | Login::Shared(user) => user,
            Login::Nobody => "",
        }
    }

    /// Whether the tool makes the user.
    pub fn is_own(self) -> bool {
        matches!(self, Login::Own(_))
    }
}

impl Instance {
    /// Whom the connectors of a component log in as.
    pub fn connector_login(&self) -> Login<'_> {
        let accounts = self.spec.accounts();
        let Some((accounts, connector)) = accounts.and_then(|it| Some((it, it.connector?))) else {
            return Login::Nobody;
        };
        let (user, external) = (accounts.user, self.is_external());
        // A server that takes anybody refuses a login with an empty password: without one nobody is meant to
        // log in.
        let password = accounts.password.is_some_and(|it| !it.0.is_empty());
        let nobody = connector.anybody && external && (user.is_empty() || !password);
        match connector.user {
            Some(own) if own != user => Login::Own(own),
            None if !external && user != CONNECTOR_USER => Login::Own(CONNECTOR_USER),
            _ if nobody => Login::Nobody,
            _ => Login::Shared(user),
        }
    }

    /// Under which name the password of its connectors is kept: in the environment's secrets, as a
    /// cluster's Secret, and where the workers mount that.
    pub fn connector_secret(&self) -> String {
        format!("{}-connector", self.name)
    }
}

#[cfg(test)]
mod tests {

    use crate::components::load;
    use crate::profile::Selection;

    fn logins(set: &[&str]) -> [String; 2] {
        let root = crate::repository();
        let selection = Selection {
            profile: "clickhouse".into(),
            set: set.iter().map(|it| (*it).to_owned()).collect(),
        };
        let profile = load(root, &selection).expect("a profile").profile;
        ["postgres", "mongodb"]
            .map(|name| format!("{:?}", profile.components[name].connector_login()))
    }

    #[test]
    fn connectors_are_users_of_their_own_where_the_tool_runs_the_server_or_the_profile_asks() {
        let own = ["Own(\"cdc_connector\")", "Own(\"cdc_connector\")"];
        assert_eq!(logins(&[]), own);
        assert_eq!(
            logins(&[
                "postgres.connector_user=reader",
                "mongodb.connector_user=root"
            ]),
            ["Own(\"reader\")", "Shared(\"root\")"]
        );
        assert_eq!(
            logins(&["postgres.user=cdc_connector"])[0],
            "Shared(\"cdc_connector\")"
        );
        let external = [
            "postgres.external=pg.example:5432",
            "mongodb.external=mongo.example:27017",
        ];
        assert_eq!(logins(&external), ["Shared(\"postgres\")", "Nobody"]);
        let with = |more: &str| logins(&[external[0], external[1], more]);
        assert_eq!(with("mongodb.password=geheim")[1], "Shared(\"root\")");
        assert_eq!(with("mongodb.connector_user=reader")[1], "Own(\"reader\")");
        assert_eq!(with("postgres.connector_user=reader")[0], "Own(\"reader\")");
    }
}
