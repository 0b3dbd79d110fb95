//! `chaos`: break a pipeline of its own, and prove that nothing is lost.

use std::process::ExitCode;

use serde_json::json;

use super::{confirm, context, stdout};
use crate::cli::{Chaos, DEFAULT_PROFILE, Global};
use crate::clock;
use crate::environment::{Environment, Secrets};
use crate::error::{Code, Error, Exit, Result};
use crate::operate::chaos::faults::{Round, injections, rounds};
use crate::operate::chaos::proxy::Proxy;
use crate::operate::chaos::report::Report;
use crate::operate::chaos::typed::Typed;
use crate::operate::chaos::{self, cut, cut_key};
use crate::platform::Platform;
use crate::platform::host::prerequisites::Wanted;
use crate::platform::host::{Dirs, ports};
use crate::printed;
use crate::profile::schema::PlatformChoice;
use crate::profile::{self, Loaded};
use crate::report::Output;
use crate::report::text::count;

/// The profile of what is broken.
const PROFILE: &str = "chaos";

/// Has the command line mean the environment that is broken, and free ports: whatever is printed carries them.
///
/// # Errors
/// It names another profile, or one with what a user runs.
pub(super) fn aim(global: &mut Global, args: &Chaos) -> Result<()> {
    if ![DEFAULT_PROFILE, PROFILE].contains(&global.profile.as_str()) {
        let what = format!(
            "chaos breaks a pipeline of its own, not that of `{}`",
            global.profile
        );
        return Err(Error::new(Code::Usage, what)
            .hint("leave out --profile: sizes and versions are set by --set"));
    }
    // They would stand in the arguments of the commands that are typed.
    let keys = global.set.iter().filter_map(|set| set.split_once('='));
    if let Some((key, _)) = keys.into_iter().find(|(key, _)| profile::is_secret(key)) {
        let what = format!("chaos makes passwords of its own: leave out `--set {key}`");
        return Err(Error::new(Code::Usage, what));
    }
    PROFILE.clone_into(&mut global.profile);
    let loaded = context::load(&context::selection(global))?;
    let mut components = loaded.profile.components.values();
    if let Some(theirs) = components.find(|it| it.is_external()) {
        let what = format!(
            "{} is one that you run: chaos breaks its own only",
            theirs.name
        );
        return Err(Error::new(Code::Usage, what));
    }
    if loaded.profile.platform != PlatformChoice::Host {
        let what = "chaos runs on `host`: it signals processes of this machine";
        return Err(Error::new(Code::Platform, what));
    }
    // What is there already has its ports.
    if !args.dry_run && !Dirs::of(&loaded.name)?.exists() {
        global.set.extend(free_ports(&loaded)?);
    }
    Ok(())
}

/// Settings that replace ports which others have.
fn free_ports(loaded: &Loaded) -> Result<Vec<String>> {
    let (connector, port, _) = cut(&loaded.profile)?;
    let mut wanted: Vec<(String, u16)> = profile::all_ports(&loaded.profile)
        .into_iter()
        .map(|Wanted { key, port, .. }| (key, port))
        .collect();
    wanted.push((cut_key(&connector), port));
    let mut given: Vec<u16> = wanted.iter().map(|it| it.1).collect();
    let taken = wanted.into_iter().filter(|it| !ports::is_free(it.1));
    Ok(taken
        .map(|(key, port)| {
            let chosen = ports::choose(port, &given);
            given.push(chosen);
            format!("{key}={chosen}")
        })
        .collect())
}

/// Runs until it is done or interrupted; the environment is taken down either way.
pub(super) async fn run(
    global: &Global,
    args: &Chaos,
    interrupted: impl Future<Output = Error>,
) -> Result<ExitCode> {
    let loaded = context::load(&context::selection(global))?;
    let seed = args.seed.unwrap_or_else(|| {
        let mixed = clock::now_ms() ^ (u64::from(std::process::id()) << 32);
        // Short enough to be typed.
        mixed % 1_000_000
    });
    let plan = rounds(seed, args.rounds, &injections(&loaded.profile, &args.only));
    if args.dry_run {
        return dry_run(global.output, seed, &plan);
    }
    let dirs = Dirs::of(&loaded.name)?;
    if dirs.exists() {
        let what = format!(
            "environment `{}` is there: another run uses it, or one was killed",
            loaded.name
        );
        return Err(Error::new(Code::Locked, what)
            .hint("wait for it to end; if it was killed: cargo xtask down"));
    }
    if !args.yes {
        let what = format!(
            "This brings up an environment of its own below {}, breaks it {}, and removes it",
            dirs.state.display(),
            count(args.rounds, "time")
        );
        confirm::typed(&loaded.name, &what, "cargo xtask chaos --yes")?;
    }
    let mut report = Report {
        seed,
        wanted: args.rounds,
        rounds: Vec::new(),
    };
    eprintln!("seed {seed}: {}", again(args, seed));
    let typed = Typed::new(options(global));
    let end = tokio::select! {
        // The handlers are there before anything begins.
        biased;
        signal = interrupted => Err(signal),
        end = play(global, &loaded, &plan, &typed, &mut report) => end,
    };
    let is_fine = end.is_ok() && report.is_fine();
    let is_interrupted = end.as_ref().is_err_and(|it| it.code == Code::Interrupted);
    let down = match args.keep && !is_fine && !is_interrupted {
        true => {
            eprintln!("kept; next: {}", printed::ours("cargo xtask down"));
            Ok(())
        }
        false => {
            eprintln!("takes the environment down");
            typed.run(&["down", "--yes"]).await.map(drop)
        }
    };
    if !report.rounds.is_empty() {
        stdout::answer(global.output, report.json(), || {
            report.text(stdout::palette())
        })?;
    }
    let seeded = |mut error: Error| {
        error.message = format!("{} (seed {seed})", error.message);
        error
    };
    end.map_err(|error| match is_interrupted {
        true => seeded(error).hint("the environment is down: nothing is left"),
        false => seeded(error),
    })?;
    down?;
    Ok(match (report.differences().next(), report.is_fine()) {
        (Some(_), _) => Exit::Differences.into(),
        (None, true) => ExitCode::SUCCESS,
        (None, false) => Exit::Failed.into(),
    })
}

async fn play(
    global: &Global,
    loaded: &Loaded,
    plan: &[Round],
    typed: &Typed,
    report: &mut Report,
) -> Result<()> {
    let (_, port, component) = cut(&loaded.profile)?;
    let env = Environment::new(
        &context::root(),
        loaded.clone(),
        Platform::Host,
        Secrets::Existing,
    )?;
    let at = env.endpoint(&component);
    // Before anything connects through it.
    let proxy = Proxy::open(port, (at.host, at.port)).await?;
    eprintln!("brings environment `{}` up", loaded.name);
    typed.run(&["up"]).await?;
    let env = context::existing(global).await?;
    let mut tell = |line: &str| eprintln!("{line}");
    chaos::run(&env, plan, &proxy, typed, report, &mut tell).await
}

/// What has every command mean this environment.
fn options(global: &Global) -> Vec<String> {
    let mut options = vec!["--profile".to_owned(), global.profile.clone()];
    for set in &global.set {
        options.extend(["--set".to_owned(), set.clone()]);
    }
    options
}

/// The command that plays the same again. Ports are chosen again.
fn again(args: &Chaos, seed: u64) -> String {
    let mut command = format!("cargo xtask chaos --seed {seed} --rounds {}", args.rounds);
    let only = args
        .only
        .iter()
        .filter_map(clap::ValueEnum::to_possible_value);
    let only: Vec<String> = only.map(|it| it.get_name().to_owned()).collect();
    if !only.is_empty() {
        command += &format!(" --only {}", only.join(","));
    }
    command
}

fn dry_run(output: Output, seed: u64, plan: &[Round]) -> Result<ExitCode> {
    let list = plan.iter().map(|it| {
        let fault = it.what.fault;
        json!({ "round": it.number, "fault": it.what.name(), "group": fault.group, "codes": fault.codes })
    });
    let object = json!({ "seed": seed, "dry_run": list.collect::<Vec<_>>() });
    stdout::answer(output, object, || {
        let lines = plan.iter().map(|it| {
            let codes = match it.what.fault.codes {
                [] => "nothing is to be found".to_owned(),
                codes => codes.join(" or "),
            };
            format!("{:>4}  {:<28} {codes}\n", it.number, it.what.name())
        });
        let lines: String = lines.collect();
        format!("seed {seed}:\n{lines}")
    })
}
