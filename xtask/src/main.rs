//! Answer the shell's completion, or parse, run, map the error to an exit code.

use std::process::ExitCode;

use clap::Parser;
use xtask::cli::Cli;
use xtask::commands;
use xtask::error::Exit;

fn main() -> ExitCode {
    commands::complete();
    match Cli::try_parse() {
        Ok(cli) => commands::run(cli),
        Err(error) => {
            // A closed pipe is no reason for another exit code.
            let _ = error.print();
            // Help and version are answers. clap's own code for a mistake is our "differences found".
            if error.use_stderr() {
                Exit::BadInput.into()
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}
