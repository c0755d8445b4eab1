//! The tar format as far as backups use it: regular files with short names, read and written as a
//! stream. Every program that reads tar reads it.

use std::io::{self, Read, Write};

/// Everything comes in blocks of so many bytes.
pub(super) const BLOCK: usize = 512;
/// Longest name of an entry.
const NAME: usize = 100;
/// Sizes from here on do not fit into eleven octal digits.
const OCTAL_END: u64 = 1 << 33;

/// What stands before the bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
}

/// A block that is no head of a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block is no head of a tar entry")]
pub(super) struct NoEntry;

impl Entry {
    /// The block, with the date of the entry in unix seconds.
    pub(super) fn to_block(&self, at: i64) -> io::Result<[u8; BLOCK]> {
        let name = self.name.as_bytes();
        if name.len() >= NAME {
            let text = format!("the name {:?} is too long for a backup", self.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut block = [0; BLOCK];
        let mut put = |from: usize, bytes: &[u8]| block[from..from + bytes.len()].copy_from_slice(bytes);
        put(0, name);
        put(100, b"0000600\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        if self.size < OCTAL_END {
            put(124, format!("{:011o}\0", self.size).as_bytes());
        } else {
            put(124, &[0x80, 0, 0, 0]);
            put(128, &self.size.to_be_bytes());
        }
        put(136, format!("{:011o}\0", at.max(0)).as_bytes());
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum = format!("{:06o}\0 ", sum(&block));
        block[148..156].copy_from_slice(sum.as_bytes());
        Ok(block)
    }

    /// Reads a block.
    pub(super) fn from_block(block: &[u8; BLOCK]) -> Result<Self, NoEntry> {
        let mut unsummed = *block;
        unsummed[148..156].fill(b' ');
        if octal(&block[148..156]) != Some(u64::from(sum(&unsummed))) {
            return Err(NoEntry);
        }
        let size = match block[124] {
            0x80 => block[128..136].try_into().ok().map(u64::from_be_bytes),
            _ => octal(&block[124..136]),
        };
        let end = block[..NAME].iter().position(|c| *c == 0).unwrap_or(NAME);
        let name = String::from_utf8(block[..end].to_vec()).map_err(|_| NoEntry)?;
        Ok(Self {
            name,
            size: size.ok_or(NoEntry)?,
        })
    }

    /// Bytes that fill its last block.
    pub(super) const fn padding(&self) -> u64 {
        self.size.next_multiple_of(BLOCK as u64) - self.size
    }
}

fn sum(block: &[u8; BLOCK]) -> u32 {
    block.iter().map(|byte| u32::from(*byte)).sum()
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// Copies exactly so many bytes, then the padding, which is zero.
pub(super) fn write_file(to: &mut impl Write, entry: &Entry, at: i64, bytes: impl Read) -> io::Result<()> {
    to.write_all(&entry.to_block(at)?)?;
    let copied = io::copy(&mut bytes.take(entry.size), to)?;
    if copied != entry.size {
        let text = format!("{} became shorter while it was read", entry.name);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    to.write_all(&[0; BLOCK][..entry.padding() as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(name in "[a-z/._]{1,99}", size in any::<u64>()) {
            let entry = Entry { name, size };
            let block = entry.to_block(1_800_000_000).expect("short enough");
            prop_assert_eq!(Entry::from_block(&block), Ok(entry));
        }

        #[test]
        fn a_changed_block_is_no_head(at in 0..300_usize, bit in 0..8_u32) {
            let entry = Entry { name: "logs/a.log".to_owned(), size: 700 };
            let mut block = entry.to_block(0).expect("short enough");
            block[at] ^= 1 << bit;
            let read = Entry::from_block(&block);
            // within the sum itself a change may spell the same number
            prop_assert!(read == Err(NoEntry) || (148..156).contains(&at) && read == Ok(entry));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), BLOCK)) {
            let block: [u8; BLOCK] = bytes.try_into().expect("as long as a block");
            let _ = Entry::from_block(&block);
        }
    }

    #[test]
    fn a_long_name_is_refused() {
        let entry = Entry {
            name: "a".repeat(100),
            size: 0,
        };
        assert!(entry.to_block(0).is_err());
    }
}
