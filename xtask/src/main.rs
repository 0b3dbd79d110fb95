//! Answer the shell's completion, or parse, run, map the error to an exit code.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;
use xtask::commands;

fn main() -> ExitCode {
    commands::complete();
    let cli = Cli::parse();
    commands::run(cli)
}
