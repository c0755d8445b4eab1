//! A model's reply with edits, in every protocol.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::documents::EditProtocol;
use worker::agents::edit::parse::parse;

fuzz_target!(|reply: &str| {
    for protocol in [
        EditProtocol::WholeFile,
        EditProtocol::SearchReplace,
        EditProtocol::ApplyPatch,
        EditProtocol::UnifiedDiff,
    ] {
        let parsed = parse(protocol, reply);
        for op in &parsed.ops {
            let _ = op.path();
        }
    }
});
