//! A way to a replica set member, on which the member can lose what a single one never does: its
//! office, and the older part of its oplog. Drivers and connectors know the member by this way only.
//!
//! The protocol: <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>.

use std::io::{Cursor, Read, Result, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use mongodb::bson::{Document, Timestamp, doc};
use xtask::clock;

const HOUR: u32 = 3600;

pub struct Member {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// By which name the member is known.
    name: String,
    is_secondary: AtomicBool,
    /// The time, in seconds since the epoch, before which the oplog no longer reaches back.
    oldest: AtomicU32,
    /// Whether the oplog holds an hour before now, and has grown for hours since.
    is_short: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Member {
    /// A way to the member at this address.
    pub fn at(address: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            name: format!("127.0.0.1:{port}"),
            ..State::default()
        });
        let (known, address) = (state.clone(), address.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Who is refused there is refused here.
                let Ok(server) = TcpStream::connect(&address) else {
                    continue;
                };
                let mut connections = known.connections.lock().expect("nothing panics with it");
                connections.extend(client.try_clone());
                let state = known.clone();
                // Its end is that of a connection.
                std::thread::spawn(move || carry(client, server, &state));
            }
        });
        Member { port, state }
    }

    /// Has the member say that another one is the primary, or that it is.
    pub fn set_secondary(&self, is: bool) {
        self.state.is_secondary.store(is, Ordering::SeqCst);
        self.cut();
    }

    /// Has the oplog forget what it holds now: who reads on from there is refused.
    pub fn forget(&self) {
        self.state.oldest.store(now() + 1, Ordering::SeqCst);
        self.cut();
    }

    /// Has the oplog reach back for one hour only, and forward for three.
    pub fn set_short(&self, is: bool) {
        self.state.is_short.store(is, Ordering::SeqCst);
    }

    /// Ends what is connected.
    fn cut(&self) {
        let mut connections = self.state.connections.lock().expect("as above");
        for connection in connections.drain(..) {
            // It may have ended by itself.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

/// Seconds since the epoch.
fn now() -> u32 {
    u32::try_from(clock::now_ms() / 1000).expect("before 2106")
}

/// Carries requests and replies by turns until one side ends.
fn carry(mut client: TcpStream, mut server: TcpStream, state: &State) -> Result<()> {
    loop {
        let mut request = Message::read(&mut client)?;
        if state.has_forgotten(&request.body) {
            let number = request.head[ID];
            request.head = [0, 0, number, REPLY];
            request.lead = vec![0; 5];
            request.rest.clear();
            request.body = doc! {
                "ok": 0.0, "code": 286, "codeName": "ChangeStreamHistoryLost",
                "errmsg": "Resume of change stream was not possible, as the resume point may no longer be in the oplog.",
            };
            request.write(&mut client)?;
            continue;
        }
        request.write(&mut server)?;
        let mut reply = Message::read(&mut server)?;
        state.tell(&request.body, &mut reply.body);
        reply.write(&mut client)?;
    }
}

impl State {
    /// Whether this asks for changes since a place that the oplog no longer has. A token begins
    /// with a byte for its type and the seconds, in hex.
    fn has_forgotten(&self, command: &Document) -> bool {
        let stage = || {
            let pipeline = command.get_array("pipeline").ok()?;
            let stage = pipeline.first()?.as_document()?;
            stage.get_document("$changeStream").ok()
        };
        let Some(stage) = stage() else {
            return false;
        };
        let token = |key| {
            let token = stage.get_document(key).ok()?.get_str("_data").ok()?;
            u32::from_str_radix(token.get(2..10)?, 16).ok()
        };
        let time = stage.get_timestamp("startAtOperationTime");
        let from = token("resumeAfter").or_else(|| token("startAfter"));
        let from = from.or_else(|| time.ok().map(|time| time.time));
        from.is_some_and(|from| from < self.oldest.load(Ordering::SeqCst))
    }

    /// Has an answer tell what the member is to tell.
    fn tell(&self, command: &Document, answer: &mut Document) {
        if answer.contains_key("hosts") {
            answer.insert("hosts", vec![self.name.clone()]);
            answer.insert("me", self.name.clone());
            answer.insert("primary", self.name.clone());
            if self.is_secondary.load(Ordering::SeqCst) {
                answer.remove("primary");
                answer.insert("secondary", true);
                for key in ["ismaster", "isWritablePrimary"] {
                    if answer.contains_key(key) {
                        answer.insert(key, false);
                    }
                }
            }
        }
        if self.is_short.load(Ordering::SeqCst) && matches!(command.get_str("find"), Ok("oplog.rs"))
        {
            let order = command.get_document("sort").expect("an order");
            let time = match order.get_i32("$natural") {
                Ok(1) => now() - HOUR,
                _ => now() + 3 * HOUR,
            };
            let cursor = answer.get_document_mut("cursor").expect("a cursor");
            let ts = Timestamp { time, increment: 1 };
            cursor.insert("firstBatch", vec![doc! { "ts": ts }]);
        }
    }
}

const ID: usize = 1;
const KIND: usize = 3;
const REPLY: i32 = 2013;

/// One message: its four numbers, what precedes its document, the document, and what follows it.
struct Message {
    head: [i32; 4],
    lead: Vec<u8>,
    body: Document,
    rest: Vec<u8>,
}

impl Message {
    fn read(from: &mut TcpStream) -> Result<Self> {
        let mut bytes = [0; 16];
        from.read_exact(&mut bytes)?;
        let number = |at| i32::from_le_bytes(std::array::from_fn(|byte| bytes[4 * at + byte]));
        let head: [i32; 4] = std::array::from_fn(number);
        let length = usize::try_from(head[0]).expect("a length");
        let mut bytes = vec![0; length - 16];
        from.read_exact(&mut bytes)?;
        let lead = match head[KIND] {
            // The first reply of all: flags, a cursor, two numbers.
            1 => 20,
            // The first request of all: flags, the collection's name, two numbers.
            2004 => {
                let name = bytes[4..].iter().position(|byte| *byte == 0);
                4 + name.expect("a name") + 1 + 8
            }
            // Flags, the section's kind.
            REPLY => 5,
            other => panic!("a message of kind {other}"),
        };
        let mut after = Cursor::new(&bytes[lead..]);
        let body = Document::from_reader(&mut after).expect("a document");
        let end = lead + usize::try_from(after.position()).expect("small");
        Ok(Message {
            head,
            lead: bytes[..lead].to_vec(),
            body,
            rest: bytes[end..].to_vec(),
        })
    }

    fn write(&self, to: &mut TcpStream) -> Result<()> {
        let mut bytes = self.lead.clone();
        self.body.to_writer(&mut bytes).expect("a document");
        bytes.extend(&self.rest);
        let length = i32::try_from(16 + bytes.len()).expect("small");
        let head = [length, self.head[1], self.head[2], self.head[3]];
        let head = head.into_iter().flat_map(i32::to_le_bytes);
        let message: Vec<u8> = head.chain(bytes).collect();
        to.write_all(&message)
    }
}
