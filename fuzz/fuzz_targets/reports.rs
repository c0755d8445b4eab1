//! What test runners print.

#![no_main]

use libfuzzer_sys::fuzz_target;
use worker::tools::checks::parse::{Runner, junit, parse, readable};

fuzz_target!(|text: &str| {
    for runner in [
        Runner::Libtest,
        Runner::Go,
        Runner::Pytest,
        Runner::Node,
        Runner::Unknown,
    ] {
        let found = parse(runner, text);
        assert!(found.failures.len() <= 1000);
    }
    let _ = readable(text);
    let _ = junit::parse(text);
});
