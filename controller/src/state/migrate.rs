//! Brings a database to the shape that this version knows.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::StateError;

/// One step of the schema.
pub struct Migration {
    /// What it is called.
    pub name: &'static str,
    /// The statements.
    pub up: &'static str,
    /// Rows that use what it adds, for the tests of later ones.
    pub sample: &'static str,
}

macro_rules! migration {
    ($name:literal) => {
        Migration {
            name: $name,
            up: include_str!(concat!("../../../migrations/", $name, ".sql")),
            sample: include_str!(concat!("../../../migrations/sample/", $name, ".sql")),
        }
    };
}

/// All of them, in order; never edit an old one.
pub const MIGRATIONS: &[Migration] = &[
    migration!("0001_initial"),
    migration!("0002_retention"),
    migration!("0003_renewal"),
    migration!("0004_audit"),
    migration!("0005_secrets"),
    migration!("0006_plain_checks"),
    migration!("0007_sessions"),
];

/// Applies what is missing, each in one transaction, after a backup beside the database.
pub fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as u32;
    if found > known {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if found > 0 && found < known {
        back_up(connection, path, found)?;
    }
    for (index, migration) in MIGRATIONS.iter().enumerate().skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration.up)?;
        transaction.pragma_update(None, "user_version", index as u32 + 1)?;
        transaction.commit()?;
        tracing::info!(
            migration = migration.name,
            "the database was brought to version {}",
            index + 1
        );
    }
    Ok(())
}

/// Where the copy of `database` from before its upgrade from `version` lies.
pub fn backup_path(database: &Path, version: u32) -> PathBuf {
    database.with_extension(format!("v{version}.backup"))
}

/// A whole copy of the database as it was before an upgrade; it has its name only when it is on disk.
fn back_up(connection: &Connection, path: &Path, version: u32) -> Result<(), StateError> {
    let copy = backup_path(path, version);
    let part = copy.with_extension("part");
    let io = |source| StateError::Io {
        what: "cannot back up the database to",
        path: copy.clone(),
        source,
    };
    match fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    connection.execute("VACUUM INTO ?1", [part.to_string_lossy()])?;
    // SQLite leaves it to us to bring the copy to the disk
    File::open(&part).and_then(|file| file.sync_all()).map_err(io)?;
    fs::rename(&part, &copy).map_err(io)?;
    if let Some(folder) = copy.parent() {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(io)?;
    }
    tracing::info!(backup = %copy.display(), "the database was backed up before its upgrade");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_migration_applies_over_the_rows_of_those_before() {
        let connection = Connection::open_in_memory().expect("opens");
        connection.pragma_update(None, "foreign_keys", true).expect("set");
        for migration in MIGRATIONS {
            connection.execute_batch(migration.up).expect(migration.name);
            assert!(
                !migration.sample.trim().is_empty(),
                "{} has no sample",
                migration.name
            );
            connection.execute_batch(migration.sample).expect(migration.name);
        }
        let broken: Vec<String> = connection
            .prepare("PRAGMA foreign_key_check")
            .and_then(|mut rows| rows.query_map([], |row| row.get(0))?.collect())
            .expect("checks");
        assert_eq!(broken, Vec::<String>::new());
    }

    #[test]
    fn no_check_builds_a_table_at_every_write_and_all_hold() {
        let connection = Connection::open_in_memory().expect("opens");
        for migration in MIGRATIONS {
            connection.execute_batch(migration.up).expect(migration.name);
            connection.execute_batch(migration.sample).expect(migration.name);
        }
        for table in ["jobs", "steps", "attempts"] {
            let codes: Vec<String> = connection
                .prepare(&format!("EXPLAIN INSERT INTO {table} DEFAULT VALUES"))
                .and_then(|mut code| code.query_map([], |row| row.get(1))?.collect())
                .expect("explains");
            assert!(
                codes.iter().all(|code| code != "OpenEphemeral"),
                "{table}: {codes:?}"
            );
        }
        for wrong in [
            "UPDATE jobs SET state = 'lost'",
            "UPDATE jobs SET state = 'succeeded', ended_ms = NULL",
            "UPDATE steps SET state = 'queued'",
            "UPDATE steps SET state = 'running', ended_ms = 1",
            "UPDATE attempts SET state = 'queued'",
            "UPDATE attempts SET state = 'running', ended_ms = NULL, due_ms = NULL",
            "UPDATE attempts SET state = 'lost', ended_ms = NULL",
        ] {
            let refused = connection.execute(wrong, []).expect_err(wrong).to_string();
            assert!(refused.contains("CHECK constraint failed"), "{wrong}: {refused}");
        }
    }

    #[test]
    fn a_newer_database_is_refused_by_name() {
        let mut connection = Connection::open_in_memory().expect("opens");
        connection.pragma_update(None, "user_version", 99).expect("set");
        let error = migrate(&mut connection, Path::new("agentd.db")).expect_err("newer");
        assert!(error.to_string().contains("has version 99"), "{error}");
    }
}
