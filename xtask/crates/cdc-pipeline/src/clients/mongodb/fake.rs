//! A server that speaks MongoDB's wire protocol and answers what a test tells it to.

use std::sync::{Arc, Mutex};

use mongodb::bson::{Document, doc};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::endpoint::Endpoint;

const QUERY: i32 = 2004;
const MESSAGE: i32 = 2013;

type Answers = Arc<Mutex<dyn FnMut(&str, &Document) -> Document + Send>>;

/// Starts a server. `answer` gets each command's name and the command; what it answers to `hello` is
/// completed with what drivers want to know.
pub(crate) async fn start(
    answer: impl FnMut(&str, &Document) -> Document + Send + 'static,
) -> std::io::Result<Endpoint> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let answers: Answers = Arc::new(Mutex::new(answer));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answers.clone()));
        }
    });
    Ok(Endpoint::loopback(port))
}

/// What a server answers when it refuses.
pub(crate) fn refusal(code: i32, name: &str) -> Document {
    doc! { "ok": 0.0, "errmsg": name, "code": code, "codeName": name }
}

async fn serve(mut stream: TcpStream, answers: Answers) -> std::io::Result<()> {
    loop {
        let length = usize::try_from(stream.read_i32_le().await?).unwrap_or(4);
        let mut message = vec![0; length - 4];
        stream.read_exact(&mut message).await?;
        let number = |at: usize| -> i32 {
            i32::from_le_bytes(message[at..at + 4].try_into().expect("four bytes"))
        };
        let (id, kind) = (number(0), number(8));
        let body = match kind {
            // Flags, the collection's name, two numbers.
            QUERY => {
                let name = message[16..].iter().position(|byte| *byte == 0);
                16 + name.expect("a name") + 1 + 8
            }
            // Flags, the section's kind.
            _ => 17,
        };
        let command = Document::from_reader(&message[body..]).expect("a document");
        let name = command.keys().next().expect("a command").clone();
        let mut answer = (answers.lock().expect("no test panics in it"))(&name, &command);
        if ["hello", "ismaster", "isMaster"].contains(&name.as_str()) {
            answer.extend(doc! {
                "helloOk": true, "minWireVersion": 0, "maxWireVersion": 21,
                "maxBsonObjectSize": 16 << 20, "maxMessageSizeBytes": 48_000_000,
                "maxWriteBatchSize": 100_000, "saslSupportedMechs": ["SCRAM-SHA-256"],
            });
        }
        if !answer.contains_key("ok") {
            answer.insert("ok", 1.0);
        }
        let (head, kind): (&[i32], _) = match kind {
            QUERY => (&[8, 0, 0, 0, 1], 1),
            _ => (&[0], MESSAGE),
        };
        let mut bytes: Vec<u8> = head.iter().flat_map(|part| part.to_le_bytes()).collect();
        if kind == MESSAGE {
            bytes.push(0);
        }
        answer.to_writer(&mut bytes).expect("a document");
        let length = i32::try_from(16 + bytes.len()).expect("small");
        for part in [length, 0, id, kind] {
            stream.write_i32_le(part).await?;
        }
        stream.write_all(&bytes).await?;
    }
}
