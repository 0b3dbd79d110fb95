//! Results on standard output, whose reader may leave before the end.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::terminal;
use crate::error::{Error, Exit, Result};
use crate::report::text::Palette;
use crate::report::{self, Output};

/// Whether whoever reads the results is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// It reads.
    There,
    /// It has what it wanted, as `head` does.
    Gone,
}

/// Colours for what is printed here, where it may be coloured.
pub(super) fn palette() -> Palette {
    Palette {
        colour: report::is_coloured(&std::io::stdout()),
    }
}

/// What stands before a page that takes the place of the one before: home, and clear to the end, without a
/// flash.
pub(super) fn home() -> &'static str {
    match palette().colour {
        true => "\x1b[H\x1b[J",
        false => "",
    }
}

/// Writes bytes. A reader that is gone is not an error.
pub(super) fn write(bytes: &[u8]) -> Result<Reader> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(Reader::There),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Error::io("write", "standard output", &error)),
    }
}

/// Writes a text, for a command that then ends anyway.
pub(super) fn print(text: &str) -> Result<()> {
    write(text.as_bytes()).map(drop)
}

/// The text as wide as the terminal that it is for.
pub(super) fn folded(text: String) -> String {
    match terminal::width() {
        Some(width) => report::text::folded(&text, width),
        None => text,
    }
}

/// Writes a command's result in the form that the user asked for; with it the command has succeeded.
pub(super) fn answer(
    output: Output,
    object: Value,
    text: impl FnOnce() -> String,
) -> Result<ExitCode> {
    print(&match output {
        Output::Json => format!("{object}\n"),
        Output::Text => folded(text()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// How a command ends that has done its work: well, or with this code.
pub(super) fn ended(is_fine: bool, otherwise: Exit) -> ExitCode {
    match is_fine {
        true => ExitCode::SUCCESS,
        false => otherwise.into(),
    }
}

/// Writes a line of a result. Where nobody reads any more, or nothing can be written, there is
/// nothing left to do: the process ends.
pub(super) fn line(text: std::fmt::Arguments<'_>) {
    match write(format!("{text}\n").as_bytes()) {
        Ok(Reader::There) => {}
        Ok(Reader::Gone) => std::process::exit(0),
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(error.code.exit() as i32);
        }
    }
}

/// `println!` for results, which does not panic when its reader leaves.
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::commands::stdout::line(format_args!($($argument)*))
    };
}
pub(super) use say;
