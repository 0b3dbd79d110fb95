//! `forward` and `open`: the way from this machine to the services.

use std::process::ExitCode;

use serde_json::json;

use super::{context, stdout};
use crate::cli::{Forward, Global, Open};
use crate::components;
use crate::environment::Environment;
use crate::error::{Code, Error, Result};
use crate::platform::{Endpoint, Platform};
use crate::process::{Job, run_visible};
use crate::report::table::Table;

/// The services of an environment, with where they answer this machine.
fn services(env: &Environment) -> Vec<(&str, Endpoint)> {
    let names = env.profile.components.keys();
    names
        .map(|name| (name.as_str(), env.endpoint(name)))
        .collect()
}

fn service<'a>(env: &'a Environment, name: &str) -> Result<(&'a str, Endpoint)> {
    let name = components::named(env, name)?.name();
    Ok((name, env.endpoint(name)))
}

pub(super) async fn run(global: &Global, args: &Forward) -> Result<ExitCode> {
    let env = match &args.service {
        Some(name) => context::existing_for(global, |it| components::fits(it, name)).await?,
        None => context::existing(global).await?,
    };
    let shown = match &args.service {
        Some(name) => vec![service(&env, name)?],
        None => services(&env),
    };
    // Ports of this machine that lead on: only what is on a cluster needs them.
    let forwarded = |name: &str| env.platform != Platform::Host && !env.is_external(name);
    let user = |endpoint: &Endpoint| Some(endpoint.user.clone()).filter(|user| !user.is_empty());
    let services = shown.iter().map(|(name, endpoint)| {
        json!({
            "service": name,
            "address": endpoint.address(),
            "user": user(endpoint),
            "forwarded": forwarded(name),
            "leads_to": env.shown(name),
        })
    });
    let object = json!({ "services": services.collect::<Vec<_>>() });
    let done = stdout::answer(global.output, object, || {
        let mut table = Table::titled("SERVICE  ADDRESS  USER  LEADS TO");
        for (name, endpoint) in &shown {
            let user = user(endpoint).unwrap_or("-".into());
            let leads = match forwarded(name) {
                true => env.shown(name),
                false if env.is_external(name) => "yours".to_owned(),
                false => "listens there itself".to_owned(),
            };
            table.row([*name, &endpoint.address(), &user, &leads]);
        }
        let (table, secrets) = (table.text(stdout::palette()), env.dirs.secrets());
        format!("{table}passwords: {}\n", secrets.display())
    })?;
    if !shown.iter().any(|(name, _)| forwarded(name)) {
        return Ok(done);
    }
    eprintln!("until Ctrl-C");
    std::future::pending::<()>().await;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn open(global: &Global, args: &Open) -> Result<ExitCode> {
    let name = &args.service;
    let none = |instead: String| {
        let what = format!("{name} has no page for a browser");
        Error::new(Code::Usage, what).hint(instead)
    };
    let env = context::existing_for(global, |profile| {
        components::able(profile, name, |it| it.page().map(drop).map_err(none))
    });
    let env = env.await?;
    let (component, endpoint) = service(&env, name)?;
    let own = components::named(&env, component)?;
    let page = own.page().map_err(none)?;
    if let Some(instead) = own.instead_of_page(&env) {
        return Err(none(instead));
    }
    let address = format!("{}{page}", endpoint.url());
    let object = json!({ "service": component, "url": address });
    stdout::answer(global.output, object, || format!("{address}\n"))?;
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
