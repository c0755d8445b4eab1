//! The way of the fuzzers to the decoders of the dialects.

use super::{
    answer::{Decoder, Draft},
    anthropic::Events,
    ollama::Replies,
    openai::decode::Chunks,
};

/// Decodes a body in every dialect, split where its first byte says.
pub fn answer(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let pieces = usize::from(*first).max(1);
    read(Chunks::default(), body, pieces);
    read(Events::default(), body, pieces);
    read(Replies::default(), body, pieces);
}

fn read(mut decoder: impl Decoder, body: &[u8], pieces: usize) {
    let mut draft = Draft::default();
    let read = body
        .chunks(pieces)
        .try_for_each(|piece| decoder.read(piece, &mut draft));
    if read.is_ok() {
        // an error is an answer too
        let _ = decoder.end(&mut draft);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    /// Pieces of which real bodies are made, in any order.
    fn pieces() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("data: ".to_owned()),
            Just("event: message_delta\n".to_owned()),
            Just("\r\n".to_owned()),
            Just("\n\n".to_owned()),
            Just("[DONE]".to_owned()),
            Just(r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#.to_owned()),
            Just(r#"{"choices":{"usage":-1},"message":[]}"#.to_owned()),
            Just(r#"{"type":"content_block_delta","delta":{"text":"a"}}"#.to_owned()),
            Just(r#"{"message":{"content":"a","thinking":1},"done":true,"eval_count":1e99}"#.to_owned()),
            Just("\u{feff}".to_owned()),
            ".{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_dialect_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            super::answer(&bytes);
        }

        #[test]
        fn no_body_makes_a_dialect_panic(split: u8, parts in proptest::collection::vec(pieces(), 0..12)) {
            let body = [&[split], parts.concat().as_bytes()].concat();
            super::answer(&body);
        }
    }
}
