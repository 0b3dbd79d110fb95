//! Ports for environments of tests.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Ports given out in this process: the ones of a stopped environment are not given again.
static NEXT: Mutex<u16> = Mutex::new(0);

/// A free port above `first`. Two test runs on one machine begin at different places.
pub fn free(first: u16) -> u16 {
    let mut next = NEXT.lock().expect("no test panics while it holds this");
    if *next == 0 {
        *next = first + u16::try_from(std::process::id() % 8_000).expect("below 8000");
    }
    loop {
        *next += 1;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, *next)).is_ok() {
            return *next;
        }
    }
}
