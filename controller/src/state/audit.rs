//! Rows of the audit log: a chain of hashes that is only added to. What was kept long
//! enough goes from the front, and the hash of the last row that went is kept as anchor.

mod chain;
#[cfg(test)]
mod tests;

use std::path::Path;

use jiff::Timestamp;
use protocol::http::audit::{AuditCheck, AuditRow, BrokenRow, ListAudit};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use self::chain::{Chain, Fields, Hash, START};
use super::{StateError, meta, rows::time};

/// Key of the anchor: `<seq>:<hash>` of the last row that was removed.
const ANCHOR: &str = "audit_anchor";
/// Rows of a page, and at most.
const PAGE: (u32, u32) = (50, 1000);

/// Who did what from where, with which result.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditEntry {
    /// Name of the token or worker.
    pub who: String,
    /// Address.
    pub origin: String,
    /// Such as `job.cancel`.
    pub action: String,
    /// To what.
    pub object: String,
    /// `ok`, or why not.
    pub result: String,
}

/// Appends one.
pub fn append(connection: &Connection, entry: &AuditEntry, at: Timestamp) -> Result<(), StateError> {
    append_times(connection, entry, 1, at)
}

/// Appends one for so many things of the same kind.
pub fn append_times(
    connection: &Connection,
    entry: &AuditEntry,
    times: u32,
    at: Timestamp,
) -> Result<(), StateError> {
    let last = last(connection)?;
    let fields = Fields {
        seq: last.seq + 1,
        at_ms: at.as_millisecond(),
        times,
        texts: [
            &entry.who,
            &entry.origin,
            &entry.action,
            &entry.object,
            &entry.result,
        ],
    };
    let sql = "INSERT INTO audit (seq, at_ms, who, origin, action, object, result, hash, times) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let [who, origin, action, object, result] = fields.texts;
    connection.prepare_cached(sql)?.execute(params![
        fields.seq as i64,
        fields.at_ms,
        who,
        origin,
        action,
        object,
        result,
        fields.hash(&last.hash),
        times
    ])?;
    Ok(())
}

/// The last row, or the anchor where there is none.
fn last(connection: &Connection) -> Result<Chain, StateError> {
    let sql = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    let found = connection
        .prepare_cached(sql)?
        .query_row([], |row| {
            Ok(Chain {
                seq: row.get::<_, i64>(0)? as u64,
                hash: row.get(1)?,
            })
        })
        .optional()?;
    match found {
        Some(last) => Ok(last),
        None => anchor(connection),
    }
}

/// What stands before the first row that is kept.
fn anchor(connection: &Connection) -> Result<Chain, StateError> {
    let Some(text) = meta::get(connection, ANCHOR)? else {
        return Ok(Chain { seq: 0, hash: START });
    };
    let read = || {
        let (seq, hash) = text.split_once(':')?;
        let hash: Hash = hex::decode(hash).ok()?.try_into().ok()?;
        Some(Chain {
            seq: seq.parse().ok()?,
            hash,
        })
    };
    read().ok_or_else(|| StateError::Damaged(format!("the anchor of the audit log is {text:?}")))
}

/// Removes the oldest rows that were written before `before_ms`, at most `limit`; how many went.
pub fn remove_before(connection: &Connection, before_ms: i64, limit: u32) -> Result<u64, StateError> {
    let sql = "SELECT seq, hash, at_ms FROM audit ORDER BY seq LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([limit])?;
    let mut end = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(2)? >= before_ms {
            break;
        }
        end = Some((row.get::<_, i64>(0)?, row.get::<_, Hash>(1)?));
    }
    let Some((seq, hash)) = end else { return Ok(0) };
    meta::set(connection, ANCHOR, &format!("{seq}:{}", hex::encode(hash)))?;
    let removed = connection
        .prepare_cached("DELETE FROM audit WHERE seq <= ?1")?
        .execute([seq])?;
    Ok(removed as u64)
}

/// Gives the rows of earlier versions their hashes. Only before the first row that came with one.
pub(super) fn chain_old_rows(connection: &Connection) -> Result<(), StateError> {
    let chained = "SELECT EXISTS (SELECT 1 FROM audit WHERE hash IS NOT NULL)";
    let chained: bool = connection.query_row(chained, [], |row| row.get(0))?;
    if chained || meta::get(connection, ANCHOR)?.is_some() {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    let mut chain = anchor(&transaction)?;
    let rows = stored_rows(&transaction)?;
    for mut row in rows {
        // numbers of earlier versions may have gaps
        let old = row.seq;
        row.seq = chain.seq + 1;
        let hash = row.fields().hash(&chain.hash);
        transaction.execute(
            "UPDATE audit SET seq = ?2, hash = ?3 WHERE seq = ?1",
            params![old as i64, row.seq as i64, hash],
        )?;
        chain = Chain { seq: row.seq, hash };
    }
    Ok(transaction.commit()?)
}

fn stored_rows(connection: &Connection) -> Result<Vec<Stored>, StateError> {
    let mut statement = connection.prepare(&format!("{SELECT} ORDER BY seq"))?;
    let rows = statement.query_map([], Stored::read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

const SELECT: &str = "SELECT seq, at_ms, who, origin, action, object, result, hash, times FROM audit";

/// A row as it lies there.
struct Stored {
    seq: u64,
    at: Timestamp,
    at_ms: i64,
    texts: [String; 5],
    hash: Option<Vec<u8>>,
    times: u32,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get::<_, i64>(0)? as u64,
            at: time(row, 1)?,
            at_ms: row.get(1)?,
            texts: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?],
            hash: row.get(7)?,
            times: row.get(8)?,
        })
    }

    fn fields(&self) -> Fields<'_> {
        Fields {
            seq: self.seq,
            at_ms: self.at_ms,
            times: self.times,
            texts: self.texts.each_ref().map(String::as_str),
        }
    }

    fn view(self) -> AuditRow {
        let [who, origin, action, object, result] = self.texts;
        AuditRow {
            seq: self.seq,
            at: self.at,
            who,
            origin,
            action,
            object,
            result,
            times: self.times,
            hash: hex::encode(self.hash.unwrap_or_default()),
        }
    }
}

/// A page, newest first, and the cursor of the next one.
pub fn list(
    connection: &Connection,
    before: Option<u64>,
    wish: &ListAudit,
) -> Result<(Vec<AuditRow>, Option<u64>), StateError> {
    let limit = wish.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
    let sql = format!(
        "{SELECT} WHERE seq < ?1 AND (?2 IS NULL OR who = ?2) \
         AND (?3 IS NULL OR action = ?3 OR action GLOB ?3 || '.*') ORDER BY seq DESC LIMIT ?4"
    );
    let before = before.map_or(i64::MAX, |before| i64::try_from(before).unwrap_or(i64::MAX));
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![before, wish.who, wish.action, limit], Stored::read)?;
    let rows: Vec<AuditRow> = rows.map(|row| row.map(Stored::view)).collect::<Result<_, _>>()?;
    let next = rows
        .last()
        .map(|row| row.seq)
        .filter(|_| rows.len() == limit as usize);
    Ok((rows, next))
}

/// The same for a database that nobody else may have open.
pub fn verify_file(path: &Path) -> Result<AuditCheck, StateError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    verify(&Connection::open_with_flags(path, flags)?)
}

/// Follows the whole chain, up to the first row that does not fit.
pub fn verify(connection: &Connection) -> Result<AuditCheck, StateError> {
    let mut chain = anchor(connection)?;
    let mut check = AuditCheck {
        rows: 0,
        first: None,
        removed: chain.seq,
        last: None,
        hash: String::new(),
        broken: None,
    };
    let mut statement = connection.prepare(&format!("{SELECT} ORDER BY seq"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let row = Stored::read(row)?;
        if let Err(why) = chain.follow(&row.fields(), row.hash.as_deref()) {
            check.broken = Some(BrokenRow {
                why: why.to_string(),
                row: row.view(),
            });
            break;
        }
        check.rows += 1;
        check.first.get_or_insert(row.seq);
        check.last = Some(row.seq);
    }
    check.hash = hex::encode(chain.hash);
    Ok(check)
}
