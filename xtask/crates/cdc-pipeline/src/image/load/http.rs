//! As much of an HTTP/1.1 server as an engine that pushes needs.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A request's head must fit.
const LARGEST_HEAD: usize = 64 * 1024;
const READ: usize = 256 * 1024;

/// A request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// `GET`, `PUT` and so on.
    pub(super) method: String,
    /// Path without query.
    pub(super) path: String,
    /// Query, as it was sent.
    pub(super) query: String,
    pub(super) body: Body,
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Body {
    #[default]
    None,
    Sized(u64),
    Chunked,
}

/// An answer without or with a short body.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    /// What `Content-Length` says in answer to `HEAD`.
    pub(super) length: u64,
}

/// A connection, kept open between requests.
pub(super) struct Connection<S> {
    stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(super) fn new(stream: S) -> Self {
        Connection {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next request's head; none when the client has closed the connection.
    pub(super) async fn request(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            // An engine tries TLS first, and its greeting never ends a head: it would wait for an
            // answer until its own patience ends.
            if self
                .buffer
                .first()
                .is_some_and(|byte| !byte.is_ascii_uppercase())
            {
                return Err(malformed("this is no HTTP"));
            }
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > LARGEST_HEAD {
                return Err(malformed("the head is too long"));
            }
            if !self.more().await? {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let head = self.buffer.split_to(end);
        let head = std::str::from_utf8(&head).map_err(|_| malformed("the head is no text"))?;
        parse(head).map(Some)
    }

    /// Reads the body, piece by piece.
    pub(super) async fn body(
        &mut self,
        request: &Request,
        mut take: impl FnMut(Bytes) -> io::Result<()>,
    ) -> io::Result<()> {
        match request.body {
            Body::None => Ok(()),
            Body::Sized(size) => self.exactly(size, &mut take).await,
            Body::Chunked => loop {
                let line = self.line().await?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size =
                    u64::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
                if size == 0 {
                    // Trailers end with an empty line.
                    while !self.line().await?.is_empty() {}
                    return Ok(());
                }
                self.exactly(size, &mut take).await?;
                if !self.line().await?.is_empty() {
                    return Err(malformed("a chunk's end"));
                }
            },
        }
    }

    pub(super) async fn answer(&mut self, answer: &Answer, head: bool) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} -\r\n", answer.status);
        for (name, value) in &answer.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = if head { answer.length } else { 0 };
        text.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }

    async fn exactly(
        &mut self,
        mut size: u64,
        take: &mut impl FnMut(Bytes) -> io::Result<()>,
    ) -> io::Result<()> {
        while size > 0 {
            if self.buffer.is_empty() && !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count =
                usize::try_from(size).map_or(self.buffer.len(), |size| size.min(self.buffer.len()));
            take(self.buffer.split_to(count).freeze())?;
            size -= count as u64;
        }
        Ok(())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.advance(at + 2);
                return Ok(line);
            }
            if self.buffer.len() > LARGEST_HEAD {
                return Err(malformed("a line is too long"));
            }
            if !self.more().await? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn more(&mut self) -> io::Result<bool> {
        self.buffer.reserve(READ);
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed request: {what}"),
    )
}

fn parse(head: &str) -> io::Result<Request> {
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
    else {
        return Err(malformed("its first line"));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(malformed("its version"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut request = Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        body: Body::None,
    };
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(malformed("its encoding"));
            }
            request.body = Body::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && request.body != Body::Chunked {
            let size = value.parse().map_err(|_| malformed("its length"))?;
            request.body = Body::Sized(size);
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bodies(bytes: &str) -> Vec<(String, String)> {
        let (mut client, server) = tokio::io::duplex(16);
        let bytes = bytes.to_owned();
        let sender = tokio::spawn(async move {
            client.write_all(bytes.as_bytes()).await.expect("written");
            client
        });
        let mut connection = Connection::new(server);
        let mut seen = Vec::new();
        let mut sender = Some(sender);
        loop {
            let request = connection.request().await.expect("well formed");
            let Some(request) = request else { return seen };
            let mut body = Vec::new();
            connection
                .body(&request, |bytes| {
                    body.extend_from_slice(&bytes);
                    Ok(())
                })
                .await
                .expect("whole");
            let path = format!("{} {}?{}", request.method, request.path, request.query);
            seen.push((path, String::from_utf8(body).expect("text")));
            if seen.len() == 3 {
                drop(sender.take().expect("once").await.expect("sent"));
            }
        }
    }

    #[tokio::test]
    async fn requests_on_one_connection_with_all_kinds_of_bodies() {
        let seen = bodies(
            "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n\
             PATCH /u?a=b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n\
             PUT /m HTTP/1.1\r\ncontent-length: 2\r\n\r\nok",
        )
        .await;
        let expected = [
            ("GET /v2/?", ""),
            ("PATCH /u?a=b", "hello world"),
            ("PUT /m?", "ok"),
        ];
        let expected = expected.map(|(path, body)| (path.to_owned(), body.to_owned()));
        assert_eq!(seen, expected);
    }

    #[tokio::test]
    async fn a_greeting_of_tls_is_refused_while_the_client_still_waits() {
        let (mut client, server) = tokio::io::duplex(64);
        client
            .write_all(&[0x16, 3, 1, 2, 0])
            .await
            .expect("written");
        let mut connection = Connection::new(server);
        let error = connection.request().await.expect_err("no HTTP");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn nonsense_is_refused() {
        for head in [
            "",
            "GET /\r\n",
            "\u{16}\u{3}\u{1} x y\r\n",
            "PUT / HTTP/1.1\r\nContent-Length: -1\r\n",
        ] {
            assert!(parse(head).is_err(), "{head:?}");
        }
    }
}
