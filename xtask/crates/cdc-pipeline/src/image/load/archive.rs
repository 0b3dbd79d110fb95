//! Leaves entries out of a tar archive while it passes by. Pure: bytes in, bytes out.
//!
//! The engine's archives of images hold each layer as one entry. An entry that is left out costs
//! the reader nothing; content is passed on without being copied.

use bytes::{Bytes, BytesMut};

const BLOCK: usize = 512;
/// Entries that describe the one that follows them are small; anything else is damage.
const LARGEST_DESCRIPTION: u64 = 1 << 20;

/// Why an archive cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ArchiveError {
    /// A header is damaged.
    #[error("the archive is damaged at byte {0}")]
    Damaged(u64),
    /// It ends in the middle of an entry.
    #[error("the archive ends too early, after {0} bytes")]
    Cut(u64),
}

/// Passes an archive on without some of its entries.
pub(super) struct Filter<F> {
    drop: F,
    /// The header being collected.
    header: BytesMut,
    /// Descriptions that belong to the next entry.
    held: Vec<Bytes>,
    content: Content,
    /// Blocks of zeroes seen in a row.
    zeroes: u32,
    /// Bytes read.
    read: u64,
    /// Names of entries that were left out.
    pub(super) dropped: Vec<String>,
}

/// What becomes of the bytes that follow a header.
#[derive(Clone, Copy)]
enum Content {
    /// A header follows.
    None,
    /// They are passed on.
    Keep(u64),
    /// They are left out.
    Drop(u64),
    /// They are held until the next entry is known.
    Hold(u64),
}

impl<F: Fn(&str) -> bool> Filter<F> {
    /// Leaves out the entries whose names `drop` answers with true.
    pub(super) fn new(drop: F) -> Self {
        Filter {
            drop,
            header: BytesMut::with_capacity(BLOCK),
            held: Vec::new(),
            content: Content::None,
            zeroes: 0,
            read: 0,
            dropped: Vec::new(),
        }
    }

    /// Takes the next bytes and gives `out` what is to be passed on.
    pub(super) fn push(
        &mut self,
        mut bytes: Bytes,
        out: &mut Vec<Bytes>,
    ) -> Result<(), ArchiveError> {
        while !bytes.is_empty() {
            let left = match self.content {
                Content::None => {
                    let count = (BLOCK - self.header.len()).min(bytes.len());
                    let part = bytes.split_to(count);
                    self.read += count as u64;
                    self.header.extend_from_slice(&part);
                    if self.header.len() == BLOCK {
                        let header = self.header.split().freeze();
                        self.header.reserve(BLOCK);
                        self.entry(header, out)?;
                    }
                    continue;
                }
                Content::Keep(left) | Content::Drop(left) | Content::Hold(left) => left,
            };
            let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let part = bytes.split_to(count);
            self.read += count as u64;
            let left = left - count as u64;
            self.content = match self.content {
                Content::Keep(_) => {
                    out.push(part);
                    after(left, Content::Keep)
                }
                Content::Hold(_) => {
                    self.held.push(part);
                    after(left, Content::Hold)
                }
                Content::Drop(_) | Content::None => after(left, Content::Drop),
            };
        }
        Ok(())
    }

    /// To be called when the archive has ended.
    pub(super) fn finish(&self) -> Result<(), ArchiveError> {
        // Two blocks of zeroes end an archive; what follows them is padding.
        match self.zeroes {
            2.. => Ok(()),
            _ => Err(ArchiveError::Cut(self.read)),
        }
    }

    fn entry(&mut self, block: Bytes, out: &mut Vec<Bytes>) -> Result<(), ArchiveError> {
        if self.zeroes >= 2 || block.iter().all(|byte| *byte == 0) {
            self.zeroes += 1;
            out.push(block);
            return Ok(());
        }
        self.zeroes = 0;
        let damaged = ArchiveError::Damaged(self.read - BLOCK as u64);
        let header = tar::Header::from_byte_slice(&block);
        let size = header.entry_size();
        let (Ok(size), Ok(true)) = (size, checksum_fits(&block)) else {
            return Err(damaged);
        };
        // Up to the next block. A size near the end of the range cannot be an archive's.
        let Some(padded) = size.checked_next_multiple_of(BLOCK as u64) else {
            return Err(damaged);
        };
        let kind = header.entry_type();
        let describes =
            kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink();
        if describes {
            if size > LARGEST_DESCRIPTION {
                return Err(damaged);
            }
            self.held.push(block.clone());
            self.content = after(padded, Content::Hold);
            return Ok(());
        }
        let name = String::from_utf8_lossy(&header.path_bytes()).into_owned();
        if kind.is_file() && (self.drop)(&name) {
            self.held.clear();
            self.dropped.push(name);
            self.content = after(padded, Content::Drop);
        } else {
            out.append(&mut self.held);
            out.push(block.clone());
            self.content = after(padded, Content::Keep);
        }
        Ok(())
    }
}

/// What becomes of the next bytes, while so many are left of an entry.
fn after(left: u64, content: fn(u64) -> Content) -> Content {
    match left {
        0 => Content::None,
        left => content(left),
    }
}

/// Whether a header's checksum is that of its bytes, its own field counting as spaces.
fn checksum_fits(block: &[u8]) -> std::io::Result<bool> {
    let told = tar::Header::from_byte_slice(block).cksum()?;
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    Ok(sum == told)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    type Entries = Vec<(String, Vec<u8>)>;

    fn archive(entries: &Entries) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive
                .append_data(&mut header, name, content.as_slice())
                .expect("added");
        }
        archive.into_inner().expect("written")
    }

    fn entries(bytes: &[u8]) -> Entries {
        tar::Archive::new(bytes)
            .entries()
            .expect("a tar")
            .map(|entry| {
                let mut entry = entry.expect("an entry");
                let mut content = Vec::new();
                entry.read_to_end(&mut content).expect("read");
                (entry.path().expect("a path").display().to_string(), content)
            })
            .collect()
    }

    /// What comes out when the archive arrives in pieces of these sizes.
    fn pass(bytes: &[u8], sizes: &[usize], drop: impl Fn(&str) -> bool) -> (Vec<u8>, Vec<String>) {
        let mut filter = Filter::new(drop);
        let mut out = Vec::new();
        let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
        while !rest.is_empty() {
            let (piece, more) =
                rest.split_at(sizes.next().map_or(1, |size| *size.min(&rest.len())));
            rest = more;
            filter
                .push(Bytes::copy_from_slice(piece), &mut out)
                .expect("well formed");
        }
        filter.finish().expect("complete");
        (out.concat(), filter.dropped)
    }

    fn content() -> impl Strategy<Value = Vec<u8>> {
        let size = prop_oneof![Just(0_usize), Just(512), 0..2000_usize];
        size.prop_flat_map(|size| prop::collection::vec(any::<u8>(), size))
    }

    /// Names of all lengths: long ones get an entry of their own that describes the next one.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof!["(keep|drop)/[a-z]{1,8}", "(keep|drop)/[a-z]{100,160}"]
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_was_not_dropped(
            all in prop::collection::vec((name(), content()), 0..6),
            sizes in prop::collection::vec(1_usize..3000, 1..5),
        ) {
            let bytes = archive(&all);
            let dropped = |name: &str| name.starts_with("drop");
            let (out, names) = pass(&bytes, &sizes, dropped);
            let wanted: Entries = all.iter().filter(|(name, _)| !dropped(name)).cloned().collect();
            prop_assert_eq!(entries(&out), wanted);
            prop_assert_eq!(names.len(), all.iter().filter(|(name, _)| dropped(name)).count());
            let (same, _) = pass(&bytes, &sizes, |_| false);
            prop_assert_eq!(same, bytes, "without anything to drop, the bytes are the same");
        }

        #[test]
        fn a_cut_archive_is_never_complete(
            all in prop::collection::vec((name(), content()), 1..4),
            at in 0.0_f64..1.0,
        ) {
            let bytes = archive(&all);
            // The last block of zeroes is the end.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let cut = ((bytes.len() - BLOCK) as f64 * at) as usize;
            let mut filter = Filter::new(|_| false);
            filter.push(Bytes::copy_from_slice(&bytes[..cut]), &mut Vec::new()).expect("well formed");
            prop_assert_eq!(filter.finish(), Err(ArchiveError::Cut(cut as u64)));
        }

        #[test]
        fn noise_is_refused_and_never_a_panic(noise in prop::collection::vec(1_u8.., 512..2048)) {
            let mut filter = Filter::new(|_| false);
            let result = filter.push(Bytes::from(noise), &mut Vec::new());
            prop_assert_eq!(result, Err(ArchiveError::Damaged(0)));
        }
    }
}
