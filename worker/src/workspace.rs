//! (being written)

/// The work trees of this worker.
pub struct Workspaces {}
