//! Whether a database full of finished jobs slows down what happens now.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rusqlite::Connection;

use crate::{
    figures::{Figure, Goal, Report, Samples},
    house::House,
    jobs::{Ends, post, submit},
};

const SERIAL: usize = 200;
const MIB: f64 = 1024.0 * 1024.0;

/// Compares a nearly empty database with one that holds `jobs` finished jobs.
pub fn measure(jobs: u64, report: &mut Report) -> anyhow::Result<()> {
    let house = House::with_worker()?;
    let empty = Measured::of(&house)?;
    let folder = house.close();
    let database = folder.path().join("agentd/agentd.db");
    let size_before = size_of(&database)?;
    multiply(&database, jobs)?;
    let grown = size_of(&database)? - size_before;

    let mut house = House::open_in(folder)?;
    let start = house.ready_after;
    house.join("bench-later")?;
    let full = Measured::of(&house)?;

    report.group("a history of finished jobs beside an empty one");
    report.add(Figure::new("finished jobs", jobs as f64, ""));
    report.add(Figure::new("database, a job", grown / jobs as f64, "bytes"));
    report.add(Figure::new("start to /readyz", start.as_secs_f64() * 1e3, "ms").goal(Goal::AtMost(120.0)));
    report.add(
        Figure::new("submit to finished, p50", full.finished, "ms")
            .beside("empty", empty.finished)
            .goal(Goal::AtMost(1.5)),
    );
    report.add(
        Figure::new("durable accept, p50", full.accepted, "ms")
            .beside("empty", empty.accepted)
            .goal(Goal::AtMost(1.15)),
    );
    report.add(Figure::new("GET /v1/jobs?limit=50, p50", full.list, "ms").goal(Goal::AtMost(1.0)));
    report.add(Figure::new("GET /v1/jobs?limit=50, p50", full.list, "ms").beside("empty", empty.list));
    report.add(
        Figure::new("RSS of agentd", full.resident, "MiB")
            .beside("empty", empty.resident)
            .goal(Goal::AtMost(1.2)),
    );
    Ok(())
}

struct Measured {
    accepted: f64,
    finished: f64,
    list: f64,
    resident: f64,
}

impl Measured {
    fn of(house: &House) -> anyhow::Result<Self> {
        let ends = Ends::follow(house)?;
        let mut http = house.http()?;
        let body = submit(&[]);
        let (mut accepted, mut finished, mut lists) = (vec![], vec![], vec![]);
        for _ in 0..SERIAL {
            let begun = Instant::now();
            let number = post(&mut http, &body)?;
            accepted.push(begun.elapsed());
            let end = loop {
                let (ended, at) = ends.next()?;
                if ended == number {
                    break at;
                }
            };
            finished.push(end - begun);
        }
        for _ in 0..SERIAL {
            let begun = Instant::now();
            http.call("GET", "/v1/jobs?limit=50", "")?;
            lists.push(begun.elapsed());
        }
        let p50 = |durations: Vec<Duration>| Samples::new(durations).p50_ms();
        Ok(Self {
            accepted: p50(accepted),
            finished: p50(finished),
            list: p50(lists),
            resident: house.controller.resident()? / MIB,
        })
    }
}

fn size_of(database: &Path) -> anyhow::Result<f64> {
    Ok(std::fs::metadata(database)?.len() as f64)
}

/// Copies the rows of a real finished job `jobs` times, with ids and numbers of their own.
fn multiply(database: &Path, jobs: u64) -> anyhow::Result<()> {
    let connection = Connection::open(database)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA synchronous=OFF; BEGIN;")?;
    let newest: i64 = connection
        .query_row("SELECT max(number) FROM jobs", [], |row| row.get(0))
        .context("no job to copy")?;
    // The copies' ids sort before those of real jobs, as older ones do.
    for (table, replaced) in [
        ("jobs", "id = :job, number = :number"),
        ("steps", "job = :job"),
        ("attempts", "job = :job, id = :attempt"),
    ] {
        let columns = columns(&connection, table)?;
        let values: Vec<String> = columns
            .iter()
            .map(|column| {
                let own = replaced
                    .split(", ")
                    .find_map(|pair| pair.strip_prefix(&format!("{column} = ")));
                match own {
                    Some(":number") => format!("{newest} + n"),
                    Some(":job") => "CAST(printf('0job%012d', n) AS BLOB)".to_owned(),
                    Some(_) => "CAST(printf('0try%012d', n) AS BLOB)".to_owned(),
                    None => format!("s.{column}"),
                }
            })
            .collect();
        let of_job = if table == "jobs" { "s.id" } else { "s.job" };
        let sql = format!(
            "WITH RECURSIVE counter(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counter WHERE n < {jobs})
             INSERT INTO {table} ({}) SELECT {} FROM counter, {table} s
             WHERE {of_job} = (SELECT id FROM jobs WHERE number = {newest}) ORDER BY n",
            columns.join(", "),
            values.join(", ")
        );
        connection
            .execute_batch(&sql)
            .with_context(|| format!("cannot copy {table}"))?;
    }
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(())
}

fn columns(connection: &Connection, table: &str) -> anyhow::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names = statement.query_map([table], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}
