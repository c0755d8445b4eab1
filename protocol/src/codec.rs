//! The envelope of every private message, in MessagePack maps with field names.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    id::MessageId,
    message::{MAX_MESSAGE_BYTES, PROTOCOL_VERSION, Session},
};

/// What surrounds a message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// Version of the messages.
    pub v: u32,
    /// This very message, for logs.
    pub id: MessageId,
    /// The controller's start; a worker ignores a lower one than it has seen.
    pub epoch: u64,
    /// The session that the message belongs to.
    pub session: Session,
    /// `kind` and `body`.
    pub message: M,
}

/// A message that cannot be read or must not be sent.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Over [`MAX_MESSAGE_BYTES`].
    #[error("message of {0} bytes exceeds the limit of {MAX_MESSAGE_BYTES}")]
    TooLarge(usize),
    /// No MessagePack, or not the expected fields, or an unknown kind.
    #[error("message cannot be read: {0}")]
    Malformed(String),
    /// A version that this code does not speak.
    #[error("message of version {0} where {PROTOCOL_VERSION} is spoken")]
    Version(u32),
}

/// Encodes a message with its envelope.
pub fn encode<M: Serialize>(envelope: &Envelope<M>) -> Result<Vec<u8>, CodecError> {
    let bytes = rmp_serde::to_vec_named(envelope).map_err(|e| CodecError::Malformed(e.to_string()))?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Decodes a message with its envelope.
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<Envelope<M>, CodecError> {
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    deserializer.set_max_depth(64);
    let envelope = Envelope::<M>::deserialize(&mut deserializer)
        .map_err(|e| CodecError::Malformed(e.to_string().chars().take(300).collect()))?;
    if envelope.v != PROTOCOL_VERSION {
        return Err(CodecError::Version(envelope.v));
    }
    Ok(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{AttemptId, JobId, JournalId},
        message::{Accept, FromWorker, StepResult},
        step::Outcome,
        usage::Usage,
    };
    use proptest::prelude::*;

    fn envelope<M>(message: M) -> Envelope<M> {
        Envelope {
            v: PROTOCOL_VERSION,
            id: MessageId::new(),
            epoch: 7,
            session: Session {
                journal: JournalId::new(),
                start: 1,
                connection: 2,
            },
            message,
        }
    }

    #[test]
    fn messages_round_trip() {
        let result = FromWorker::Result(Box::new(StepResult {
            job: JobId::new(),
            step: "cycle#1/edit".parse().expect("a key"),
            attempt: AttemptId::new(),
            outcome: Outcome::Ok,
            error: None,
            exit: Some(0),
            outputs: serde_json::from_str(r#"{"n":1.5,"list":[null,true,{"a":"b"}]}"#).expect("a map"),
            artifacts: vec![],
            usage: Usage::default(),
            model: None,
            workspace: None,
            log_bytes: 1,
            log_sha256: None,
            notes: vec!["x".into()],
            duration_ms: 3,
            model_ms: 0,
        }));
        let sent = envelope(result);
        let bytes = encode(&sent).expect("encodes");
        assert_eq!(decode::<FromWorker>(&bytes).expect("decodes"), sent);
    }

    /// A message of a later version: fields and kinds that we do not know.
    #[derive(Serialize)]
    struct Later {
        kind: &'static str,
        body: LaterBody,
    }

    #[derive(Serialize)]
    struct LaterBody {
        mood: &'static str,
        attempt: AttemptId,
    }

    #[test]
    fn an_unknown_field_is_ignored_and_an_unknown_kind_is_named() {
        let later = |kind| {
            let body = LaterBody {
                mood: "good",
                attempt: AttemptId::new(),
            };
            encode(&envelope(Later { kind, body })).expect("encodes")
        };
        assert!(decode::<FromWorker>(&later("accept")).is_ok());
        let error = decode::<FromWorker>(&later("shout")).expect_err("unknown kind");
        assert!(error.to_string().contains("shout"), "{error}");
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let mut sent = envelope(FromWorker::Accept(Accept {
            attempt: AttemptId::new(),
        }));
        sent.v = 9;
        let bytes = encode(&sent).expect("encodes");
        assert!(matches!(
            decode::<FromWorker>(&bytes),
            Err(CodecError::Version(9))
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<FromWorker>(&bytes);
        }
    }
}
