//! `completions`: print a shell's completion script.
//!
//! The scripts ask the built binary, which answers through [`super::complete`].

use std::process::ExitCode;

use super::stdout;
use crate::cli::{Completions, Shell};
use crate::error::Result;

pub(super) fn run(args: Completions) -> Result<ExitCode> {
    stdout::print(match args.shell {
        Shell::Bash => include_str!("completions/xtask.bash"),
        Shell::Zsh => include_str!("completions/xtask.zsh"),
        Shell::Fish => include_str!("completions/xtask.fish"),
    })?;
    Ok(ExitCode::SUCCESS)
}
