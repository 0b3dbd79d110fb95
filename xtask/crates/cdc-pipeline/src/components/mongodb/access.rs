//! What connectors may do at the document source: read the databases that they capture, and follow
//! their changes, as a user of their own. MongoDB's built-in role `read` has both. A connector of
//! several databases follows the whole deployment, which takes these rights everywhere.
//!
//! On a server that the tool runs the user has these roles and no others. On one that the user runs,
//! none is taken away, and a user that was there keeps its password.
//!
//! A change stream of one database needs rights in that database alone (`capture.scope`). A resume
//! token names an event and not the stream that it was read from, so one of the whole deployment's
//! stream is resumed there (not tried on a genuine MongoDB).

use std::collections::BTreeSet;

use mongodb::bson::{Bson, Document, doc};

use super::settings::MongodbSettings;
use crate::clients::mongodb::Mongodb;
use crate::components::connect::login;
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Outcome;
use crate::profile::Profile;
use crate::profile::schema::Connector;

/// What MongoDB answers where there is no such role.
const ROLE_NOT_FOUND: i32 = 31;

/// A role of a database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Role {
    name: String,
    database: String,
}

impl Role {
    fn new(name: &str, database: &str) -> Self {
        Role {
            name: name.to_owned(),
            database: database.to_owned(),
        }
    }

    /// As MongoDB names it.
    fn document(&self) -> Document {
        doc! { "role": &self.name, "db": &self.database }
    }
}

/// The right to follow the changes of every database, which no built-in role has alone.
const EVERYWHERE: &str = "cdc_connector_everywhere";

/// The roles that the user needs.
fn needed(
    own: &MongodbSettings,
    profile: &Profile,
    of: impl Fn(&Connector) -> bool,
) -> BTreeSet<Role> {
    let mut roles = BTreeSet::new();
    for (name, connector) in &profile.connectors {
        if connector.source != own.name || !of(connector) {
            continue;
        }
        let flows = profile
            .flows
            .values()
            .filter(|flow| flow.connector == *name);
        let databases: BTreeSet<&str> = flows
            .filter_map(|flow| Some(flow.table.split_once('.')?.0))
            .collect();
        if databases.len() > 1 {
            roles.insert(Role::new(EVERYWHERE, "admin"));
        }
        roles.extend(databases.into_iter().map(|it| Role::new("read", it)));
    }
    roles
}

/// The roles in the server's answer to `usersInfo`; none if there is no such user.
fn has(answer: &Document) -> Option<BTreeSet<Role>> {
    let users = answer.get_array("users").ok()?;
    let roles = users.first()?.as_document()?.get_array("roles").ok()?;
    let role = |role: &Bson| {
        let role = role.as_document()?;
        Some(Role::new(
            role.get_str("role").ok()?,
            role.get_str("db").ok()?,
        ))
    };
    Some(roles.iter().filter_map(role).collect())
}

/// The roles that the user shall have; none if it is to stay as it is.
fn wanted(needed: &BTreeSet<Role>, has: &BTreeSet<Role>, is_ours: bool) -> Option<BTreeSet<Role>> {
    let wanted = match is_ours {
        true => needed.clone(),
        false => needed.union(has).cloned().collect(),
    };
    (wanted != *has).then_some(wanted)
}

/// Gives the connectors' user what it needs.
///
/// # Errors
/// The member refuses.
pub async fn grant(own: &MongodbSettings, env: &Environment) -> Result<Outcome> {
    let user = env.profile.component(&own.name);
    let Some(user) = user.and_then(|it| env.own_connector_user(it)) else {
        return Ok(Outcome::Unchanged(
            "connectors have no user of their own".into(),
        ));
    };
    let client = own.client(env);
    let needed = needed(own, &env.profile, |it| env.connector_user(it) == user);
    let everywhere = needed.iter().any(|role| role.name == EVERYWHERE);
    if everywhere {
        may_follow_everything(&client).await?;
    }
    let list =
        |roles: &BTreeSet<Role>| -> Vec<Document> { roles.iter().map(Role::document).collect() };
    let password = env.password(&format!("{}-connector", own.name));
    let password = password.expose();
    let found = admin(
        &client,
        doc! { "usersInfo": { "user": user, "db": "admin" } },
    )
    .await?;
    let Some(has) = has(&found) else {
        let user_doc = doc! { "createUser": user, "pwd": password, "roles": list(&needed) };
        admin(&client, user_doc).await?;
        return Ok(Outcome::Changed(format!("made the user {user}")));
    };
    let mut done = Vec::new();
    if let Some(roles) = wanted(&needed, &has, own.external.is_none()) {
        admin(&client, doc! { "updateUser": user, "roles": list(&roles) }).await?;
        done.push(format!("changed the roles of {user}"));
    }
    match own.client_as_connector(env).hello().await {
        Err(error) if error.is_refused_login() && own.external.is_some() => {
            // Others may log in with the password that it has.
            return Err(service(&error).hint(login::keep_password(&own.name, user)));
        }
        Err(error) if error.is_refused_login() => {
            admin(&client, doc! { "updateUser": user, "pwd": password }).await?;
            done.push(format!("set the password of {user}"));
        }
        Err(error) => return Err(service(&error)),
        Ok(_) => {}
    }
    Ok(match done.as_slice() {
        [] => Outcome::Unchanged(format!("{user} has its rights")),
        done => Outcome::Changed(done.join("; ")),
    })
}

/// Has the role for following every database.
async fn may_follow_everything(client: &Mongodb) -> Result<()> {
    let update = |command: &str| {
        doc! {
            command: EVERYWHERE,
            "privileges": [{
                "resource": { "db": "", "collection": "" },
                "actions": ["find", "changeStream"],
            }],
            "roles": [],
        }
    };
    match client.admin(update("updateRole")).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == ROLE_NOT_FOUND => {
            admin(client, update("createRole")).await.map(drop)
        }
        Err(error) => Err(service(&error)),
    }
}

async fn admin(client: &Mongodb, command: Document) -> Result<Document> {
    client.admin(command).await.map_err(|error| service(&error))
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::components::load;
    use crate::profile::Selection;
    use crate::profile::component::Instance;

    fn roles(roles: &[(&str, &str)]) -> BTreeSet<Role> {
        roles
            .iter()
            .map(|(name, database)| Role::new(name, database))
            .collect()
    }

    #[test]
    fn a_connector_of_one_database_reads_that_one() {
        let root = crate::repository();
        let of = |set: &[&str]| {
            let selection = Selection {
                profile: "clickhouse".into(),
                set: set.iter().map(|it| (*it).to_owned()).collect(),
            };
            let profile = load(root, &selection).expect("a profile").profile;
            let own = profile.component("mongodb").and_then(Instance::get);
            needed(own.expect("settings"), &profile, |_| true)
        };
        assert_eq!(of(&[]), roles(&[("read", "commerce")]));
        let other = [
            "flows.more.connector=mongo-connector",
            "flows.more.table=shop.orders",
            "flows.more.keep=every",
            "flows.more.key=[id]",
            "flows.more.group=more",
            "flows.more.columns.id=String",
        ];
        assert_eq!(
            of(&other),
            roles(&[
                ("read", "commerce"),
                ("read", "shop"),
                (EVERYWHERE, "admin")
            ])
        );
    }

    #[test]
    fn roles_beyond_are_taken_on_the_tool_s_own_server_only() {
        let needed = roles(&[("read", "commerce")]);
        let more = roles(&[("read", "commerce"), ("root", "admin")]);
        assert_eq!(wanted(&needed, &needed, true), None);
        assert_eq!(wanted(&needed, &more, true), Some(needed.clone()));
        assert_eq!(wanted(&needed, &more, false), None);
        assert_eq!(
            wanted(&needed, &roles(&[("root", "admin")]), false),
            Some(more)
        );
    }

    #[test]
    fn the_server_s_answer() {
        let none = doc! { "users": [], "ok": 1.0 };
        assert_eq!(has(&none), None);
        let one = doc! { "users": [{ "_id": "admin.cdc", "user": "cdc", "db": "admin",
        "roles": [{ "role": "read", "db": "commerce" }] }], "ok": 1.0 };
        assert_eq!(has(&one), Some(roles(&[("read", "commerce")])));
    }
}
