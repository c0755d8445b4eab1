//! The reference of the API, made from the table of routes.

use axum::Json;
use protocol::http::problem::Code;
use serde_json::{Map, Value, json};

use crate::authorize::Need;

use super::routes::{ROUTES, Route};

/// `GET /openapi.json`.
pub(super) async fn document() -> Json<Value> {
    Json(build())
}

/// The whole document.
pub fn build() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = route.path.replace("{*name}", "{name}");
        let item = paths.entry(path).or_insert_with(|| json!({}));
        item[route.method.as_str().to_lowercase()] = operation(route);
    }
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "agentd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors are application/problem+json. Times are RFC 3339 UTC, sizes bytes, durations milliseconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Problem": {
                "type": "object",
                "required": ["type", "title", "status", "code", "detail"],
                "properties": {
                    "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
                    "code": {"type": "string", "enum": codes}, "detail": {"type": "string"},
                    "field": {"type": "string"}, "value": {}, "hint": {"type": "string"},
                },
            }},
        },
    })
}

fn operation(route: &Route) -> Value {
    let parameters: Vec<Value> = route
        .path
        .split('/')
        .filter_map(|level| level.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({"name": name.trim_start_matches('*'), "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    let (security, scope) = match route.need {
        Need::Open => (json!([]), "open".to_owned()),
        Need::Scope(scope) => (json!([{"bearer": []}]), scope.to_string()),
        Need::WorkerSelf => (
            json!([{"bearer": []}]),
            "the worker that holds the attempt".to_owned(),
        ),
        Need::ScopeOrWorker(scope) => (json!([{"bearer": []}]), format!("{scope}, or a worker")),
    };
    let problem = json!({
        "description": "A problem",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    });
    json!({
        "summary": route.summary,
        "description": format!("Needs: {scope}."),
        "operationId": operation_id(route),
        "parameters": parameters,
        "security": security,
        "responses": {"2XX": {"description": "Done"}, "4XX": problem, "5XX": problem},
    })
}

fn operation_id(route: &Route) -> String {
    let words = route
        .path
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty() && *word != "v1");
    let words: Vec<&str> = words.collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), words.join("_"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_route_is_described_once() {
        let ids: HashSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
        let document = build();
        for route in ROUTES {
            let path = route.path.replace("{*name}", "{name}");
            assert!(
                document["paths"][path][route.method.as_str().to_lowercase()].is_object(),
                "{}",
                route.path
            );
        }
    }
}
