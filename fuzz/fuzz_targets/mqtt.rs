//! What a client sends to the front door of the broker.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    controller::broker::fuzzing::mqtt(bytes);
});
