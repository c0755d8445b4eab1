//! What clients were told, and where commands leave their marks.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use e2e::Lab;
use serde_json::{Value, json};

/// Marks its attempt, after which its folder is named, at the beginning and at the end; some leave a
/// detached program behind.
const SCRIPT: &str = r#"a=${PWD%/work} a=${a##*/}
echo "$1 $a begin" >> "$2"
[ "$4" = nothing ] || setsid sh -c 'sleep 300; :' >/dev/null 2>&1 &
[ "$3" = 0 ] || sleep "$3"
echo "$1 $a end" >> "$2""#;

/// An acknowledged submit.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) number: u64,
    pub(crate) id: String,
}

/// A job that a client has seen ended.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) state: String,
    /// The attempt whose result was applied.
    pub(crate) attempt: Option<String>,
}

/// Everything that clients were told.
#[derive(Default)]
pub(crate) struct Told {
    /// By idempotency key.
    pub(crate) accepted: BTreeMap<String, Accepted>,
    /// Jobs by number.
    pub(crate) ended: BTreeMap<u64, Seen>,
    /// Whole uploads by hash, with their size.
    pub(crate) blobs: BTreeMap<String, u64>,
    /// Events by sequence number, as kind and job.
    pub(crate) events: BTreeMap<u64, (String, Option<u64>)>,
    /// What no truth can explain.
    pub(crate) contradictions: Vec<String>,
    /// Answers that were no acknowledgement, by status; 0 is none.
    pub(crate) refused: BTreeMap<u16, u64>,
}

/// Shared by the clients of one test.
pub(crate) struct History {
    told: Mutex<Told>,
    pub(crate) effects: PathBuf,
}

impl History {
    pub(crate) fn new(lab: &Lab) -> Self {
        let effects = lab.path("effects");
        std::fs::write(&effects, "").expect("writable");
        let told = Mutex::default();
        Self { told, effects }
    }

    pub(crate) fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().expect("no client panics")
    }

    /// The body of a submit: a job that takes so many seconds, and what it leaves behind.
    pub(crate) fn job(&self, key: &str, seconds: &str, leaves: &str) -> Value {
        let effects = self.effects.to_str().expect("text");
        let command = ["/bin/sh", "-c", SCRIPT, "chaos", key, effects, seconds, leaves];
        json!({"workflow": "run", "title": key, "inputs": {"command": command}})
    }

    pub(crate) fn accepted(&self, key: &str, answer: &Value) -> u64 {
        let number = answer["number"].as_u64().expect("a number");
        let id = answer["id"].as_str().expect("an id").to_owned();
        let mut told = self.told();
        let new = Accepted { number, id };
        if let Some(old) = told.accepted.insert(key.to_owned(), new.clone())
            && (old.number, &old.id) != (new.number, &new.id)
        {
            told.contradictions
                .push(format!("{key} was accepted as {old:?} and as {new:?}"));
        }
        number
    }

    pub(crate) fn refused(&self, status: u16) {
        *self.told().refused.entry(status).or_default() += 1;
    }

    /// Notes a job as the API showed it, if it has ended.
    pub(crate) fn saw(&self, job: &Value) -> bool {
        let state = job["state"].as_str().expect("a state");
        if !["succeeded", "failed", "cancelled"].contains(&state) {
            return false;
        }
        let number = job["number"].as_u64().expect("a number");
        let mut attempts = job["steps"][0]["attempts"].as_array().into_iter().flatten();
        let applied = attempts.rfind(|attempt| attempt["state"] == "succeeded");
        let attempt = applied
            .and_then(|attempt| attempt["id"].as_str())
            .map(str::to_owned);
        let seen = Seen {
            state: state.to_owned(),
            attempt,
        };
        self.told().ended.insert(number, seen);
        true
    }

    pub(crate) fn stored(&self, sha256: &str, size: u64) {
        self.told().blobs.insert(sha256.to_owned(), size);
    }

    pub(crate) fn event(&self, event: &Value) {
        let seq = event["seq"].as_u64().expect("a sequence number");
        let kind = event["kind"].as_str().expect("a kind").to_owned();
        let new = (kind, event["job"]["number"].as_u64());
        let mut told = self.told();
        if let Some(old) = told.events.insert(seq, new.clone())
            && old != new
        {
            told.contradictions
                .push(format!("event {seq} was {old:?} and is {new:?}"));
        }
    }
}
