//! `topic tail`: messages as they are, or as changes.
//!
//! It ends like `tail` does: the last ten messages, up to the end that was there at the start; `-f`
//! goes on. Text is the value alone, as Kafka's console consumer prints it, so that nothing else
//! gets into a pipe.

use std::io::IsTerminal;
use std::process::ExitCode;

use tokio::sync::mpsc;

use crate::cli::TopicTail;
use crate::clients::kafka::{KafkaClient, Record};
use crate::clock;
use crate::commands::stdout::palette;
use crate::commands::stdout::{self, Reader};
use crate::error::{Code, Error, Result};
use crate::observe::envelope::{self, Style};
use crate::observe::topics::from::From;
use crate::observe::topics::message::{self, Parts};
use crate::observe::topics::tail::{Chunk, Wanted, read};
use crate::observe::{names, topics};
use crate::report::Output;

/// How much is gathered before it is written, while more is there.
const ENOUGH: usize = 256 << 10;

pub(super) fn check(args: &TopicTail) -> Result<()> {
    From::parse(&args.from, clock::now_ms()).map(drop)
}

pub(super) async fn run(
    client: &KafkaClient,
    args: &TopicTail,
    output: Output,
) -> Result<ExitCode> {
    let from = From::parse(&args.from, clock::now_ms())?;
    if names::is_pattern(&args.name) {
        let what = format!("`{}` may be several topics; `tail` prints one", args.name);
        return Err(
            Error::new(Code::Usage, what).hint(format!("cargo xtask topic list '{}'", args.name))
        );
    }
    let found = topics::choose(client, std::slice::from_ref(&args.name)).await?;
    let wanted = Wanted {
        partition: args.partition,
        from,
        max: args.max,
        follow: args.follow,
    };
    let printer = Printer {
        cdc: args.cdc,
        output,
        parts: Parts {
            keys: args.keys,
            headers: args.headers,
            harmless: std::io::stdout().is_terminal(),
        },
        style: Style {
            palette: palette(),
            now_ms: 0,
        },
    };
    let (to, chunks) = mpsc::channel(4);
    // Writing blocks while the reader of the output does, and is work: it has a thread of its own.
    let printing = tokio::task::spawn_blocking(move || printer.run(chunks));
    let mut reading = Ok(());
    for topic in &found {
        reading = read(client, topic, &wanted, to.clone()).await;
    }
    drop(to);
    let printed = printing
        .await
        .map_err(|error| Error::new(Code::Io, format!("printing ended: {error}")))?;
    // What was read before an error is printed before it.
    printed.and(reading)?;
    Ok(ExitCode::SUCCESS)
}

struct Printer {
    cdc: bool,
    output: Output,
    parts: Parts,
    style: Style,
}

impl Printer {
    fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) -> Result<()> {
        let mut lines = Vec::with_capacity(ENOUGH * 2);
        while let Some(chunk) = chunks.blocking_recv() {
            self.style.now_ms = clock::now_ms();
            let gone = match &chunk {
                Chunk::Page(partition, records) => self.lines(
                    &mut lines,
                    records.iter().map(|record| (*partition, record)),
                )?,
                Chunk::Merged(records) => {
                    let records = records
                        .iter()
                        .map(|(partition, record)| (*partition, record));
                    self.lines(&mut lines, records)?
                }
            };
            if gone == Reader::Gone {
                return Ok(());
            }
            if chunks.is_empty() && write(&mut lines)? == Reader::Gone {
                return Ok(());
            }
        }
        write(&mut lines).map(drop)
    }

    fn lines<'a>(
        &self,
        lines: &mut Vec<u8>,
        records: impl Iterator<Item = (i32, &'a Record)>,
    ) -> Result<Reader> {
        for (partition, record) in records {
            self.line(lines, partition, record);
            if lines.len() >= ENOUGH && write(lines)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::There)
    }

    fn line(&self, lines: &mut Vec<u8>, partition: i32, record: &Record) {
        match (self.cdc, self.output) {
            (false, Output::Text) => message::text(lines, record, self.parts),
            (false, Output::Json) => message::object(lines, partition, record),
            (true, output) => {
                let event = envelope::decode(record.key.as_deref(), record.value.as_deref());
                let line = match output {
                    Output::Text => {
                        let mut line = String::new();
                        envelope::write(&mut line, &event, self.style);
                        line
                    }
                    Output::Json => {
                        message::change(partition, record, &event, self.style.now_ms).to_string()
                    }
                };
                lines.extend_from_slice(line.as_bytes());
                lines.push(b'\n');
            }
        }
    }
}

fn write(lines: &mut Vec<u8>) -> Result<Reader> {
    if lines.is_empty() {
        return Ok(Reader::There);
    }
    let reader = stdout::write(lines);
    lines.clear();
    reader
}
