//! The repository's own checks: found, run, read, compared with the baseline.

pub mod parse;
