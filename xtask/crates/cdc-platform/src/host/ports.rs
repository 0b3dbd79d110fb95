//! Ports on the loopback interface: who has one, and which are free.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use crate::plan::Progress;
use crate::readiness::Status;
use crate::wait::{self, Patience};

/// Whether a listener could be opened on 127.0.0.1 right now.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether a port is free now, or within the few seconds that a killed process may take to go.
pub async fn becomes_free(port: u16) -> bool {
    let patience = Patience::local(Duration::from_secs(5));
    wait::until(
        "the port is free",
        patience,
        &Progress::silent(),
        || async {
            if is_free(port) {
                Status::current("free")
            } else {
                Status::in_progress("taken")
            }
        },
    )
    .await
    .is_ok()
}

/// The process that listens on a port, as `name (pid N)`, as far as the system tells this user.
pub fn owner(port: u16) -> String {
    match listeners::get_process_by_port(port, listeners::Protocol::TCP) {
        Ok(process) => format!("{} (pid {})", process.name, process.pid),
        Err(_) => "a process that this user may not see".into(),
    }
}

/// A free port: the wanted one, else the next free one that is not in `besides`. All are below
/// 32768, where the system's own outgoing connections begin.
pub fn choose(wanted: u16, besides: &[u16]) -> u16 {
    (wanted..32_768)
        .chain(20_000..32_768)
        .chain(1_024..20_000)
        .find(|port| !besides.contains(port) && is_free(*port))
        .unwrap_or(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_known_with_its_owner_and_avoided() {
        let port = choose(21_000, &[]);
        let _held = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("free a moment ago");
        assert!(!is_free(port));
        assert!(owner(port).contains(&format!("pid {}", std::process::id())));
        let chosen = choose(port, &[]);
        assert_ne!(chosen, port);
        assert_ne!(choose(port, &[chosen]), chosen);
    }
}
