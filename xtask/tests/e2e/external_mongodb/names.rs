//! A name service for the programs that a test starts: it knows one set (RFC 1035, RFC 2782). Who uses it has a file system
//! of its own, in which `/etc/resolv.conf` names it; that takes root.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs ask name services at this port alone. The address is this machine's own.
const ADDRESS: &str = "127.0.0.9";

const SET: &str = "shop.cdc.test";
const TEXT: &str = "replicaSet=shop&authSource=admin";

const A: u16 = 1;
const TXT: u16 = 16;
const SRV: u16 = 33;
const NO_SUCH_NAME: u16 = 3;

/// Serves the set, whose one server is `host` at a port of this machine; returns the resolver's file.
pub fn serve(dir: &Path, host: &'static str, port: u16) -> PathBuf {
    let socket =
        UdpSocket::bind((ADDRESS, 53)).expect("root, and no name service of the same address");
    std::thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query) {
            if let Some(answer) = answer(&query[..length], host, port) {
                // Who does not hear it asks again.
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    let file = dir.join("resolv.conf");
    std::fs::write(&file, format!("nameserver {ADDRESS}\n")).expect("written");
    file
}

/// The same command where names are asked for here.
pub fn asking(resolver: &Path, command: &Command) -> Command {
    let mut asking = Command::new("unshare");
    asking
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"")
        .arg(resolver)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => asking.env(name, value),
            None => asking.env_remove(name),
        };
    }
    asking
}

fn answer(query: &[u8], host: &str, port: u16) -> Option<Vec<u8>> {
    let (name, end) = name(query)?;
    let kind = u16::from_be_bytes(query.get(end..end + 2)?.try_into().ok()?);
    let name = name.to_ascii_lowercase();
    let known = [SET, &format!("_mongodb._tcp.{SET}"), host].contains(&name.as_str());
    let data: Option<Vec<u8>> = match kind {
        SRV if name.starts_with('_') && known => {
            let mut data = vec![0, 0, 0, 0];
            data.extend(port.to_be_bytes());
            data.extend(labels(host));
            Some(data)
        }
        TXT if name == SET => {
            let mut data = vec![u8::try_from(TEXT.len()).ok()?];
            data.extend(TEXT.as_bytes());
            Some(data)
        }
        A if name == host => Some(vec![127, 0, 0, 1]),
        _ => None,
    };
    let code = if known { 0 } else { NO_SUCH_NAME };
    let mut answer = query[..2].to_vec();
    // An answer with authority, of as many questions, answers and other records.
    for number in [0x8580 | code, 1, u16::from(data.is_some()), 0, 0] {
        answer.extend(number.to_be_bytes());
    }
    answer.extend(&query[12..end + 4]);
    if let Some(data) = data {
        // The name of the question, its kind, the class, a second to live.
        answer.extend([0xc0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 1]);
        answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

/// The name that is asked for, and where it ends.
fn name(query: &[u8]) -> Option<(String, usize)> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        let label = query.get(at..at + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += length;
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("a label"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
