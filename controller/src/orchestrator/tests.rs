//! The rules of the design one by one, and whole jobs.

mod approvals;
mod checkpoints;
mod jobs;
mod late;
mod revival;
mod rules;
pub(crate) mod sim;
mod why;
