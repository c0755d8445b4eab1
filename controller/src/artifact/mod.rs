//! Artifacts and logs: files, not rows.

pub mod logs;
pub mod quota;
pub mod store;

pub use logs::Logs;
pub use quota::Quotas;
pub use store::BlobStore;
