//! Parse, run, map the error to an exit code.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;
use xtask::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    commands::run(cli)
}
