//! What model servers send: SSE and NDJSON, in every dialect.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    worker::llm::fuzzing::answer(bytes);
});
