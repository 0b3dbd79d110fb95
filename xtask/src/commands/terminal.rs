//! The terminal in front of the user: how wide it is, and single keys.

use std::io::{IsTerminal, Stdout};

use tokio::sync::mpsc;

/// Columns of the terminal that standard output is; none where it is none.
#[cfg(unix)]
pub(super) fn width() -> Option<usize> {
    let stdout: Stdout = std::io::stdout();
    let size = rustix::termios::tcgetwinsize(&stdout).ok()?;
    (size.ws_col > 0 && stdout.is_terminal()).then_some(usize::from(size.ws_col))
}

#[cfg(not(unix))]
pub(super) fn width() -> Option<usize> {
    None
}

/// Keys as they are pressed, without Enter and unseen. The terminal is as before once this is dropped.
pub(super) struct Keys {
    pressed: mpsc::Receiver<u8>,
    #[cfg(unix)]
    before: Option<rustix::termios::Termios>,
}

impl Keys {
    /// Listens, where a person can press keys.
    #[cfg(unix)]
    pub(super) fn listen() -> Self {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let (says, pressed) = mpsc::channel(1);
        let stdin = std::io::stdin();
        let before = match stdin.is_terminal() {
            true => tcgetattr(&stdin).ok(),
            false => None,
        };
        if let Some(before) = &before {
            let mut single = before.clone();
            // Ctrl-C still is a signal.
            single
                .local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO);
            // Without it, a key counts with Enter.
            let _line_by_line = tcsetattr(&stdin, OptionalActions::Now, &single);
            // Reading blocks until a key is pressed; the process does not wait for it.
            std::thread::spawn(move || {
                let mut key = [0];
                while std::io::Read::read(&mut std::io::stdin(), &mut key).is_ok_and(|it| it == 1) {
                    if says.blocking_send(key[0]).is_err() {
                        return;
                    }
                }
            });
        }
        Keys { pressed, before }
    }

    #[cfg(not(unix))]
    pub(super) fn listen() -> Self {
        Keys {
            pressed: mpsc::channel(1).1,
        }
    }

    /// Resolves when one of these keys is pressed; never where nobody can.
    pub(super) async fn press(&mut self, keys: &[u8]) {
        while let Some(key) = self.pressed.recv().await {
            if keys.contains(&key) {
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(unix)]
impl Drop for Keys {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        if let Some(before) = &self.before {
            let _restored = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
