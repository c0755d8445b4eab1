//! `/v1/backup`.

/// `POST`: answers with a tar file while the controller goes on; scope `admin`.
pub const BACKUP_PATH: &str = "/v1/backup";
