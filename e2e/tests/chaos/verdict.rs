//! Compares what clients were told with what is there in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
};

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use crate::{
    hash,
    history::{History, Told},
};

/// What the tables hold about one attempt.
struct Attempt {
    job: Uuid,
    number: u64,
    state: String,
}

/// What was found, for people.
#[derive(Default)]
pub(crate) struct Verdict {
    jobs: usize,
    accepted: usize,
    attempts: usize,
    lost: usize,
    ran_again: usize,
    blobs: usize,
    events: usize,
    refused: BTreeMap<u16, u64>,
    wrong: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} jobs accepted and {} kept, {} attempts ({} lost), {} commands run again, {} blobs, {} events; refused {:?}",
            self.accepted,
            self.jobs,
            self.attempts,
            self.lost,
            self.ran_again,
            self.blobs,
            self.events,
            self.refused
        )
    }
}

impl Verdict {
    /// Judges the state folder of a controller that was stopped.
    pub(crate) fn of(history: &History, state: &Path) -> Self {
        let database = state.join("agentd.db");
        let tables = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let tables = tables.expect("the database opens");
        let mut verdict = Self::default();
        let told = history.told();
        verdict.wrong.extend(told.contradictions.iter().cloned());
        verdict.refused.clone_from(&told.refused);
        let whole: String = tables
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .expect("the database can be checked");
        verdict.expect(whole == "ok", || format!("the database is damaged: {whole}"));
        let attempts = attempts(&tables);
        verdict.jobs(&told, &tables, &attempts);
        verdict.applied_once(&tables, &attempts);
        verdict.effects(history, &attempts);
        verdict.blobs(&told, &tables, state);
        verdict.events(&told, &tables);
        verdict
    }

    /// Fails with everything that is wrong.
    pub(crate) fn passes(&self, seed: u64) {
        let first: Vec<_> = self.wrong.iter().take(20).collect();
        assert!(
            first.is_empty(),
            "AGENTD_SEED={seed}: {} wrong: {first:#?}\n{self}",
            self.wrong.len()
        );
        assert!(self.accepted > 0, "nothing was accepted");
    }

    /// What is wrong.
    pub(crate) fn complaints(&self) -> &[String] {
        &self.wrong
    }

    /// How many attempts ran beside the first ones.
    pub(crate) const fn ran_again(&self) -> usize {
        self.ran_again
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }

    /// Every accepted job is there once, under the id that was told, and has ended as it was seen.
    fn jobs(&mut self, told: &Told, tables: &Connection, attempts: &BTreeMap<Uuid, Attempt>) {
        let mut rows = BTreeMap::new();
        let mut keys = BTreeSet::new();
        let sql = "SELECT id, number, state, title FROM jobs";
        for (id, number, state, title) in all(tables, sql, |row| {
            Ok((
                id(row, 0)?,
                number(row, 1)?,
                row.get::<_, String>(2)?,
                row.get::<_, String>(3)?,
            ))
        }) {
            self.expect(keys.insert(title.clone()), || {
                format!("{title} was submitted once and is there twice")
            });
            self.expect(state == "succeeded", || format!("job {number} is {state}"));
            rows.insert(id.to_string(), (number, state));
        }
        (self.jobs, self.accepted) = (rows.len(), told.accepted.len());
        for (key, job) in &told.accepted {
            let found = rows.get(&job.id).map(|(number, _)| *number);
            self.expect(found == Some(job.number), || {
                format!("{key} was accepted as {job:?}, there is {found:?}")
            });
        }
        let states: BTreeMap<u64, &String> = rows.values().map(|(number, state)| (*number, state)).collect();
        for (number, seen) in &told.ended {
            let now = states.get(number).copied();
            self.expect(now == Some(&seen.state), || {
                format!("job {number} was {seen:?} and is {now:?}")
            });
            if let Some(attempt) = &seen.attempt {
                let state = attempt.parse().ok().and_then(|id: Uuid| attempts.get(&id));
                let state = state.map(|attempt| attempt.state.as_str());
                self.expect(state == Some("succeeded"), || {
                    format!("attempt {attempt} of job {number} had succeeded and is {state:?}")
                });
            }
        }
    }

    /// The newest attempt of a step has succeeded, no other one has, and the event log says so once.
    fn applied_once(&mut self, tables: &Connection, attempts: &BTreeMap<Uuid, Attempt>) {
        let (mut applied, mut newest) = (BTreeMap::<Uuid, Vec<u64>>::new(), BTreeMap::<Uuid, u64>::new());
        for attempt in attempts.values() {
            let last = newest.entry(attempt.job).or_default();
            *last = attempt.number.max(*last);
            let applied = applied.entry(attempt.job).or_default();
            applied.extend((attempt.state == "succeeded").then_some(attempt.number));
        }
        self.attempts = attempts.len();
        self.lost = attempts
            .values()
            .filter(|attempt| attempt.state == "lost")
            .count();
        for (job, numbers) in &mut applied {
            numbers.sort_unstable();
            self.expect(numbers.len() == 1, || {
                format!("of the attempts of job {job} the results of {numbers:?} were applied")
            });
            self.expect(numbers.last() == newest.get(job), || {
                format!("a superseded result was applied to job {job}")
            });
        }
        for (what, column) in [("step_state", "step"), ("job_state", "NULL")] {
            let sql = format!(
                "SELECT number, count(*) FROM events WHERE kind = '{what}' \
                 AND json_extract(data, '$.state') = 'succeeded' GROUP BY job, {column} HAVING count(*) <> 1"
            );
            let twice = all(tables, &sql, |row| Ok((number(row, 0)?, number(row, 1)?)));
            self.expect(twice.is_empty(), || {
                format!("{what} succeeded more than once: {twice:?}")
            });
        }
        let sql = "SELECT count(*) FROM jobs WHERE state = 'succeeded' AND id NOT IN \
                   (SELECT job FROM events WHERE kind = 'job_state' AND json_extract(data, '$.state') = 'succeeded')";
        let silent: u64 = tables.query_row(sql, [], |row| number(row, 0)).expect("counts");
        self.expect(silent == 0, || {
            format!("{silent} jobs succeeded without an event")
        });
    }

    /// Every attempt ran at most once, and what was applied ran from beginning to end.
    fn effects(&mut self, history: &History, attempts: &BTreeMap<Uuid, Attempt>) {
        let text = std::fs::read_to_string(&history.effects).expect("the marks");
        let mut marks: BTreeMap<Uuid, (u32, u32)> = BTreeMap::new();
        let mut runs: BTreeMap<&str, u32> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (key, attempt) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let Ok(attempt) = attempt.parse() else {
                self.wrong.push(format!("a mark that nobody made: {line:?}"));
                continue;
            };
            let (begun, ended) = marks.entry(attempt).or_default();
            match words.next() {
                Some("begin") => {
                    *begun += 1;
                    *runs.entry(key).or_default() += 1;
                }
                _ => *ended += 1,
            }
        }
        self.ran_again = runs.values().map(|runs| *runs as usize - 1).sum();
        for (attempt, (begun, ended)) in &marks {
            self.expect(*begun == 1 && *ended <= 1, || {
                format!("attempt {attempt} ran {begun} times")
            });
            self.expect(attempts.contains_key(attempt), || {
                format!("attempt {attempt} ran and is unknown")
            });
        }
        for (id, _) in attempts
            .iter()
            .filter(|(_, attempt)| attempt.state == "succeeded")
        {
            let marked = marks.get(id);
            self.expect(marked == Some(&(1, 1)), || {
                format!("attempt {id} succeeded with the marks {marked:?}")
            });
        }
    }

    /// Every whole upload has its row and its bytes.
    fn blobs(&mut self, told: &Told, tables: &Connection, state: &Path) {
        let rows: BTreeMap<String, u64> = all(tables, "SELECT lower(hex(sha256)), size FROM blobs", |row| {
            Ok((row.get(0)?, number(row, 1)?))
        })
        .into_iter()
        .collect();
        self.blobs = told.blobs.len();
        for (sha256, size) in &told.blobs {
            self.expect(rows.get(sha256) == Some(size), || {
                format!("the upload {sha256} has no row")
            });
            let bytes = std::fs::read(state.join("blobs").join(&sha256[..2]).join(&sha256[2..]));
            let found = bytes.map(|bytes| hash(&bytes));
            let found: Option<String> = found.ok();
            self.expect(found.as_ref() == Some(sha256), || {
                format!("the bytes of {sha256} are {found:?}")
            });
        }
    }

    /// The log has no gaps, and what was told of it stands there.
    fn events(&mut self, told: &Told, tables: &Connection) {
        let rows: BTreeMap<u64, (String, Option<u64>)> =
            all(tables, "SELECT seq, kind, number FROM events", |row| {
                let job: Option<i64> = row.get(2)?;
                Ok((number(row, 0)?, (row.get(1)?, job.map(|job| job as u64))))
            })
            .into_iter()
            .collect();
        self.events = told.events.len();
        let last = rows.keys().last().copied().unwrap_or(0);
        self.expect(rows.len() as u64 == last, || {
            format!("{} events up to {last}", rows.len())
        });
        for (seq, event) in &told.events {
            let found = rows.get(seq);
            self.expect(found == Some(event), || {
                format!("event {seq} was {event:?} and is {found:?}")
            });
        }
    }
}

fn attempts(tables: &Connection) -> BTreeMap<Uuid, Attempt> {
    let sql = "SELECT id, job, number, state FROM attempts";
    let rows = all(tables, sql, |row| {
        Ok((
            id(row, 0)?,
            Attempt {
                job: id(row, 1)?,
                number: number(row, 2)?,
                state: row.get(3)?,
            },
        ))
    });
    rows.into_iter().collect()
}

fn id(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Uuid> {
    row.get(column).map(Uuid::from_bytes)
}

fn number(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

fn all<T>(
    tables: &Connection,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Vec<T> {
    let mut statement = tables.prepare(sql).expect("the tables are known");
    let rows = statement.query_map([], read).expect("the tables can be read");
    rows.collect::<Result<_, _>>().expect("rows are readable")
}
