//! What connectors may do at a MySQL source: pose as a replica, hold the tables still for the moment in
//! which a snapshot begins (`FLUSH_TABLES`), and read the captured tables.
//!
//! On a server that the tool runs the user has these rights and no others. On one that the user runs,
//! nothing is taken away, and a user that was there keeps its password. MySQL itself masks the password
//! in what it logs of a statement.

use super::settings::MysqlSettings;
use crate::clients::mysql::{Mysql, MysqlError, literal, table};
use crate::components::connect::login;
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Outcome;

/// Gives the connectors' user what it needs.
///
/// # Errors
/// The server refuses.
pub(super) async fn grant(own: &MysqlSettings, env: &Environment) -> Result<Outcome> {
    let user = env.profile.component(&own.name);
    let Some(user) = user.and_then(|it| env.own_connector_user(it)) else {
        return Ok(Outcome::Unchanged(
            "connectors have no user of their own".into(),
        ));
    };
    let session = own.session(env).await.map_err(|error| service(&error))?;
    let mut done = Vec::new();
    done.extend(login(own, env, &session, user).await?);
    let flows = env.profile.flows_of(&own.name).filter(|(_, flow)| {
        let connector = env.profile.connectors.get(&flow.connector);
        connector.is_some_and(|it| env.connector_user(it) == user)
    });
    let wanted = wanted(user, flows.map(|(_, flow)| flow.table.as_str()));
    let sql = format!("SHOW GRANTS FOR {}", account(user));
    let rows = session.query(&sql).await;
    let rows = rows.map_err(|error| service(&error))?.into_iter();
    let has: Vec<String> = rows.filter_map(|row| row.into_iter().next()?).collect();
    for sql in changes(&wanted, &has, own.external.is_none()) {
        run(&session, &sql).await?;
        done.push(format!("changed the rights of {user}"));
    }
    done.dedup();
    Ok(match done.as_slice() {
        [] => Outcome::Unchanged("the connectors have their rights".into()),
        done => Outcome::Changed(done.join("; ")),
    })
}

/// Has the user log in with the environment's password; says what it took.
async fn login(
    own: &MysqlSettings,
    env: &Environment,
    session: &Mysql,
    user: &str,
) -> Result<Option<String>> {
    let refused = match own.session_as_connector(env).await {
        Ok(_) => return Ok(None),
        Err(error) if error.is_refused_login() => error,
        Err(error) => return Err(service(&error)),
    };
    let exists = format!("SELECT 1 FROM mysql.user WHERE user = {}", literal(user));
    let exists = session.value(&exists).await;
    let exists = exists.map_err(|error| service(&error))?.is_some();
    if exists && own.external.is_some() {
        // Others may log in with the password that it has.
        return Err(service(&refused).hint(login::keep_password(&own.name, user)));
    }
    let password = env.password(&format!("{}-connector", own.name));
    let verb = if exists { "ALTER" } else { "CREATE" };
    let sql = format!(
        "{verb} USER {} IDENTIFIED BY {}",
        account(user),
        literal(password.expose())
    );
    run(session, &sql).await?;
    Ok(Some(match exists {
        true => format!("set the password of {user}"),
        false => format!("made the user {user}"),
    }))
}

/// The user from anywhere.
fn account(user: &str) -> String {
    format!("{}@'%'", literal(user))
}

/// The grants that the user needs, as MySQL shows them.
fn wanted<'a>(user: &str, tables: impl Iterator<Item = &'a str>) -> Vec<String> {
    let to = format!("TO `{user}`@`%`");
    let mut all = vec![
        format!("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* {to}"),
        format!("GRANT FLUSH_TABLES ON *.* {to}"),
    ];
    all.extend(tables.map(|name| format!("GRANT SELECT ON {} {to}", table(name))));
    all
}

/// The statements that lead from the grants that there are to those that are wanted.
fn changes(wanted: &[String], has: &[String], is_ours: bool) -> Vec<String> {
    let is_nothing = |grant: &String| grant.starts_with("GRANT USAGE ON *.*");
    let surplus = has
        .iter()
        .filter(|grant| is_ours && !is_nothing(grant) && !wanted.contains(grant));
    let revoked = surplus.map(|grant| {
        let what = grant.trim_start_matches("GRANT ");
        let what = what.trim_end_matches(" WITH GRANT OPTION");
        match what.rsplit_once(" TO ") {
            Some((rights, user)) => format!("REVOKE {rights} FROM {user}"),
            None => format!("REVOKE {what}"),
        }
    });
    let missing = wanted.iter().filter(|grant| !has.contains(grant)).cloned();
    revoked.chain(missing).collect()
}

async fn run(session: &Mysql, sql: &str) -> Result<()> {
    let done = session.execute(sql).await;
    done.map(drop).map_err(|error: MysqlError| {
        let is_missing = error.is_missing_right();
        // Not the statement: it may hold a password.
        let error = service(&error);
        match is_missing {
            true => error.hint("have an administrator of the server do it"),
            false => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_those_that_are_needed() {
        let wanted = wanted("cdc", ["shop.customers"].into_iter());
        let has = |more: &[&str]| -> Vec<String> {
            let first = ["GRANT USAGE ON *.* TO `cdc`@`%`"];
            let all = first.iter().chain(more);
            all.map(|grant| (*grant).to_owned()).collect()
        };
        assert_eq!(changes(&wanted, &has(&[]), true), wanted);
        let all: Vec<&str> = wanted.iter().map(String::as_str).collect();
        assert!(changes(&wanted, &has(&all), true).is_empty());
        let more = [&all[..], &["GRANT SELECT ON `shop`.`old` TO `cdc`@`%`"]].concat();
        assert_eq!(
            changes(&wanted, &has(&more), true),
            ["REVOKE SELECT ON `shop`.`old` FROM `cdc`@`%`"]
        );
        assert!(changes(&wanted, &has(&more), false).is_empty());
    }
}
