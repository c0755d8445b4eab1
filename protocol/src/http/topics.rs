//! `/asyncapi.json`: the reference of the MQTT topics.

use serde::Serialize;
use serde_json::Value;

use super::{Endpoint, Method};

/// `GET /asyncapi.json`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct GetTopics {}

impl Endpoint for GetTopics {
    const METHOD: Method = Method::Get;
    const ROUTE: &'static str = "/asyncapi.json";
    type Response = Value;
    fn path(&self) -> String {
        Self::ROUTE.to_owned()
    }
}
