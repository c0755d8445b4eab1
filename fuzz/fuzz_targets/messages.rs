//! The MessagePack of both sides; what can be read can be written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::{
    codec::{decode, encode},
    message::{FromWorker, LogTail, ToWorker},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = decode::<FromWorker>(bytes) {
        // a message may grow over the limit by its names
        let _ = encode(&envelope);
    }
    let _ = decode::<ToWorker>(bytes);
    let _ = decode::<LogTail>(bytes);
});
