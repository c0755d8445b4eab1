//! The hashes of the audit log. Pure: whoever has the rows can check them.

use sha2::{Digest, Sha256};

/// The hash of one row, over the one before and its own fields.
pub(super) type Hash = [u8; 32];

/// What stands before the first row of all.
pub(super) const START: Hash = [0; 32];

/// The fields of a row that its hash covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// Its number.
    pub(super) seq: u64,
    /// When, in milliseconds since 1970 UTC.
    pub(super) at_ms: i64,
    /// How often.
    pub(super) times: u32,
    /// Who, from where, what, to what, with which result.
    pub(super) texts: [&'a str; 5],
}

impl Fields<'_> {
    /// The hash of the row behind a row with the hash `previous`.
    pub(super) fn hash(&self, previous: &Hash) -> Hash {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        hasher.update(self.seq.to_be_bytes());
        hasher.update(self.at_ms.to_be_bytes());
        hasher.update(self.times.to_be_bytes());
        for text in self.texts {
            // with its length, so that nothing can move from one field to the next
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        }
        hasher.finalize().into()
    }
}

/// Why a row does not follow the one before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Break {
    /// Numbers are missing, or come twice.
    #[error("row {expected} should stand here: rows were removed")]
    Gap {
        /// The number that should come.
        expected: u64,
    },
    /// There is no hash.
    #[error("it has no hash: it was not written by agentd")]
    NoHash,
    /// The hash is another one.
    #[error("its hash does not fit what it says: it, or the row before it, was changed")]
    Changed,
}

/// Follows the rows one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chain {
    /// Number of the last row that fits.
    pub(super) seq: u64,
    /// Its hash.
    pub(super) hash: Hash,
}

impl Chain {
    /// Takes the next row.
    pub(super) fn follow(&mut self, fields: &Fields<'_>, hash: Option<&[u8]>) -> Result<(), Break> {
        let expected = self.seq + 1;
        if fields.seq != expected {
            return Err(Break::Gap { expected });
        }
        let right = fields.hash(&self.hash);
        match hash {
            None => return Err(Break::NoHash),
            Some(hash) if hash != right => return Err(Break::Changed),
            Some(_) => {}
        }
        (self.seq, self.hash) = (fields.seq, right);
        Ok(())
    }
}
