//! The dashboard: what people see of jobs, workers and costs in a browser.
//!
//! Pages are written here and sent whole; a small script asks for a page again when
//! its events come. Reads come from the tables and the engine's world, changes go
//! through the same calls as the API's, rights through the same function. It decides
//! nothing, and every text of a job, a model or a repository is escaped.

mod ansi;
mod assets;
mod diff;
mod documents;
mod door;
mod frame;
mod graph;
mod job;
mod jobs;
mod live;
pub mod log;
pub mod login;
mod parts;
pub mod routes;
mod session;
mod settings;
mod timeline;
mod usage;
mod visible;
mod words;
mod workers;
mod workflow;

#[cfg(test)]
mod tests;

pub use session::{COOKIE, cookie_of, csrf_of};

/// What the dashboard remembers between two pages; cheap to clone.
#[derive(Clone, Default)]
pub struct Dashboard {
    /// One-time links that wait to be used.
    pub links: login::Links,
    /// Where the lines of logs begin.
    pub lines: log::Lines,
}
