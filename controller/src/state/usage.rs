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

/// What was used in a slice of time, by some name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedBy {
    /// A day, a workflow or a model.
    pub name: String,
    /// How many jobs or attempts.
    pub count: u64,
    /// What they used.
    pub usage: Usage,
}

/// The days from `since` on, oldest first; days without a call are missing.
pub fn days(connection: &Connection, since: Timestamp) -> Result<Vec<UsedBy>, StateError> {
    let sql = "SELECT day, calls, input_tokens, cached_tokens, output_tokens, calls, cost_microusd FROM usage_days \
               WHERE day >= ?1 ORDER BY day";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([day(since)], used_by)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Sums of the fields of a `Usage` within a JSON document.
macro_rules! sums {
    () => {
        "total(body ->> '$.usage.input_tokens'), total(body ->> '$.usage.cached_tokens'), \
         total(body ->> '$.usage.output_tokens'), total(body ->> '$.usage.calls'), \
         total(body ->> '$.usage.cost_microusd')"
    };
}

/// Workflows of the jobs that were accepted from `since` on, those that cost most first.
pub fn workflows(connection: &Connection, since: Timestamp) -> Result<Vec<UsedBy>, StateError> {
    let sql = concat!(
        "SELECT workflow, count(*), ",
        sums!(),
        " FROM jobs WHERE created_ms >= ?1 GROUP BY workflow ORDER BY 7 DESC, 5 DESC, 2 DESC LIMIT 50"
    );
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([since.as_millisecond()], used_by)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Models of the attempts that were offered from `since` on, those that cost most first.
pub fn models(connection: &Connection, since: Timestamp) -> Result<Vec<UsedBy>, StateError> {
    let sql = concat!(
        "SELECT body ->> '$.model.model' AS model, count(*), ",
        sums!(),
        " FROM attempts WHERE offered_ms >= ?1 AND model IS NOT NULL \
         GROUP BY model ORDER BY 7 DESC, 5 DESC, 2 DESC LIMIT 50"
    );
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([since.as_millisecond()], used_by)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn used_by(row: &rusqlite::Row<'_>) -> rusqlite::Result<UsedBy> {
    let number = |column: usize| {
        row.get::<_, f64>(column)
            .or_else(|_| row.get::<_, i64>(column).map(|n| n as f64))
    };
    Ok(UsedBy {
        name: row.get(0)?,
        count: row.get::<_, i64>(1)? as u64,
        usage: Usage {
            input_tokens: number(2)? as u64,
            cached_tokens: number(3)? as u64,
            output_tokens: number(4)? as u64,
            calls: number(5)? as u64,
            cost_microusd: number(6)? as u64,
        },
    })
}

/// How long jobs waited for their first step on one day, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// The day (UTC).
    pub day: String,
    /// Jobs that were started.
    pub jobs: u64,
    /// The middle one.
    pub median_ms: u64,
    /// The longest.
    pub longest_ms: u64,
}

/// The waits of jobs that were accepted from `since` on, by day, oldest first.
pub fn waits(connection: &Connection, since: Timestamp) -> Result<Vec<Waited>, StateError> {
    let sql = "WITH waits AS (SELECT date(created_ms / 1000, 'unixepoch') AS day, started_ms - created_ms AS ms \
               FROM jobs WHERE created_ms >= ?1 AND started_ms IS NOT NULL), \
               ranked AS (SELECT day, ms, row_number() OVER by_day AS place, count(*) OVER (PARTITION BY day) AS jobs \
               FROM waits WINDOW by_day AS (PARTITION BY day ORDER BY ms)) \
               SELECT day, max(jobs), max(CASE WHEN place = (jobs + 1) / 2 THEN ms END), max(ms) \
               FROM ranked GROUP BY day ORDER BY day";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([since.as_millisecond()], |row| {
        let number = |column: usize| row.get::<_, i64>(column).map(|n| n.max(0) as u64);
        Ok(Waited {
            day: row.get(0)?,
            jobs: number(1)?,
            median_ms: number(2)?,
            longest_ms: number(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::migrate::MIGRATIONS;

    #[test]
    fn sums_by_day_workflow_and_model_and_the_wait_of_the_middle_job() {
        let connection = Connection::open_in_memory().expect("opens");
        for migration in MIGRATIONS {
            connection.execute_batch(migration.up).expect(migration.name);
        }
        let usage = r#"{"usage":{"input_tokens":10,"output_tokens":5,"calls":1,"cost_microusd":7},"model":{"provider":"p","model":"m"}}"#;
        connection
            .execute("INSERT INTO pinned_workflows VALUES ('x', '')", [])
            .expect("row");
        for (number, wait) in [(1, 100), (2, 300), (3, 5000)] {
            let job =
                "INSERT INTO jobs VALUES (?1, ?2, 'failed', 'w', 'x', 't', 0, 1000, ?3, 9000, 0, NULL, ?4)";
            let id = vec![number as u8; 16];
            connection
                .execute(job, params![id, number, 1000 + wait, usage])
                .expect("row");
            let attempt = "INSERT INTO attempts (id, job, step, number, worker, worker_name, state, offered_ms, ended_ms, body) \
                           VALUES (?1, ?1, 's', 1, ?1, 'one', 'failed', 1000, 2000, ?2)";
            connection.execute(attempt, params![id, usage]).expect("row");
        }
        let start = Timestamp::UNIX_EPOCH;
        let three = |name: &str| {
            let usage = Usage {
                input_tokens: 30,
                output_tokens: 15,
                calls: 3,
                cost_microusd: 21,
                ..Usage::default()
            };
            vec![UsedBy {
                name: name.to_owned(),
                count: 3,
                usage,
            }]
        };
        assert_eq!(workflows(&connection, start).expect("read"), three("w"));
        assert_eq!(models(&connection, start).expect("read"), three("m"));
        let waited = Waited {
            day: "1970-01-01".to_owned(),
            jobs: 3,
            median_ms: 300,
            longest_ms: 5000,
        };
        assert_eq!(waits(&connection, start).expect("read"), [waited]);
        add(
            &connection,
            start,
            Usage {
                output_tokens: 4,
                calls: 2,
                ..Usage::default()
            },
        )
        .expect("added");
        let found = days(&connection, start).expect("read");
        assert_eq!((found[0].name.as_str(), found[0].usage.calls), ("1970-01-01", 2));
    }
}
