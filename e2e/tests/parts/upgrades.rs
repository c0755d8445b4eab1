//! A newer agentd on an older database, an older one on a newer, and kills in between.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use controller::state::migrate::{MIGRATIONS, backup_path};
use e2e::{Controller, Lab};
use rusqlite::Connection;

/// The version from which the upgrades below start.
const OLD: u32 = 3;
/// The kills of one upgrade.
const KILLS: usize = 30;
/// Calls of the system that change what is on the disk.
const CHANGES: &str = "pwrite64,fdatasync,fsync,rename,unlink,ftruncate";

/// A controller that has done three jobs and is stopped.
fn stopped_after_jobs(lab: &Lab) -> Controller {
    let mut controller = lab.controller("");
    let _worker = lab.worker(&controller, "one");
    for word in ["one", "two", "three"] {
        let run = controller.ctl(&["run", "run", "--", "/bin/echo", word]);
        assert!(run.status.success(), "{run:?}");
    }
    controller.stop();
    controller
}

/// The same rows in the tables of an older version.
fn as_of(version: u32, newer: &Path, old: &Path) {
    let connection = Connection::open(old).expect("made");
    for migration in &MIGRATIONS[..version as usize] {
        connection.execute_batch(migration.up).expect(migration.name);
    }
    connection
        .execute_batch("PRAGMA foreign_keys = OFF")
        .expect("set");
    connection
        .execute("ATTACH ?1 AS newer", [newer.to_string_lossy()])
        .expect("attached");
    let tables = texts(
        &connection,
        "SELECT name FROM main.sqlite_schema WHERE type = 'table'",
    );
    for table in tables {
        let columns = |schema: &str| {
            texts(
                &connection,
                &format!("SELECT name FROM pragma_table_info('{table}', '{schema}')"),
            )
        };
        let newer = columns("newer");
        let both: Vec<String> = columns("main")
            .into_iter()
            .filter(|name| newer.contains(name))
            .collect();
        let both = both.join(", ");
        connection
            .execute_batch(&format!(
                "DELETE FROM main.{table}; INSERT INTO main.{table} ({both}) SELECT {both} FROM newer.{table}"
            ))
            .expect("copied");
    }
    connection
        .pragma_update(None, "user_version", version)
        .expect("set");
}

fn texts(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).expect("prepared");
    let rows = statement.query_map([], |row| row.get(0)).expect("asked");
    rows.collect::<Result<_, _>>().expect("texts")
}

/// Asserts that a database is whole; answers its version.
fn version_of(database: &Path) -> u32 {
    let connection = Connection::open(database).expect("opens");
    assert_eq!(
        texts(&connection, "PRAGMA integrity_check"),
        ["ok"],
        "{}",
        database.display()
    );
    assert_eq!(
        texts(&connection, "SELECT CAST(count(*) AS TEXT) FROM jobs"),
        ["3"]
    );
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .expect("a version")
}

/// Puts the old database into the place of what is there.
fn put(old: &Path, database: &Path) {
    let folder = database.parent().expect("a folder");
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("an entry").path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("agentd."))
        {
            fs::remove_file(path).expect("removed");
        }
    }
    fs::copy(old, database).expect("copied");
}

fn strace(output: &str, inject: Option<&str>) -> Vec<String> {
    let trace = format!("trace={CHANGES}");
    let words = ["strace", "-D", "-f", "-qq", "-o", output, "-e", &trace];
    let inject = inject.iter().flat_map(|inject| ["-e", inject]);
    words.into_iter().chain(inject).map(str::to_owned).collect()
}

fn run_through(controller: &mut Controller, wrapper: &[String]) {
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    controller.run_through(&words);
}

/// Every change of the disk that an undisturbed upgrade makes, as what the kernel is to count: the call,
/// and the how manieth of its thread.
fn changes(log: &str) -> Vec<(String, usize)> {
    let mut counts = std::collections::BTreeMap::<(String, String), usize>::new();
    log.lines()
        .filter_map(|line| {
            let (thread, rest) = line.split_once(' ')?;
            let (call, _) = rest.trim_start().split_once('(')?;
            CHANGES.split(',').any(|known| known == call).then(|| {
                let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
                *count += 1;
                (call.to_owned(), *count)
            })
        })
        .collect()
}

#[test]
fn an_upgrade_killed_at_any_point_leaves_the_old_or_the_new_and_a_backup() {
    if !e2e::repo::has("strace") {
        e2e::skip("strace is not installed: kills during an upgrade were not tested");
        return;
    }
    let lab = Lab::without_sandbox();
    let mut controller = stopped_after_jobs(&lab);
    let (database, old) = (controller.state.join("agentd.db"), lab.path("old.db"));
    let new = version_of(&database);
    as_of(OLD, &database, &old);
    assert_eq!(version_of(&old), OLD);

    put(&old, &database);
    let log = lab.path("calls");
    run_through(&mut controller, &strace(log.to_str().expect("a text"), None));
    controller.start();
    controller.kill();
    let points = changes(&fs::read_to_string(&log).expect("traced"));
    assert!(points.len() > KILLS, "{points:?}");

    let (mut hits, mut versions) = (0, std::collections::BTreeSet::new());
    for number in 0..KILLS {
        put(&old, &database);
        let (call, count) = &points[number * points.len() / KILLS];
        let inject = format!("inject={call}:signal=KILL:when={count}");
        run_through(&mut controller, &strace("/dev/null", Some(&inject)));
        controller.spawn();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) && !controller.state.join("endpoints.json").exists() {
            if controller.process().try_wait().expect("a child").is_some() {
                hits += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        controller.kill();

        let found = version_of(&database);
        assert!(
            (OLD..=new).contains(&found),
            "killed at {inject}: version {found}"
        );
        versions.insert(found);
        if found > OLD {
            assert_eq!(
                version_of(&backup_path(&database, OLD)),
                OLD,
                "killed at {inject}"
            );
        }
        controller.run_through(&[]);
        controller.start();
        let jobs = controller.json(&["ps", "-o", "json"]);
        assert_eq!(
            jobs["items"].as_array().map(Vec::len),
            Some(3),
            "killed at {inject}: {jobs}"
        );
        controller.kill();
        assert_eq!(version_of(&database), new);
    }
    println!("{hits} of {KILLS} kills came before agentd listened; found versions {versions:?}");
    assert!(
        versions.contains(&OLD) && hits > KILLS / 2,
        "{hits} kills, versions {versions:?}"
    );
}

#[test]
fn an_older_agentd_names_the_command_that_goes_back_and_it_does() {
    let lab = Lab::without_sandbox();
    let mut controller = stopped_after_jobs(&lab);
    let database = controller.state.join("agentd.db");
    let known = version_of(&database);
    let state = controller.state.clone();
    let undo = || {
        let mut command = std::process::Command::new(e2e::lab::binary("agentd"));
        command.arg("--state-dir").arg(&state).arg("undo-upgrade");
        let output = command.output().expect("agentd starts");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (undone, said) = undo();
    assert!(!undone && said.contains("there is no upgrade to undo"), "{said}");

    // what the next version does at its first start
    let newer = Connection::open(&database).expect("opens");
    let copy = backup_path(&database, known);
    newer
        .execute("VACUUM INTO ?1", [copy.to_string_lossy()])
        .expect("copied");
    newer
        .execute_batch("CREATE TABLE tomorrow (x); DELETE FROM jobs WHERE number = 3;")
        .expect("changed");
    newer.pragma_update(None, "user_version", known + 1).expect("set");
    drop(newer);

    controller.spawn();
    let ended = controller.process().wait().expect("ends");
    assert_eq!(ended.code(), Some(1));
    assert!(
        controller.log().contains("agentd undo-upgrade"),
        "{}",
        controller.log()
    );

    let (undone, said) = undo();
    assert!(undone && said.contains("with 3 jobs"), "{said}");
    assert_eq!(version_of(&database), known);
    controller.start();
    let _worker = lab.worker(&controller, "two");
    let run = controller.ctl(&["run", "run", "--", "/bin/true"]);
    assert!(run.status.success(), "{run:?}");
    assert_eq!(controller.job(4)["state"], "succeeded");
}
