//! What is secret on this controller, hidden in everything that comes in: workers hide it
//! at the source, and this is the second net.

use std::borrow::Cow;

use protocol::{message::FromWorker, model::ProviderDefinition};
use service::{mask::Mask, secret::Secret};

use crate::{
    seal::Seal,
    state::{Connection, StateError, secrets},
};

/// Hides the secrets of steps, the keys of providers and the key of the seal.
pub fn mask(
    connection: &Connection,
    seal: &Seal,
    providers: &[ProviderDefinition],
) -> Result<Mask, StateError> {
    let mut values = vec![];
    for (name, sealed) in secrets::sealed(connection)? {
        match seal.open_value(&name, &sealed) {
            Ok(value) => values.push(value),
            Err(error) => tracing::warn!("{error}: set it again, agentctl secrets set {name}"),
        }
    }
    let keys = providers
        .iter()
        .filter_map(|provider| provider.api_key.as_deref());
    let values = values.iter().map(Secret::expose);
    Ok(Mask::of(values.chain(keys).chain([seal.text().expose()])))
}

/// Hides them in what a worker says.
pub fn hide(message: &mut FromWorker, mask: &Mask) {
    match message {
        FromWorker::Result(result) => {
            mask.apply_map(&mut result.outputs);
            if let Some(error) = &mut result.error {
                hide_text(&mut error.message, mask);
                error.hint.iter_mut().for_each(|hint| hide_text(hint, mask));
            }
            result.notes.iter_mut().for_each(|note| hide_text(note, mask));
        }
        FromWorker::Progress(progress) => hide_text(&mut progress.note, mask),
        FromWorker::Reject(reject) => hide_text(&mut reject.detail, mask),
        _ => {}
    }
}

fn hide_text(text: &mut String, mask: &Mask) {
    if let Cow::Owned(hidden) = mask.apply(text) {
        *text = hidden;
    }
}

#[cfg(test)]
mod tests {
    use protocol::{id::AttemptId, message::Progress, usage::Usage};

    use super::*;

    #[test]
    fn what_a_worker_says_is_hidden() {
        let mask = Mask::of(["hunter-22"]);
        let mut message = FromWorker::Progress(Progress {
            attempt: AttemptId::new(),
            seq: 1,
            fraction: None,
            note: "asks with hunter-22".to_owned(),
            usage: Usage::default(),
            model: None,
        });
        hide(&mut message, &mask);
        let FromWorker::Progress(progress) = message else {
            panic!("another message")
        };
        assert_eq!(progress.note, "asks with •••");
    }

    #[test]
    fn all_that_is_secret_here_is_known_after_a_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = crate::state::Store::open(&folder.path().join("agentd.db")).expect("opens");
        let seal = Seal::open(folder.path()).expect("made");
        let (sealed, at) = (seal.seal("A", "hunter-22"), jiff::Timestamp::UNIX_EPOCH);
        secrets::set(store.connection(), "A", &sealed, "me", at).expect("set");
        // one that another key has sealed
        secrets::set(store.connection(), "B", b"x", "me", at).expect("set");
        let mask = mask(store.connection(), &seal, &[]).expect("read");
        let text = format!("hunter-22 {}", seal.text().expose());
        assert_eq!(mask.apply(&text), "••• •••");
    }
}
