//! Workflow files.

#![no_main]

use controller::workflow::{load::load, prompts::Prompts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = load(text, &Prompts::builtin());
});
