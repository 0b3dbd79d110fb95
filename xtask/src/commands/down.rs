//! `down`: stop the pipeline and remove its data.

use std::process::ExitCode;

use super::context;
use crate::cli::{Down, Global};
use crate::error::Result;
use crate::plan::Progress;
use crate::platform::host::daemon::{self, Stop};

pub(super) async fn run(global: &Global, args: &Down) -> Result<ExitCode> {
    let env = context::existing(global)?;
    for component in daemon::recorded(&env.dirs)? {
        let how = if component == "postgres" { Stop::Int } else { Stop::Term };
        daemon::stop(&env.dirs, &component, how, &Progress::silent()).await?;
    }
    if !args.keep_data { crate::platform::host::dirs::remove(&env.dirs.state)?; }
    Ok(ExitCode::SUCCESS)
}
