//! What connectors may do at a SQL Server: log in, read the captured tables and what captures them. A change table is
//! read by who may read all captured columns and is of the table's role.
//!
//! On a server that the tool runs the login has these rights and no others. On one that the user runs nothing is taken
//! away, and a login that was there keeps its password. SQL Server itself masks the password in what it logs of a
//! statement.

use std::collections::BTreeSet;

use super::capture::{Name, databases};
use super::settings::SqlserverSettings;
use crate::clients::sqlserver::{Sqlserver, SqlserverError, ident, literal, table as quoted};
use crate::components::connect::login;
use crate::components::service;
use crate::environment::Environment;
use crate::error::Result;
use crate::plan::Outcome;

/// Gives the connectors' login what it needs.
///
/// # Errors
/// The server refuses.
pub(super) async fn grant(own: &SqlserverSettings, env: &Environment) -> Result<Outcome> {
    let user = env.profile.component(&own.name);
    let Some(user) = user.and_then(|it| env.own_connector_user(it)) else {
        return Ok(Outcome::Unchanged(
            "connectors have no login of their own".into(),
        ));
    };
    let session = own.session(env).await.map_err(service)?;
    let mut done = Vec::new();
    done.extend(login(own, env, &session, user).await?);
    let flows = env.profile.flows_of(&own.name).filter(|(_, flow)| {
        let connector = env.profile.connectors.get(&flow.connector);
        connector.is_some_and(|it| env.connector_user(it) == user)
    });
    let tables: BTreeSet<&str> = flows.map(|(_, flow)| flow.table.as_str()).collect();
    for database in databases(tables.iter().copied()) {
        let known = session.value(&exists(user, database)).await;
        if known.map_err(service)?.is_none() {
            run(&session, &within(database, &create_user(user))).await?;
            done.push(format!("made the user {user} in {database}"));
        }
        let rows = session.query(&within(database, &granted(user))).await;
        let has = pairs(rows.map_err(service)?);
        let own_tables = || {
            let all = tables.iter().copied();
            all.filter(|it| Name::of(it).database == database)
        };
        let rows = session.query(&roles(database, own_tables())).await;
        let rows = rows.map_err(service)?.into_iter();
        let mut wanted = wanted(own_tables());
        wanted.extend(rows.filter_map(|row| Some((MEMBER.to_owned(), row.into_iter().next()??))));
        for sql in changes(user, &wanted, &has, own.external.is_none()) {
            run(&session, &within(database, &sql)).await?;
            done.push(format!("changed the rights of {user}"));
        }
    }
    done.dedup();
    Ok(match done.as_slice() {
        [] => Outcome::Unchanged("the connectors have their rights".into()),
        done => Outcome::Changed(done.join("; ")),
    })
}

/// Has the login work with the environment's password; says what it took.
async fn login(
    own: &SqlserverSettings,
    env: &Environment,
    session: &Sqlserver,
    user: &str,
) -> Result<Option<String>> {
    let endpoint = env.endpoint_as_connector(&own.name);
    // Every login may use this database.
    let refused = match Sqlserver::connect(&endpoint, "master").await {
        Ok(_) => return Ok(None),
        Err(error) if error.is_refused_login() => error,
        Err(error) => return Err(service(error)),
    };
    let exists = format!(
        "SELECT 1 FROM sys.server_principals WHERE name = {}",
        literal(user)
    );
    let exists = session.value(&exists).await.map_err(service)?.is_some();
    if exists && own.external.is_some() {
        // Others may log in with the password that it has.
        return Err(service(refused).hint(login::keep_password(&own.name, user)));
    }
    let password = env.password(&format!("{}-connector", own.name));
    let verb = if exists { "ALTER" } else { "CREATE" };
    run(session, &with_password(verb, user, password.expose())).await?;
    Ok(Some(match exists {
        true => format!("set the password of {user}"),
        false => format!("made the login {user}"),
    }))
}

/// The server's policy is for passwords that people choose.
fn with_password(verb: &str, user: &str, password: &str) -> String {
    format!(
        "{verb} LOGIN {} WITH PASSWORD = {}, CHECK_POLICY = OFF",
        ident(user),
        literal(password)
    )
}

/// A statement in a database. The session is in it afterwards.
fn within(database: &str, sql: &str) -> String {
    format!("USE {}\nGO\n{sql}", ident(database))
}

fn exists(user: &str, database: &str) -> String {
    format!(
        "SELECT 1 FROM {}.sys.database_principals WHERE name = {}",
        ident(database),
        literal(user)
    )
}

fn create_user(user: &str) -> String {
    format!("CREATE USER {0} FOR LOGIN {0}", ident(user))
}

/// A right, and at what it is.
type Right = (String, String);

/// Stands for being of a role where others are rights.
const MEMBER: &str = "MEMBER";

/// The rights that a user has in the session's database: tables, schemas, roles.
fn granted(user: &str) -> String {
    let user = literal(user);
    format!(
        "SELECT permission_name, CASE class WHEN 3 THEN N'SCHEMA::' + QUOTENAME(SCHEMA_NAME(major_id)) \
         ELSE QUOTENAME(OBJECT_SCHEMA_NAME(major_id)) + N'.' + QUOTENAME(OBJECT_NAME(major_id)) END \
         FROM sys.database_permissions WHERE grantee_principal_id = USER_ID({user}) AND class IN (1, 3) \
         AND minor_id = 0 AND state IN ('G', 'W') UNION ALL \
         SELECT N'{MEMBER}', QUOTENAME(USER_NAME(role_principal_id)) FROM sys.database_role_members \
         WHERE member_principal_id = USER_ID({user})"
    )
}

/// The roles that read the change tables of these.
fn roles<'a>(database: &str, tables: impl Iterator<Item = &'a str>) -> String {
    let objects: Vec<String> = tables.map(super::capture::object_id).collect();
    format!(
        "SELECT DISTINCT QUOTENAME(role_name) FROM {}.cdc.change_tables \
         WHERE role_name IS NOT NULL AND source_object_id IN ({})",
        ident(database),
        objects.join(", ")
    )
}

/// The rights that connectors need in a database beside its roles.
fn wanted<'a>(tables: impl Iterator<Item = &'a str>) -> Vec<Right> {
    let select = || "SELECT".to_owned();
    let tables = tables.map(|it| (select(), quoted(&Name::of(it).within())));
    tables
        .chain([(select(), format!("SCHEMA::{}", ident("cdc")))])
        .collect()
}

fn pairs(rows: Vec<crate::clients::answer::Row>) -> Vec<Right> {
    let rows = rows.into_iter();
    rows.filter_map(|row| {
        let mut cells = row.into_iter();
        Some((cells.next()??, cells.next()??))
    })
    .collect()
}

/// The statements that lead from the rights that there are to those that are wanted.
fn changes(user: &str, wanted: &[Right], has: &[Right], is_ours: bool) -> Vec<String> {
    let user = ident(user);
    let surplus = has.iter().filter(|it| is_ours && !wanted.contains(it));
    let revoked = surplus.map(|(right, at)| match right.as_str() {
        MEMBER => format!("ALTER ROLE {at} DROP MEMBER {user}"),
        right => format!("REVOKE {right} ON {at} FROM {user} CASCADE"),
    });
    let missing = wanted.iter().filter(|it| !has.contains(it));
    let given = missing.map(|(right, at)| match right.as_str() {
        MEMBER => format!("ALTER ROLE {at} ADD MEMBER {user}"),
        right => format!("GRANT {right} ON {at} TO {user}"),
    });
    revoked.chain(given).collect()
}

async fn run(session: &Sqlserver, sql: &str) -> Result<()> {
    let done = session.execute(sql).await;
    done.map(drop).map_err(|error: SqlserverError| {
        let is_missing = error.is_missing_right();
        // Not the statement: it may hold a password.
        let error = service(error);
        match is_missing {
            true => error.hint("have an administrator of the server do it"),
            false => error,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(right: &str, at: &str) -> Right {
        (right.to_owned(), at.to_owned())
    }

    #[test]
    fn rights_are_those_that_are_needed() {
        let mut wanted = wanted(["shop.dbo.customers"].into_iter());
        wanted.push(right(MEMBER, "[cdc_reader]"));
        let given = [
            "GRANT SELECT ON [dbo].[customers] TO [cdc]",
            "GRANT SELECT ON SCHEMA::[cdc] TO [cdc]",
            "ALTER ROLE [cdc_reader] ADD MEMBER [cdc]",
        ];
        assert_eq!(changes("cdc", &wanted, &[], true), given);
        assert!(changes("cdc", &wanted, &wanted, true).is_empty());
        let more = [
            &wanted[..],
            &[right("SELECT", "[dbo].[old]"), right(MEMBER, "[db_owner]")],
        ]
        .concat();
        let taken = [
            "REVOKE SELECT ON [dbo].[old] FROM [cdc] CASCADE",
            "ALTER ROLE [db_owner] DROP MEMBER [cdc]",
        ];
        assert_eq!(changes("cdc", &wanted, &more, true), taken);
        assert!(changes("cdc", &wanted, &more, false).is_empty());
    }

    #[test]
    fn statements_quote_what_they_name() {
        assert_eq!(
            with_password("CREATE", "c]dc", "it's"),
            "CREATE LOGIN [c]]dc] WITH PASSWORD = N'it''s', CHECK_POLICY = OFF"
        );
        assert_eq!(
            roles("shop", ["shop.dbo.a", "shop.dbo.b"].into_iter()),
            "SELECT DISTINCT QUOTENAME(role_name) FROM [shop].cdc.change_tables WHERE role_name IS NOT NULL \
             AND source_object_id IN (OBJECT_ID(N'[shop].[dbo].[a]'), OBJECT_ID(N'[shop].[dbo].[b]'))"
        );
    }
}
