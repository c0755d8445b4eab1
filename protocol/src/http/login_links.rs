//! `/v1/login-links`: a way from a token into the dashboard.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Method};

/// `POST /v1/login-links`: a link that logs a browser in once, with the rights of the token that asks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CreateLoginLink {}

impl Endpoint for CreateLoginLink {
    const METHOD: Method = Method::Post;
    const ROUTE: &'static str = "/v1/login-links";
    type Response = LoginLinkCreated;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}

/// The only time that the link is shown.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LoginLinkCreated {
    /// To be put behind the address by which the controller was reached.
    pub path: String,
    /// How long it is good for, in seconds.
    pub expires_in_s: u64,
}
