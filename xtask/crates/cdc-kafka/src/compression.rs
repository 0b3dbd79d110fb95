//! Decompression of record batches, with libraries in pure Rust. No IO.

use std::io::Read;

use bytes::Bytes;

/// The most that one batch may unpack to, in bytes. Brokers accept compressed batches of
/// `message.max.bytes` (1 MiB by default); what unpacks to hundreds of times as much is damaged.
const UNPACKED_LIMIT: usize = 256 << 20;

/// How snappy-java begins its own framing, of which Kafka made a standard: magic, version 1,
/// compatible with version 1. Blocks with a length of four bytes follow.
const XERIAL: &[u8; 16] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";

/// Unpacks `bytes`. `codec` is the number in the lowest three bits of a batch's attributes.
pub(super) fn decompress(codec: u8, bytes: &Bytes) -> Result<Bytes, String> {
    match codec {
        0 => Ok(bytes.clone()),
        1 => drain("gzip", flate2::read::GzDecoder::new(bytes.as_ref())),
        2 => snappy(bytes),
        3 => drain("lz4", lz4_flex::frame::FrameDecoder::new(bytes.as_ref())),
        4 => match ruzstd::decoding::StreamingDecoder::new(bytes.as_ref()) {
            Ok(decoder) => drain("zstd", decoder),
            Err(error) => Err(format!("damaged zstd data: {error}")),
        },
        other => Err(format!("compression codec {other} is unknown")),
    }
}

/// Reads everything up to the limit.
fn drain(name: &str, reader: impl Read) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    reader
        .take(UNPACKED_LIMIT as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| format!("damaged {name} data: {error}"))?;
    if unpacked.len() > UNPACKED_LIMIT {
        return Err(too_large(name));
    }
    Ok(unpacked.into())
}

/// Unpacks snappy in xerial framing (Java) or without any (some other clients).
fn snappy(bytes: &[u8]) -> Result<Bytes, String> {
    let mut unpacked = Vec::new();
    let Some(mut blocks) = bytes.strip_prefix(XERIAL) else {
        snappy_block(bytes, &mut unpacked)?;
        return Ok(unpacked.into());
    };
    while !blocks.is_empty() {
        let split = blocks.split_first_chunk::<4>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        let Some((block, rest)) = split else {
            return Err("damaged snappy data: it ends within a block".to_owned());
        };
        snappy_block(block, &mut unpacked)?;
        blocks = rest;
    }
    Ok(unpacked.into())
}

fn snappy_block(block: &[u8], unpacked: &mut Vec<u8>) -> Result<(), String> {
    let damaged = |error: snap::Error| format!("damaged snappy data: {error}");
    // The length is a mere claim of the block, so it is checked before memory is reserved.
    let length = snap::raw::decompress_len(block).map_err(damaged)?;
    let start = unpacked.len();
    if length > UNPACKED_LIMIT - start {
        return Err(too_large("snappy"));
    }
    unpacked.resize(start + length, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut unpacked[start..])
        .map_err(damaged)?;
    Ok(())
}

fn too_large(name: &str) -> String {
    format!("damaged {name} data: a batch unpacks to more than {UNPACKED_LIMIT} bytes")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn text() -> Vec<u8> {
        b"change data capture ".repeat(5000)
    }

    fn packed(codec: u8) -> Vec<u8> {
        let text = text();
        match codec {
            1 => {
                let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
                gzip.write_all(&text).expect("memory takes all");
                gzip.finish().expect("memory takes all")
            }
            2 => {
                let mut framed = XERIAL.to_vec();
                for part in text.chunks(32 << 10) {
                    let block = snap::raw::Encoder::new().compress_vec(part).expect("packs");
                    framed.extend((block.len() as u32).to_be_bytes());
                    framed.extend(block);
                }
                framed
            }
            3 => {
                let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
                lz4.write_all(&text).expect("memory takes all");
                lz4.finish().expect("memory takes all")
            }
            _ => ruzstd::encoding::compress_to_vec(
                text.as_slice(),
                ruzstd::encoding::CompressionLevel::Fastest,
            ),
        }
    }

    #[test]
    fn every_codec_unpacks() {
        for codec in 1..=4 {
            let unpacked = decompress(codec, &packed(codec).into()).expect("intact");
            assert_eq!(unpacked, text(), "codec {codec}");
        }
    }

    #[test]
    fn snappy_without_framing_unpacks() {
        let bare = snap::raw::Encoder::new()
            .compress_vec(&text())
            .expect("packs");
        assert_eq!(decompress(2, &bare.into()).expect("intact"), text());
    }

    #[test]
    fn damage_is_an_error() {
        for codec in 1..=4 {
            let packed = packed(codec);
            let half = Bytes::copy_from_slice(&packed[..packed.len() / 2]);
            assert!(decompress(codec, &half).is_err(), "half of codec {codec}");
            let noise = Bytes::from(vec![0xa5; 64]);
            assert!(
                decompress(codec, &noise).is_err(),
                "noise for codec {codec}"
            );
        }
        assert!(decompress(7, &Bytes::new()).is_err());
    }

    #[test]
    fn a_claimed_size_is_not_believed() {
        // A snappy block that announces 4 GiB.
        let bomb = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0]);
        assert!(decompress(2, &bomb).is_err());
    }
}
