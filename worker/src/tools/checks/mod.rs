//! The repository's own checks: found, run, read, compared with the baseline.
//!
//! What passes is decided by what was measured here, never by what a model said.

pub mod detect;
pub mod judge;
pub mod parse;
pub mod protected;
pub mod report;
pub mod run;
