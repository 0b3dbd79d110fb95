//! `forward` and `open`: the way from this machine to the services.

use std::process::ExitCode;

use serde_json::json;

use super::stdout::palette;
use super::{context, stdout};
use crate::cli::{Forward, Global, Open};
use crate::components;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::platform::{Endpoint, Platform};
use crate::process::{Job, run_visible};
use crate::profile::schema::Source;
use crate::report::Output;
use crate::report::table::{Side, Table};

/// The services of an environment, with where they answer this machine.
fn services(env: &Environment) -> Vec<(&'static str, Endpoint)> {
    let mut services = vec![("kafka", env.kafka()), ("connect", env.connect())];
    if env.profile.uses(Source::Postgres) {
        services.push(("postgres", env.postgres()));
    }
    if env.profile.uses(Source::Mongodb) {
        services.push(("mongodb", env.mongodb()));
    }
    services.push(("clickhouse", env.clickhouse()));
    services
}

fn service(env: &Environment, name: &str) -> Result<(&'static str, Endpoint)> {
    let component = components::named(name)?;
    if let Some(found) = services(env)
        .into_iter()
        .find(|(name, _)| *name == component)
    {
        return Ok(found);
    }
    let error = Error::new(
        Code::NotUp,
        format!("{component} does not run in `{}`", env.name),
    );
    let left = env.left_out.iter().find(|left| left.component == component);
    Err(match left {
        Some(left) => error.detail(left.reason.clone()),
        None => error.detail("no connector of the profile uses it"),
    })
}

pub(super) async fn run(global: &Global, args: &Forward) -> Result<ExitCode> {
    if let Some(name) = &args.service {
        components::named(name)?;
    }
    let env = context::existing(global).await?;
    let shown = match &args.service {
        Some(name) => vec![service(&env, name)?],
        None => services(&env),
    };
    // Ports of this machine that lead on: only what is on a cluster needs them.
    let forwarded = |name: &str| env.platform != Platform::Host && !env.is_external(name);
    let text = match global.output {
        Output::Json => {
            let services: Vec<_> = shown
                .iter()
                .map(|(name, endpoint)| {
                    json!({
                        "service": name,
                        "address": endpoint.address(),
                        "user": Some(&endpoint.user).filter(|user| !user.is_empty()),
                        "forwarded": forwarded(name),
                        "leads_to": env.shown(name),
                    })
                })
                .collect();
            format!("{}\n", json!({ "services": services }))
        }
        Output::Text => {
            let mut table = Table::new([
                ("SERVICE", Side::Left),
                ("ADDRESS", Side::Left),
                ("USER", Side::Left),
                ("LEADS TO", Side::Left),
            ]);
            for (name, endpoint) in &shown {
                let user = if endpoint.user.is_empty() {
                    "-"
                } else {
                    &endpoint.user
                };
                let leads = match forwarded(name) {
                    true => env.shown(name),
                    false if env.is_external(name) => "yours".to_owned(),
                    false => "listens there itself".to_owned(),
                };
                table.row([*name, &endpoint.address(), user, &leads]);
            }
            let secrets = env.dirs.secrets();
            format!(
                "{}passwords: {}\n",
                table.text(palette()),
                secrets.display()
            )
        }
    };
    stdout::print(&text)?;
    if !shown.iter().any(|(name, _)| forwarded(name)) {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("until Ctrl-C");
    std::future::pending::<()>().await;
    Ok(ExitCode::SUCCESS)
}

/// The page that a service has for browsers.
fn page(component: &str) -> Option<&'static str> {
    match component {
        "clickhouse" => Some("/play"),
        // Its REST interface, which browsers show.
        "connect" => Some("/connectors?expand=status"),
        _ => None,
    }
}

pub(super) async fn open(global: &Global, args: &Open) -> Result<ExitCode> {
    let component = components::named(&args.service)?;
    let Some(page) = page(component) else {
        let how = match component {
            "kafka" => "cargo xtask topic list, or: cargo xtask shell kafka",
            "mongodb" => "cargo xtask shell mongodb",
            _ => "cargo xtask query postgres \"SELECT ...\", or: cargo xtask shell postgres",
        };
        return Err(Error::new(
            Code::Usage,
            format!("{component} has no page for a browser"),
        )
        .hint(how));
    };
    let env = context::existing(global).await?;
    let embedded = env.platform == Platform::Host && env.clickhouse_binary.is_none();
    if component == "clickhouse" && embedded && !env.is_external(component) {
        return Err(Error::new(
            Code::Usage,
            "the embedded ClickHouse engine has no page for a browser",
        )
        .hint("cargo xtask query clickhouse \"SELECT ...\", or: cargo xtask shell clickhouse"));
    }
    let (_, endpoint) = service(&env, component)?;
    let address = format!("{}{page}", endpoint.url());
    let text = match global.output {
        Output::Json => format!("{}\n", json!({ "service": component, "url": address })),
        Output::Text => format!("{address}\n"),
    };
    stdout::print(&text)?;
    if !args.print {
        browse(&address).await?;
    }
    if env.platform != Platform::Host && !env.is_external(component) {
        eprintln!("until Ctrl-C");
        std::future::pending::<()>().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// Hands an address to the desktop.
async fn browse(address: &str) -> Result<()> {
    let programs = match std::env::consts::OS {
        "macos" => ["open"].as_slice(),
        "windows" => &["explorer"],
        _ => &["xdg-open", "wslview"],
    };
    let program = programs.iter().find_map(|name| which::which(name).ok());
    let none = || {
        Error::new(Code::Missing, "no browser can be opened from here")
            .hint(format!("open it yourself: {address}"))
    };
    let program = program.ok_or_else(none)?;
    run_visible(&Job::new(program, [address]))
        .await
        .map_err(|_| none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_services_with_http_have_pages() {
        let with: Vec<&str> = components::NAMES
            .into_iter()
            .filter(|name| page(name).is_some())
            .collect();
        assert_eq!(with, ["connect", "clickhouse"]);
    }
}
