//! `/v1/tokens`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Empty, Endpoint, Method, Page, encode};
use crate::{id::TokenId, job::text_enum};

text_enum! {
    /// What a token allows: `read ⊂ run`, `read ⊂ approve`, all ⊂ `admin`.
    Scope {
        /// Look at everything but secrets.
        Read = "read",
        /// Submit, cancel, retry.
        Run = "run",
        /// Approve and reject.
        Approve = "approve",
        /// Everything.
        Admin = "admin",
    }
}

impl Scope {
    /// Whether holding `self` is enough where `needed` is asked for.
    pub const fn reaches(self, needed: Self) -> bool {
        matches!(
            (self, needed),
            (Self::Admin, _) | (_, Self::Read) | (Self::Run, Self::Run) | (Self::Approve, Self::Approve)
        )
    }
}

/// `POST /v1/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// For people; unique.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// Life in seconds; for ever if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

impl Endpoint for CreateToken {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/tokens";
    const HAS_BODY: bool = true;
    type Response = TokenCreated;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// The only time that the token's secret is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct TokenCreated {
    /// The bearer token.
    pub token: String,
    /// The same token as lists show it.
    #[serde(flatten)]
    pub view: TokenView,
}

/// A token as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenView {
    /// Its id.
    pub id: TokenId,
    /// For people.
    pub name: String,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it was made.
    #[schemars(with = "crate::schema::Time")]
    pub created_at: Timestamp,
    /// Until when it lives.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schemars(with = "Option<crate::schema::Time>")]
    pub last_used_at: Option<Timestamp>,
}

/// `GET /v1/tokens`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ListTokens {}

impl Endpoint for ListTokens {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/v1/tokens";
    type Response = Page<TokenView>;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// `DELETE /v1/tokens/{name}`: by name or id.
#[derive(Clone, Debug, Serialize)]
pub struct RemoveToken {
    /// Name or id.
    #[serde(skip)]
    pub name: String,
}

impl Endpoint for RemoveToken {
    const METHOD: Method = Method::Delete;
    const ROUTE: &'static str = "/v1/tokens/{name}";
    type Response = Empty;
    fn path(&self) -> String {
        Self::ROUTE.replace("{name}", &encode(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::Scope;

    #[test]
    fn scopes_reach_as_documented() {
        let table = [
            (Scope::Read, [true, false, false, false]),
            (Scope::Run, [true, true, false, false]),
            (Scope::Approve, [true, false, true, false]),
            (Scope::Admin, [true, true, true, true]),
        ];
        for (held, reached) in table {
            for (needed, expected) in Scope::ALL.iter().zip(reached) {
                assert_eq!(held.reaches(*needed), expected, "{held} → {needed}");
            }
        }
    }
}
