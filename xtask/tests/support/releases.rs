//! A server of releases, for what is fetched by version.

use std::io::{Read, Write};
use std::net::TcpListener;

/// Serves `GET /<name>` from `files`, one connection after the other.
pub(crate) fn serve(files: Vec<(&'static str, &'static str)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0_u8; 4096];
            let count = stream.read(&mut request).unwrap_or_default();
            let line = String::from_utf8_lossy(&request[..count]).into_owned();
            let path = line.split_whitespace().nth(1).unwrap_or_default();
            let found = files.iter().find(|(name, _)| path == format!("/v1/{name}"));
            let (status, body) = match found {
                Some((_, body)) => ("200 OK", *body),
                None => ("404 Not Found", ""),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            // A client that has seen enough may be gone.
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    format!("http://{address}/v1")
}
