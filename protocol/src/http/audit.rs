//! `/v1/audit`: who did what, from where, when, with which result.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Method, Page, query};

/// `GET /v1/audit`: a page, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAudit {
    /// Only those of this name.
    pub who: Option<String>,
    /// Only this action, or this group of actions: `job` is every `job.…`.
    pub action: Option<String>,
    /// From the page before.
    pub cursor: Option<String>,
    /// Rows, at most 1,000; 50 if missing.
    pub limit: Option<u32>,
}

impl Endpoint for ListAudit {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/audit";
    type Response = Page<AuditRow>;
    fn path(&self) -> String {
        let pairs = [
            ("who", self.who.clone()),
            ("action", self.action.clone()),
            ("cursor", self.cursor.clone()),
            ("limit", self.limit.map(|limit| limit.to_string())),
        ];
        format!("{}{}", Self::ROUTE, query(&pairs))
    }
}

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRow {
    /// Its number, without gaps.
    pub seq: u64,
    /// When.
    #[schemars(with = "crate::schema::Time")]
    pub at: Timestamp,
    /// Name of the token or worker; `nobody` without a valid credential.
    pub who: String,
    /// Address.
    pub origin: String,
    /// Such as `job.cancel`.
    pub action: String,
    /// To what.
    pub object: String,
    /// `ok`, or why not.
    pub result: String,
    /// How often: like refusals within half a minute are one row.
    pub times: u32,
    /// SHA-256 over the hash of the row before and all other fields, in hex.
    pub hash: String,
}

/// `GET /v1/audit/verify`: follows the whole chain.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyAudit {}

impl Endpoint for VerifyAudit {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/audit/verify";
    type Response = AuditCheck;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// What following the chain has shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditCheck {
    /// Rows that fit.
    pub rows: u64,
    /// The first row that is kept.
    pub first: Option<u64>,
    /// Number of the last row that was kept long enough and has gone; 0 if none has.
    pub removed: u64,
    /// The last row that fits.
    pub last: Option<u64>,
    /// Its hash: written down elsewhere, it shows later that nothing was cut off or replaced.
    pub hash: String,
    /// The first row that does not fit.
    pub broken: Option<BrokenRow>,
}

/// A row that does not fit the one before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BrokenRow {
    /// Why not.
    pub why: String,
    /// The row.
    pub row: AuditRow,
}
