//! How records lie in the file: mark, length, checksum, MessagePack. Pure.
//!
//! A frame that does not fit its checksum is either the torn end of the file
//! (nothing readable follows) or damage in the middle (something does).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Record;

/// Every frame begins with this, so that reading can go on after damage.
const MARK: [u8; 4] = *b"AgJ1";
/// Mark, length (little endian), first eight bytes of the hash of length and payload.
const HEADER: usize = 4 + 4 + 8;
/// No record is larger: a result is at most 128 KiB on the wire.
const MAX_PAYLOAD: usize = 1 << 20;

/// A record with the time when it was written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stamped {
    /// Seconds since 1970.
    pub(super) at: u64,
    /// What.
    pub(super) record: Record,
}

/// Where a frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// First byte of the frame.
    pub(super) offset: u64,
    /// Its length.
    pub(super) len: u32,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Every readable record, in order.
    pub(super) records: Vec<(Place, Stamped)>,
    /// Bytes at the end that are no whole frame.
    pub(super) torn: usize,
    /// Bytes inside that could not be read.
    pub(super) lost: usize,
}

/// Appends the frame of a record to `out`.
pub(super) fn encode(stamped: &Stamped, out: &mut Vec<u8>) -> Result<(), rmp_serde::encode::Error> {
    let payload = rmp_serde::to_vec_named(stamped)?;
    let length = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&length);
    out.extend_from_slice(&checksum(&length, &payload));
    out.extend_from_slice(&payload);
    Ok(())
}

/// Reads the frame that begins at the start of `bytes`; answers its length too.
pub(super) fn decode(bytes: &[u8]) -> Option<(usize, Stamped)> {
    let header = bytes.get(..HEADER)?;
    let (mark, rest) = header.split_at(4);
    let (length, check) = rest.split_at(4);
    let size = u32::from_le_bytes(length.try_into().ok()?) as usize;
    if mark != MARK || size > MAX_PAYLOAD {
        return None;
    }
    let payload = bytes.get(HEADER..HEADER + size)?;
    if check != checksum(length, payload) {
        return None;
    }
    let stamped = rmp_serde::from_slice(payload).ok()?;
    Some((HEADER + size, stamped))
}

/// Reads a whole file.
pub(super) fn scan(bytes: &[u8]) -> Scan {
    let mut scan = Scan::default();
    let (mut position, mut unread) = (0, 0);
    while position < bytes.len() {
        if let Some((len, stamped)) = decode(&bytes[position..]) {
            scan.lost += unread;
            unread = 0;
            let place = Place {
                offset: position as u64,
                len: len as u32,
            };
            scan.records.push((place, stamped));
            position += len;
        } else {
            let next = next_mark(&bytes[position + 1..]).map_or(bytes.len(), |at| position + 1 + at);
            unread += next - position;
            position = next;
        }
    }
    scan.torn = unread;
    scan
}

fn next_mark(bytes: &[u8]) -> Option<usize> {
    bytes.windows(MARK.len()).position(|window| window == MARK)
}

fn checksum(length: &[u8], payload: &[u8]) -> [u8; 8] {
    let hash = Sha256::new()
        .chain_update(length)
        .chain_update(payload)
        .finalize();
    std::array::from_fn(|i| hash[i])
}
