//! What model calls cost, by day (UTC).

use jiff::{Timestamp, tz::TimeZone};
use protocol::usage::Usage;
use rusqlite::{Connection, OptionalExtension, params};

use super::StateError;

fn day(at: Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::UTC).date().to_string()
}

/// Adds to a day's sum.
pub fn add(connection: &Connection, at: Timestamp, used: Usage) -> Result<(), StateError> {
    let sql = "INSERT INTO usage_days VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (day) DO UPDATE SET \
               input_tokens = input_tokens + ?2, cached_tokens = cached_tokens + ?3, \
               output_tokens = output_tokens + ?4, calls = calls + ?5, cost_microusd = cost_microusd + ?6";
    connection.prepare_cached(sql)?.execute(params![
        day(at),
        used.input_tokens as i64,
        used.cached_tokens as i64,
        used.output_tokens as i64,
        used.calls as i64,
        used.cost_microusd as i64
    ])?;
    Ok(())
}

/// What was used on the day of `at`.
pub fn of_day(connection: &Connection, at: Timestamp) -> Result<Usage, StateError> {
    let sql = "SELECT input_tokens, cached_tokens, output_tokens, calls, cost_microusd FROM usage_days WHERE day = ?1";
    let usage = connection
        .prepare_cached(sql)?
        .query_row([day(at)], |row| {
            Ok(Usage {
                input_tokens: row.get::<_, i64>(0)? as u64,
                cached_tokens: row.get::<_, i64>(1)? as u64,
                output_tokens: row.get::<_, i64>(2)? as u64,
                calls: row.get::<_, i64>(3)? as u64,
                cost_microusd: row.get::<_, i64>(4)? as u64,
            })
        })
        .optional()?;
    Ok(usage.unwrap_or_default())
}
