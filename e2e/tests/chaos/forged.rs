//! Whether the verdict finds what must never happen: a true history, forged piece by piece.

use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

use e2e::eventually;

use crate::scene::Scene;

/// A newer attempt of a job that has succeeded, in this state.
const NEWER_ATTEMPT: &str = "
    INSERT INTO attempts (id, job, step, number, worker, worker_name, state, offered_ms, ended_ms, body)
    SELECT randomblob(16), job, step, number + 1, worker, worker_name, ?1, offered_ms, ended_ms, body
    FROM attempts WHERE state = 'succeeded' AND job = (SELECT job FROM attempts GROUP BY job
        HAVING count(*) = 1 LIMIT 1)";

impl Scene {
    /// Something is forged; from then on the verdict complains about it in these words.
    fn forged(&self, what: &str, complaint: &str) {
        let about = |text: &&String| text.contains(complaint);
        let verdict = self.judge();
        let found = verdict.complaints().iter().filter(about).count();
        assert_eq!(found, 1, "{what}: {:#?}", verdict.complaints());
    }

    fn tables(&self) -> Connection {
        Connection::open(self.controller.state.join("agentd.db")).expect("it opens")
    }
}

#[test]
fn a_forged_history_is_found() {
    let mut scene = Scene::new("");
    let storm = scene.storm(false);
    eventually("some jobs to end", || {
        let told = scene.history.told();
        (told.ended.len() > 4 && !told.blobs.is_empty()).then_some(())
    });
    scene.calm(storm);
    scene.judge().passes(scene.seed);

    let id = Uuid::new_v4().to_string();
    scene
        .history
        .accepted("forged", &json!({"number": 999_999, "id": id}));
    scene.forged("an accepted job is lost", "forged was accepted as");

    let tables = scene.tables();
    assert_eq!(tables.execute(NEWER_ATTEMPT, ["succeeded"]).expect("inserts"), 1);
    scene.forged(
        "two results of one step are applied",
        "the results of [1, 2] were applied",
    );

    assert_eq!(tables.execute(NEWER_ATTEMPT, ["lost"]).expect("inserts"), 1);
    scene.forged(
        "a superseded result is applied",
        "a superseded result was applied",
    );

    let again = std::fs::read_to_string(&scene.history.effects).expect("the marks");
    let first = again.lines().next().expect("a command has begun");
    std::fs::write(&scene.history.effects, format!("{again}{first}\n")).expect("writable");
    scene.forged("an attempt is executed twice", "ran 2 times");

    let last = "DELETE FROM events WHERE seq = (SELECT max(seq) - 1 FROM events)";
    assert_eq!(tables.execute(last, []).expect("deletes"), 1);
    scene.forged("an event is gone", "events up to");

    assert!(tables.execute("DELETE FROM blobs", []).expect("deletes") > 0);
    let stored = scene.history.told().blobs.len();
    let verdict = scene.judge();
    let gone = verdict
        .complaints()
        .iter()
        .filter(|text| text.contains("has no row"));
    assert_eq!(
        gone.count(),
        stored,
        "uploads are gone: {:#?}",
        verdict.complaints()
    );
}
