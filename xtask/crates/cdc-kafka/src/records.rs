//! Record batches, format 2 (the only one since Kafka 0.11): bytes to records and back. No IO.
//!
//! Not left to the codec crate, because this is the hot path and it matters what happens here:
//! keys and values are slices of the answer's own buffer, repeated header keys survive, batches
//! need not be unpacked to be skipped, and log-append times are respected.
//!
//! The format: <https://kafka.apache.org/documentation/#recordbatch>.

use bytes::{BufMut, Bytes, BytesMut};

use super::compression::decompress;

/// The timestamp of a record that has none, in the protocol and in [`Record`].
pub const NO_TIMESTAMP: i64 = -1;

/// Base offset and length, which the length does not count.
const PREFIX: usize = 12;
/// All fields of a batch before its records.
const HEADER: usize = 61;
/// Where the checksum is, and where the bytes begin that it covers.
const CHECKSUM: usize = 17;
const CHECKED: usize = 21;

/// A record.
///
/// Key, value and header values share the memory of the whole answer they came in. Copy the bytes
/// to keep a few out of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The record's offset in its partition. Ignored when producing.
    pub offset: i64,
    /// Milliseconds since 1970; [`NO_TIMESTAMP`] if unknown. What it means is a setting of the
    /// topic: when the producer made the record, or when the broker stored it.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers in their order. Keys may repeat.
    pub headers: Vec<Header>,
}

impl Record {
    /// A record to produce, with the time of producing as its timestamp.
    pub fn new(key: Option<Bytes>, value: Option<Bytes>) -> Self {
        Self {
            offset: 0,
            timestamp: NO_TIMESTAMP,
            key,
            value,
            headers: Vec::new(),
        }
    }

    /// An upper bound of the record's size in a batch.
    pub(super) fn size_bound(&self) -> usize {
        // Each varint of a length takes at most 5 bytes, the one of the timestamp 10.
        let bytes = |bytes: &Option<Bytes>| 5 + bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|header| 5 + header.key.len() + bytes(&header.value))
            .sum();
        26 + bytes(&self.key) + bytes(&self.value) + headers
    }
}

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The key. Bytes that are not UTF-8, which the protocol forbids, are replaced.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
}

/// A batch whose checksum is right and whose records are still packed.
#[derive(Debug)]
pub(super) struct Batch {
    base_offset: i64,
    /// The offset of the last record the batch once had; compaction may have removed it.
    pub(super) last_offset: i64,
    /// The producer, or -1 if it was neither idempotent nor transactional.
    pub(super) producer_id: i64,
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    count: usize,
    packed: Bytes,
}

impl Batch {
    /// Takes the first batch off `bytes`. `None` if there is no whole one left: brokers cut
    /// answers at the size that was asked for.
    pub(super) fn take(bytes: &mut Bytes) -> Result<Option<Self>, String> {
        let Some(length) = bytes.get(8..PREFIX) else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(array(length));
        let total = match usize::try_from(length) {
            Ok(length) if length + PREFIX >= HEADER => length + PREFIX,
            _ => return Err(format!("a batch of {length} bytes")),
        };
        if bytes.len() < total {
            return Ok(None);
        }
        let batch = bytes.split_to(total);
        let field = |at: usize| i64::from_be_bytes(array(&batch[at..at + 8]));
        let small = |at: usize| i32::from_be_bytes(array(&batch[at..at + 4]));
        if batch[16] != 2 {
            return Err(format!("records in format {}, not 2", batch[16]));
        }
        if crc32c::crc32c(&batch[CHECKED..]) != small(CHECKSUM) as u32 {
            return Err("a batch with a wrong checksum".to_owned());
        }
        let (base_offset, delta, count) = (field(0), small(23), small(57));
        let last_offset = base_offset.checked_add(i64::from(delta));
        match (last_offset, usize::try_from(count)) {
            (Some(last_offset), Ok(count)) if base_offset >= 0 && delta >= 0 => Ok(Some(Self {
                base_offset,
                last_offset,
                producer_id: field(43),
                attributes: i16::from_be_bytes([batch[21], batch[22]]),
                base_timestamp: field(27),
                max_timestamp: field(35),
                count,
                packed: batch.slice(HEADER..),
            })),
            _ => Err(format!(
                "a batch of {count} records from {base_offset} to +{delta}"
            )),
        }
    }

    /// Whether the batch belongs to a transaction.
    pub(super) fn is_transactional(&self) -> bool {
        self.attributes & (1 << 4) != 0
    }

    /// Whether the batch holds the broker's own markers instead of records.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & (1 << 5) != 0
    }

    /// Whether this control batch says that its producer's transaction was aborted.
    pub(super) fn is_abort(&self) -> Result<bool, String> {
        let mut markers = Vec::new();
        self.records(self.base_offset, &mut markers)?;
        // `ControlRecordType`: the key is a version and a type, each two bytes; type 0 aborts.
        let key = markers.first().and_then(|marker| marker.key.as_ref());
        Ok(key.is_some_and(|key| key.get(2..4) == Some(&[0, 0])))
    }

    /// Unpacks the records from offset `from` on, appends them to `records` and returns how many
    /// bytes of memory the unpacked batch takes.
    pub(super) fn records(&self, from: i64, records: &mut Vec<Record>) -> Result<usize, String> {
        // The lowest three bits cannot exceed a byte.
        let unpacked = decompress((self.attributes & 7) as u8, &self.packed)?;
        // A record takes at least seven bytes, whatever the header claims.
        records.reserve(self.count.min(unpacked.len() / 7));
        let mut reader = Reader {
            bytes: &unpacked,
            at: 0,
        };
        for _ in 0..self.count {
            let record = self.record(&mut reader);
            let record = record.ok_or_else(|| {
                format!(
                    "a damaged record in the batch at offset {}",
                    self.base_offset
                )
            })?;
            if record.offset >= from {
                records.push(record);
            }
        }
        Ok(unpacked.len())
    }

    fn record(&self, reader: &mut Reader<'_>) -> Option<Record> {
        let length = reader.length()?;
        let end = reader.at.checked_add(length)?;
        let _attributes = reader.byte()?;
        let timestamp = self.base_timestamp.checked_add(reader.varint()?)?;
        let offset = self.base_offset.checked_add(reader.varint()?)?;
        let key = reader.nullable()?;
        let value = reader.nullable()?;
        let count = reader.length()?;
        let mut headers = Vec::new();
        for _ in 0..count {
            let length = reader.length()?;
            headers.push(Header {
                key: String::from_utf8_lossy(reader.take(length)?).into_owned(),
                value: reader.nullable()?,
            });
        }
        let log_append_time = self.attributes & (1 << 3) != 0;
        (reader.at == end).then_some(Record {
            offset,
            timestamp: if log_append_time {
                self.max_timestamp
            } else {
                timestamp
            },
            key,
            value,
            headers,
        })
    }
}

/// Reads fields off unpacked records; `None` where they end too early or make no sense.
struct Reader<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// A zigzag-encoded number.
    fn varint(&mut self) -> Option<i64> {
        let first = self.byte()?;
        let mut value = u64::from(first & 0x7f);
        let mut more = first >= 0x80;
        let mut shift = 7;
        while more {
            // Ten bytes hold 64 bits.
            if shift > 63 {
                return None;
            }
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            more = byte >= 0x80;
        }
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let end = self.at.checked_add(length)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Bytes or, with length -1, none.
    fn nullable(&mut self) -> Option<Option<Bytes>> {
        let length = self.varint()?;
        if length == -1 {
            return Some(None);
        }
        let start = self.at;
        self.take(usize::try_from(length).ok()?)?;
        Some(Some(self.bytes.slice(start..self.at)))
    }
}

/// Encodes records as one uncompressed batch. `now` (milliseconds since 1970) is the timestamp of
/// those that have none.
///
/// `Err` if there are more bytes or records than the format can express.
pub(super) fn encode_batch(records: &[Record], now: i64) -> Result<Bytes, String> {
    let time = |record: &Record| match record.timestamp {
        NO_TIMESTAMP => now,
        timestamp => timestamp,
    };
    let base_timestamp = records.first().map_or(now, time);
    let max_timestamp = records.iter().map(time).max().unwrap_or(now);
    let count = i32::try_from(records.len()).map_err(|_| "over 2^31 records".to_owned())?;

    let bound: usize = records.iter().map(Record::size_bound).sum();
    let mut batch = BytesMut::with_capacity(HEADER + bound);
    batch.put_i64(0); // Base offset: the broker's choice.
    batch.put_i32(0); // Length, see below.
    batch.put_i32(-1); // Leader epoch: the broker's.
    batch.put_i8(2); // Format.
    batch.put_u32(0); // Checksum, see below.
    batch.put_i16(0); // Attributes: uncompressed, created by us, no transaction.
    batch.put_i32(count - 1);
    batch.put_i64(base_timestamp);
    batch.put_i64(max_timestamp);
    batch.put_i64(-1); // Producer id, epoch and sequence: not idempotent.
    batch.put_i16(-1);
    batch.put_i32(-1);
    batch.put_i32(count);
    let mut body = BytesMut::new();
    for (index, record) in (0..).zip(records) {
        body.clear();
        body.put_i8(0);
        put_varint(&mut body, time(record).wrapping_sub(base_timestamp));
        put_varint(&mut body, index);
        put_nullable(&mut body, record.key.as_deref());
        put_nullable(&mut body, record.value.as_deref());
        put_varint(&mut body, record.headers.len() as i64);
        for header in &record.headers {
            put_varint(&mut body, header.key.len() as i64);
            body.put_slice(header.key.as_bytes());
            put_nullable(&mut body, header.value.as_deref());
        }
        put_varint(&mut batch, body.len() as i64);
        batch.put_slice(&body);
    }
    let length = i32::try_from(batch.len() - PREFIX).map_err(|_| "over 2 GiB".to_owned())?;
    batch[8..PREFIX].copy_from_slice(&length.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[CHECKED..]);
    batch[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_be_bytes());
    Ok(batch.freeze())
}

fn put_varint(buffer: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        buffer.put_u8(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    buffer.put_u8(zigzag as u8);
}

fn put_nullable(buffer: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(buffer, bytes.len() as i64);
            buffer.put_slice(bytes);
        }
        None => put_varint(buffer, -1),
    }
}

/// The bytes as an array. All callers slice exactly `N` bytes.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("callers slice exactly N bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let header = |key: &str, value: Option<&'static str>| Header {
            key: key.to_owned(),
            value: value.map(Bytes::from),
        };
        vec![
            Record {
                timestamp: 1_700_000_000_000,
                headers: vec![header("a", Some("1")), header("a", None)],
                ..Record::new(Some("key".into()), Some("value".into()))
            },
            Record {
                offset: 1,
                timestamp: 1_600_000_000_000,
                ..Record::new(None, None)
            },
            Record {
                offset: 2,
                timestamp: 42,
                ..Record::new(Some(Bytes::new()), Some(vec![7; 1000].into()))
            },
        ]
    }

    fn decode(mut bytes: Bytes, from: i64) -> Result<Vec<Record>, String> {
        let mut records = Vec::new();
        while let Some(batch) = Batch::take(&mut bytes)? {
            batch.records(from, &mut records)?;
        }
        Ok(records)
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let batch = encode_batch(&samples(), 42).expect("fits");
        assert_eq!(decode(batch, 0).expect("intact"), samples());
    }

    #[test]
    fn records_without_time_get_the_present() {
        let batch = encode_batch(&[Record::new(None, None)], 42).expect("fits");
        assert_eq!(decode(batch, 0).expect("intact")[0].timestamp, 42);
    }

    #[test]
    fn the_size_bound_holds() {
        for record in samples() {
            let batch = encode_batch(std::slice::from_ref(&record), 0).expect("fits");
            assert!(batch.len() - HEADER <= record.size_bound());
        }
    }

    #[test]
    fn records_before_the_wanted_offset_are_skipped() {
        let batch = encode_batch(&samples(), 42).expect("fits");
        let records = decode(batch, 2).expect("intact");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].offset, 2);
    }

    #[test]
    fn a_cut_batch_is_left_for_the_next_fetch() {
        let batch = encode_batch(&samples(), 42).expect("fits");
        for length in 0..batch.len() {
            assert_eq!(decode(batch.slice(..length), 0), Ok(vec![]), "{length}");
        }
    }

    #[test]
    fn every_flipped_bit_behind_the_checksum_is_noticed() {
        let batch = encode_batch(&samples(), 42).expect("fits");
        for at in CHECKSUM..batch.len() {
            let mut damaged = BytesMut::from(batch.as_ref());
            damaged[at] ^= 0x10;
            assert!(decode(damaged.freeze(), 0).is_err(), "byte {at}");
        }
    }

    #[test]
    fn damage_under_a_right_checksum_is_an_error_and_no_panic() {
        let batch = encode_batch(&samples(), 42).expect("fits");
        for at in CHECKED..batch.len() {
            for value in [0x00, 0x7f, 0x80, 0xff] {
                let mut damaged = BytesMut::from(batch.as_ref());
                damaged[at] = value;
                let checksum = crc32c::crc32c(&damaged[CHECKED..]);
                damaged[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_be_bytes());
                let _either = decode(damaged.freeze(), 0);
            }
        }
    }

    #[test]
    fn a_log_append_time_belongs_to_the_whole_batch() {
        let mut batch = BytesMut::from(encode_batch(&samples(), 42).expect("fits").as_ref());
        batch[22] |= 1 << 3;
        let checksum = crc32c::crc32c(&batch[CHECKED..]);
        batch[CHECKSUM..CHECKED].copy_from_slice(&checksum.to_be_bytes());
        let records = decode(batch.freeze(), 0).expect("intact");
        assert!(
            records
                .iter()
                .all(|record| record.timestamp == 1_700_000_000_000)
        );
    }

    #[test]
    fn old_formats_are_refused_by_name() {
        let mut batch = BytesMut::from(encode_batch(&samples(), 42).expect("fits").as_ref());
        batch[16] = 1;
        let error = decode(batch.freeze(), 0).expect_err("format 1");
        assert_eq!(error, "records in format 1, not 2");
    }
}
