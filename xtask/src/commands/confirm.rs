//! Asking before something is destroyed or a cluster is changed for the first time.

use std::io::{BufRead, IsTerminal, Write};

use crate::error::{Code, Error, Result};

/// Goes on only after `name` was typed. `what` says what will happen; `way` is the command for those
/// who cannot type or do not want it.
///
/// # Errors
/// Nobody is there to ask, or another answer was given.
pub(super) fn typed(name: &str, what: &str, way: &str) -> Result<()> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(Code::Usage, what.to_owned()).hint(way.to_owned()));
    }
    eprint!("{what}.\nType `{name}` to continue: ");
    let io = |source| Error::io("read", "the answer", &source);
    std::io::stderr().flush().map_err(io)?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(io)?;
    if answer.trim() == name {
        return Ok(());
    }
    Err(Error::new(Code::Usage, "not confirmed; nothing was changed").hint(way.to_owned()))
}
