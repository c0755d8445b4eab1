//! Artifacts and logs: files, not rows.

pub mod logs;
pub mod store;

pub use logs::Logs;
pub use store::BlobStore;
