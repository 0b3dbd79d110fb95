//! One file per verb: glue only.

mod stdout;

mod cache;
mod chaos;
mod cluster;
mod complete;
mod complete_live;
mod completions;
mod confirm;
mod connector;
mod context;
mod diagnose;
mod diff;
mod dlq;
mod doctor;
mod down;
mod down_cluster;
mod down_left;
mod env;
mod explain;
mod flow;
mod flow_columns;
mod forward;
mod group;
mod heal;
mod image;
mod image_bump;
mod image_update;
mod lag;
mod lock;
mod logs;
mod logs_cluster;
mod naming;
mod offsets;
mod plan;
mod profile;
mod projection;
mod query;
mod reconcile;
mod reconcile_notify;
mod reconcile_schedule;
mod reconcile_text;
mod reconcile_unit;
mod render;
mod reset;
mod restart;
mod rolling;
mod secret_input;
mod seed;
mod shell;
mod shell_input;
mod slot;
mod status;
mod steps;
mod terminal;
mod test;
mod topic;
mod up;
mod up_prune;
mod verify;
mod versions;
mod workload;

use std::process::ExitCode;

use crate::cli::{Cli, Command, Global, TopicCommand};
use crate::diagnose::Finding;
use crate::error::{Code, Error, Result};
use crate::printed;
use crate::process;

/// Answers a shell that asks for completions, and ends then; returns if none asks.
pub fn complete() {
    complete::answer();
}

/// Runs the command and maps its error to an exit code.
pub fn run(mut cli: Cli) -> ExitCode {
    // Artifacts are shared with an unprivileged user; secrets set their own, stricter mode.
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    if let Command::Launch { spec } = &cli.command {
        eprintln!("error: {}", process::become_daemon(spec));
        return ExitCode::FAILURE;
    }
    if let Command::Chaos(args) = &cli.command
        && let Err(mut error) = chaos::aim(&mut cli.global, args)
    {
        context::print_error(cli.global.output, &mut error, &[]);
        return error.code.exit().into();
    }
    let mut options = context::options(&cli.global);
    // Who types `up` says with what.
    if !matches!(cli.command, Command::Up(_)) {
        options.made = context::made(&cli.global);
    }
    printed::remember(options);
    if let Err(mut error) = secret_input::take(&mut cli.global.set) {
        context::print_error(cli.global.output, &mut error, &[]);
        return error.code.exit().into();
    }
    let global = cli.global.clone();
    // Commands that prove something, and so fail over what the pipeline has.
    let proves = matches!(
        cli.command,
        Command::Up(_)
            | Command::Verify(_)
            | Command::Restart(_)
            | Command::RollingRestart(_)
            | Command::ResetConnector(_)
            | Command::Connector(_)
    );
    match execute(cli) {
        Ok(code) => code,
        Err(mut error) => {
            let causes = match proves {
                true => causes(&global, &error),
                false => Vec::new(),
            };
            context::print_error(global.output, &mut error, &causes);
            error.code.exit().into()
        }
    }
}

/// What the rules say about a failure that the pipeline is to blame for; nothing where they cannot
/// be asked.
fn causes(global: &Global, error: &Error) -> Vec<Finding> {
    let blames = [
        Code::GateFailed,
        Code::GateTimeout,
        Code::Verify,
        Code::Service,
        Code::Process,
    ];
    if !blames.contains(&error.code) {
        return Vec::new();
    }
    let Ok(runtime) = runtime() else {
        return Vec::new();
    };
    let found = runtime.block_on(async {
        let env = context::existing(global).await.ok()?;
        Some(diagnose::broken(&env).await)
    });
    runtime.shutdown_background();
    found.unwrap_or_default()
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(Code::Io, format!("cannot start: {error}")))
}

fn execute(cli: Cli) -> Result<ExitCode> {
    let runtime = runtime()?;
    let endless = is_endless(&cli.command);
    let result = runtime.block_on(async {
        // It has something to give back before it ends.
        if let Command::Heal(args) = &cli.command {
            return heal::run(&cli.global, args, context::interrupted()).await;
        }
        // It says what it has found before it ends.
        if let Command::Reconcile(args) = &cli.command {
            return reconcile::run(&cli.global, args, context::interrupted()).await;
        }
        // It takes down what it has brought up before it ends.
        if let Command::Chaos(args) = &cli.command {
            return chaos::run(&cli.global, args, context::interrupted()).await;
        }
        tokio::select! {
            // The handlers are there before anything begins: a signal at once has its exit code too.
            biased;
            signal = context::interrupted() => match endless {
                true => Ok(signal.code.exit().into()),
                false => Err(signal),
            },
            result = dispatch(cli) => result,
        }
    });
    // A blocking read may still hang on a service that does not answer.
    runtime.shutdown_background();
    result
}

/// Whether an interruption is how the command is meant to end: nothing need be said about it.
fn is_endless(command: &Command) -> bool {
    match command {
        Command::Topic(TopicCommand::Tail(args)) => args.follow,
        Command::Logs(args) => args.follow,
        Command::Status(args) => args.watch,
        Command::Lag(args) => args.watch,
        Command::Shell(_) | Command::Forward(_) | Command::Open(_) => true,
        _ => false,
    }
}

async fn dispatch(cli: Cli) -> Result<ExitCode> {
    let global = cli.global;
    match cli.command {
        Command::Up(args) => up::run(&global, &args).await,
        Command::Diff(args) => diff::run(&global, &args).await,
        Command::Down(args) => down::run(&global, &args).await,
        Command::Status(args) => status::run(&global, &args).await,
        Command::Diagnose(args) => diagnose::run(&global, &args).await,
        Command::Explain(args) => explain::run(&global, &args),
        Command::Verify(args) => verify::run(&global, &args).await,
        Command::Render(args) => render::run(&global, &args).await,
        Command::Plan(args) => plan::run(&global, &args).await,
        Command::Profile(command) => profile::run(&global, command),
        Command::Env(command) => env::run(&global, command).await,
        Command::Cache(command) => cache::run(&global, command),
        Command::Doctor(args) => doctor::run(&global, &args).await,
        Command::Logs(args) => logs::run(&global, &args).await,
        Command::Connector(command) => connector::run(&global, &command).await,
        Command::Lag(args) => lag::run(&global, &args).await,
        Command::Restart(args) => restart::run(&global, &args).await,
        Command::RollingRestart(args) => rolling::run(&global, args).await,
        Command::Flow(command) => flow::run(&global, &command).await,
        Command::Projection(command) => projection::run(&global, &command).await,
        Command::Workload(command) => workload::run(&global, &command).await,
        Command::Slot(command) => slot::run(&global, &command).await,
        Command::Offsets(command) => offsets::run(&global, &command).await,
        Command::ResetConnector(args) => reset::run(&global, &args).await,
        Command::Topic(command) => topic::run(&global, &command).await,
        Command::Group(command) => group::run(&global, &command).await,
        Command::Dlq(command) => dlq::run(&global, &command).await,
        Command::Query(args) => query::run(&global, &args).await,
        Command::Shell(args) => shell::run(&global, &args).await,
        Command::Forward(args) => forward::run(&global, &args).await,
        Command::Open(args) => forward::open(&global, &args).await,
        Command::Seed(args) => seed::run(&global, &args).await,
        Command::Completions(args) => completions::run(args),
        Command::Image(command) => image::run(&global, &command).await,
        Command::Versions(args) => versions::run(&global, &args),
        Command::ImageBump(args) => image_bump::run(&global, args),
        Command::Lock => lock::run(&global).await,
        Command::Test(args) => test::run(&global, &args).await,
        // Answered before this.
        Command::Heal(_) | Command::Reconcile(_) | Command::Chaos(_) | Command::Launch { .. } => {
            Ok(ExitCode::SUCCESS)
        }
    }
}
