use proptest::prelude::*;

use super::*;
use crate::state::migrate::MIGRATIONS;

fn database() -> Connection {
    let connection = Connection::open_in_memory().expect("opens");
    for migration in MIGRATIONS {
        connection.execute_batch(migration.up).expect(migration.name);
    }
    connection
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time")
}

fn entry(object: &str) -> AuditEntry {
    AuditEntry {
        who: "token \"admin\"".to_owned(),
        origin: "127.0.0.1".to_owned(),
        action: "job.cancel".to_owned(),
        object: object.to_owned(),
        result: "ok".to_owned(),
    }
}

fn with_rows(count: i64) -> Connection {
    let connection = database();
    for n in 0..count {
        append(&connection, &entry(&n.to_string()), at(n)).expect("appended");
    }
    connection
}

fn broken(connection: &Connection) -> Option<(u64, String)> {
    let check = verify(connection).expect("read");
    check.broken.map(|broken| (broken.row.seq, broken.why))
}

/// Somebody who writes past agentd.
fn tamper(connection: &Connection, sql: &str) {
    connection
        .execute_batch(
            "DROP TRIGGER audit_is_not_changed; DROP TRIGGER audit_goes_from_the_front; \
             DROP TRIGGER audit_has_hashes;",
        )
        .expect("dropped");
    connection.execute_batch(sql).expect("tampered");
}

#[test]
fn an_untouched_chain_is_whole_and_names_its_head() {
    let connection = with_rows(5);
    let check = verify(&connection).expect("read");
    assert_eq!((check.rows, check.first, check.last), (5, Some(1), Some(5)));
    assert_eq!(check.broken, None);
    let (rows, _) = list(&connection, None, &ListAudit::default()).expect("read");
    assert_eq!(check.hash, rows[0].hash);
}

#[test]
fn the_first_row_that_does_not_fit_is_named() {
    for (sql, row, why) in [
        ("UPDATE audit SET who = 'x' WHERE seq = 3", 3, "hash does not fit"),
        ("UPDATE audit SET at_ms = 9 WHERE seq = 1", 1, "hash does not fit"),
        (
            "UPDATE audit SET hash = x'00' WHERE seq = 5",
            5,
            "hash does not fit",
        ),
        ("UPDATE audit SET hash = NULL WHERE seq = 2", 2, "no hash"),
        ("DELETE FROM audit WHERE seq = 2", 3, "row 2 should stand here"),
        ("DELETE FROM audit WHERE seq = 1", 2, "row 1 should stand here"),
        (
            "UPDATE audit SET object = '', action = action || object WHERE seq = 4",
            4,
            "hash does not fit",
        ),
    ] {
        let connection = with_rows(5);
        tamper(&connection, sql);
        let (seq, text) = broken(&connection).expect(sql);
        assert_eq!(seq, row, "{sql}");
        assert!(text.contains(why), "{sql}: {text}");
    }
}

#[test]
fn rows_are_only_added() {
    let connection = with_rows(3);
    for sql in [
        "UPDATE audit SET who = 'x'",
        "DELETE FROM audit WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 1",
        "INSERT INTO audit (seq, at_ms, who, origin, action, object, result) VALUES (9, 0, '', '', '', '', '')",
    ] {
        assert!(connection.execute_batch(sql).is_err(), "{sql}");
    }
    assert_eq!(broken(&connection), None);
}

#[test]
fn what_goes_from_the_front_leaves_its_anchor() {
    let connection = with_rows(10);
    assert_eq!(remove_before(&connection, 4, 3).expect("removed"), 3);
    assert_eq!(remove_before(&connection, 4, 3).expect("removed"), 1);
    assert_eq!(remove_before(&connection, 4, 3).expect("removed"), 0);
    let check = verify(&connection).expect("read");
    assert_eq!((check.rows, check.first, check.removed), (6, Some(5), 4));
    assert_eq!(check.broken, None);
    assert_eq!(remove_before(&connection, 100, 100).expect("removed"), 6);
    append(&connection, &entry("next"), at(200)).expect("appended");
    let check = verify(&connection).expect("read");
    assert_eq!((check.first, check.broken), (Some(11), None));
    tamper(&connection, "DELETE FROM meta WHERE key = 'audit_anchor'");
    assert_eq!(broken(&connection).map(|(seq, _)| seq), Some(11));
}

#[test]
fn rows_of_earlier_versions_come_into_the_chain() {
    let connection = Connection::open_in_memory().expect("opens");
    let audit = MIGRATIONS
        .iter()
        .position(|migration| migration.name.ends_with("_audit"))
        .expect("there");
    for migration in &MIGRATIONS[..audit] {
        connection.execute_batch(migration.up).expect(migration.name);
    }
    let old = "INSERT INTO audit VALUES (1, 5, 'a', 'b', 'c', 'd', 'ok'), (3, 6, 'a', 'b', 'c', 'd', 'ok')";
    connection.execute_batch(old).expect("inserted");
    for migration in &MIGRATIONS[audit..] {
        connection.execute_batch(migration.up).expect(migration.name);
    }
    assert!(broken(&connection).is_some());
    chain_old_rows(&connection).expect("chained");
    append(&connection, &entry("x"), at(7)).expect("appended");
    let check = verify(&connection).expect("read");
    assert_eq!((check.rows, check.broken), (3, None));
    chain_old_rows(&connection).expect("nothing to do");
    tamper(&connection, "UPDATE audit SET hash = NULL WHERE seq = 1");
    chain_old_rows(&connection).expect("nothing to do");
    assert_eq!(broken(&connection).map(|(seq, _)| seq), Some(1));
}

#[test]
fn pages_go_from_new_to_old_and_filters_know_groups_of_actions() {
    let connection = with_rows(5);
    let mut other = entry("n");
    other.action = "login".to_owned();
    other.who = "nobody".to_owned();
    append_times(&connection, &other, 40, at(9)).expect("appended");
    let page = |before, wish: ListAudit| {
        let (rows, next) = list(&connection, before, &wish).expect("read");
        (rows.iter().map(|row| row.seq).collect::<Vec<_>>(), next)
    };
    let wish = ListAudit {
        limit: Some(4),
        ..ListAudit::default()
    };
    assert_eq!(page(None, wish.clone()), (vec![6, 5, 4, 3], Some(3)));
    assert_eq!(page(Some(3), wish.clone()), (vec![2, 1], None));
    let jobs = ListAudit {
        action: Some("job".to_owned()),
        ..wish.clone()
    };
    assert_eq!(page(None, jobs), (vec![5, 4, 3, 2], Some(2)));
    let nobody = ListAudit {
        who: Some("nobody".to_owned()),
        ..wish
    };
    assert_eq!(page(None, nobody), (vec![6], None));
}

proptest! {
    #[test]
    fn any_change_of_a_field_changes_the_hash(
        a in prop::array::uniform5(".{0,8}"), b in prop::array::uniform5(".{0,8}"), seq in 0..3_u64, times in 0..3_u32,
    ) {
        fn fields(texts: &[String; 5], seq: u64, times: u32) -> Fields<'_> {
            Fields { seq, at_ms: 0, times, texts: texts.each_ref().map(String::as_str) }
        }
        let same = a == b && seq == 0 && times == 0;
        let (one, other) = (fields(&a, 0, 0).hash(&START), fields(&b, seq, times).hash(&START));
        prop_assert_eq!(one == other, same);
    }
}
