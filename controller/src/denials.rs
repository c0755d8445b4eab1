//! What was refused, on its way to the audit log: like refusals are gathered and
//! counted, so that a flood of them becomes few rows.
//!
//! Whoever refuses says so here and goes on; one task writes. It decides nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use service::clock::SharedClock;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::Engine,
    state::audit::{self, AuditEntry},
};

/// Kinds of refusals that are told apart at a time; what is more is one row.
const KINDS: usize = 64;
/// Longest text of a row: enough to recognise what was tried.
const CHARS: usize = 160;
/// The first refusal is written after this.
const SOON: Duration = Duration::from_secs(1);
/// What comes after it is gathered for this long.
const GATHERED: Duration = Duration::from_secs(30);

/// Takes refusals; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Denials(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    waiting: Mutex<BTreeMap<AuditEntry, u32>>,
    wake: Notify,
}

impl Denials {
    /// Notes that `who` may not do `action` to `object`. What comes from outside is cut and made one
    /// harmless line.
    pub fn note(&self, who: &str, origin: impl ToString, action: &str, object: &str, result: &str) {
        let entry = AuditEntry {
            who: clipped(who),
            origin: origin.to_string(),
            action: action.to_owned(),
            object: clipped(object),
            result: clipped(result),
        };
        let mut waiting = self.waiting();
        let known = waiting.contains_key(&entry);
        let entry = if known || waiting.len() < KINDS {
            entry
        } else {
            AuditEntry {
                who: "several".to_owned(),
                origin: "several".to_owned(),
                action: "denied".to_owned(),
                object: "several".to_owned(),
                result: "more kinds of refusals than are told apart".to_owned(),
            }
        };
        let times = waiting.entry(entry).or_insert(0);
        *times = times.saturating_add(1);
        self.0.wake.notify_one();
    }

    /// Writes them until the process stops.
    pub async fn write(self, engine: Engine, clock: SharedClock, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.0.wake.notified() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(SOON) => {}
                () = stop.cancelled() => {}
            }
            let gathered = std::mem::take(&mut *self.waiting());
            let at = clock.wall();
            let written = engine.write(move |connection| {
                let mut rows = gathered.iter();
                rows.try_for_each(|(entry, times)| audit::append_times(connection, entry, *times, at))
            });
            if let Err(error) = written.await {
                tracing::warn!(%error, "refusals are not in the audit log");
            }
            tokio::select! {
                () = tokio::time::sleep(GATHERED) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, BTreeMap<AuditEntry, u32>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn clipped(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().take(CHARS).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_becomes_few_rows() {
        let denials = Denials::default();
        for n in 0..10_000 {
            denials.note("nobody", "10.0.0.1", "login", "MQTT", "wrong credential");
            denials.note(
                "token \"x\"",
                "10.0.0.1",
                "publish",
                &format!("topic/{n}\u{1b}[2J"),
                "denied",
            );
        }
        let waiting = denials.waiting();
        assert_eq!(waiting.len(), KINDS + 1);
        assert_eq!(
            waiting.values().map(|times| u64::from(*times)).sum::<u64>(),
            20_000
        );
        let login = waiting.iter().find(|(entry, _)| entry.action == "login");
        assert_eq!(login.map(|(_, times)| *times), Some(10_000));
        assert!(waiting.keys().all(|entry| !entry.object.contains('\u{1b}')));
    }
}
