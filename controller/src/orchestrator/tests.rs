//! The rules of the design one by one, and whole jobs.

mod jobs;
mod rules;
pub(crate) mod sim;
