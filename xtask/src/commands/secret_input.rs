//! Passwords that a command is given without their standing in it, where every user of the machine could
//! read them: `--set KEY=@-` asks for one, or reads it from standard input, `--set KEY=@FILE` from a file.

use std::io::{BufRead, IsTerminal, Write};

use crate::error::{Code, Error, Result};
use crate::profile::is_secret;

/// Puts the passwords in their places. Other keys keep what they say.
///
/// # Errors
/// There is none.
pub(super) fn take(set: &mut [String]) -> Result<()> {
    for one in set {
        let Some((key, from)) = source(one) else {
            continue;
        };
        let password = match from {
            "-" => ask(key)?,
            path => {
                std::fs::read_to_string(path).map_err(|error| Error::io("read", path, &error))?
            }
        };
        let password = password.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(Error::new(
                Code::Usage,
                format!("`--set {key}=@{from}`: no password came"),
            )
            .hint(format!(
                "type it at the prompt, or name a file that holds it: --set {key}=@FILE"
            )));
        }
        // In quotes: it is a text, whatever it looks like.
        *one = format!("{key}={}", serde_json::Value::from(password));
    }
    Ok(())
}

/// The key of an override that says where its password comes from, and where that is.
fn source(set: &str) -> Option<(&str, &str)> {
    let (key, value) = set.split_once('=')?;
    let from = value.strip_prefix('@').filter(|from| !from.is_empty())?;
    is_secret(key).then_some((key, from))
}

/// A line of standard input. On a terminal it is asked for, and not shown.
fn ask(key: &str) -> Result<String> {
    let io = |source| Error::io("read", "the password", &source);
    let mut line = String::new();
    let is_terminal = std::io::stdin().is_terminal();
    if is_terminal {
        eprint!("{key}: ");
        std::io::stderr().flush().map_err(io)?;
    }
    let read = match is_terminal {
        true => unseen(|| std::io::stdin().lock().read_line(&mut line)),
        false => std::io::stdin().lock().read_line(&mut line),
    };
    read.map_err(io)?;
    Ok(line)
}

/// Does something while the terminal shows nothing of what is typed.
#[cfg(unix)]
fn unseen<T>(read: impl FnOnce() -> T) -> T {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    let before = tcgetattr(&input).ok();
    if let Some(before) = &before {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // A terminal that cannot be silenced is still typed into.
        let _shown = tcsetattr(&input, OptionalActions::Flush, &silent);
    }
    let done = read();
    if let Some(before) = &before {
        let _kept = tcsetattr(&input, OptionalActions::Flush, before);
    }
    eprintln!();
    done
}

#[cfg(not(unix))]
fn unseen<T>(read: impl FnOnce() -> T) -> T {
    read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_passwords_come_from_elsewhere_and_as_texts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("password");
        std::fs::write(&path, "5\"#\n").expect("written");
        let given = format!("postgres.password=@{}", path.display());
        let mut set = [given, "kafka.port=@-".into(), "postgres.password=@".into()];
        take(&mut set).expect("taken");
        assert_eq!(
            set,
            [
                "postgres.password=\"5\\\"#\"",
                "kafka.port=@-",
                "postgres.password=@"
            ]
        );
        std::fs::write(&path, "\n").expect("written");
        let mut set = [format!("postgres.password=@{}", path.display())];
        assert_eq!(take(&mut set).expect_err("empty").code, Code::Usage);
    }
}
