//! The reference of the API: routes and rights from the table of routes, shapes from the types, and what
//! else a call takes and answers from `calls`.

mod calls;
mod parameters;
pub(super) mod shape;

use std::{collections::BTreeMap, sync::LazyLock};

use axum::Json;
use protocol::http::problem::{Code, PROBLEM_JSON, Problem};
use serde_json::{Map, Value, json};

use crate::authorize::Need;

use super::routes::{BodyKind, ROUTES, Route};
use calls::{CALLS, Call};
use shape::{Answers, Content, Shape, inline};

/// Values of the types in the document.
const EXAMPLES: &str = include_str!("openapi/examples.json");

/// `GET /openapi.json`.
pub(super) async fn document() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    Json(&DOCUMENT)
}

/// The whole document.
pub fn build() -> Value {
    let mut answers = Answers::new();
    let mut paths = Map::new();
    let problem = answers.place(&Shape::of::<Problem>());
    for route in ROUTES {
        let item = paths.entry(path_of(route)).or_insert_with(|| json!({}));
        item[route.method.as_str().to_lowercase()] = operation(route, &mut answers, &problem);
    }
    let mut schemas = answers.take();
    let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    for (name, example) in examples {
        if let Some(schema) = schemas.get_mut(&name) {
            schema["examples"] = json!([example]);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "agentd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors are application/problem+json. Times are RFC 3339 UTC, sizes bytes, durations milliseconds.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": "An API token, or the credential of a worker"}},
            "schemas": schemas,
            "examples": problems(),
        },
    })
}

fn path_of(route: &Route) -> String {
    route.path.replace("{*name}", "{name}")
}

fn call_of(route: &Route) -> Option<&'static Call> {
    let at = format!("{} {}", route.method, path_of(route));
    CALLS.iter().find(|call| call.at == at)
}

/// One of each problem.
fn problems() -> Map<String, Value> {
    let example = |code: &Code| {
        let problem = Problem::new(*code, code.meaning());
        (
            code.to_string(),
            json!({"summary": code.meaning(), "value": problem}),
        )
    };
    Code::ALL.iter().map(example).collect()
}

fn operation(route: &Route, answers: &mut Answers, problem: &Value) -> Value {
    let (security, scope) = match route.need {
        Need::Open => (json!([]), "nothing".to_owned()),
        Need::Scope(scope) => (json!([{"bearer": []}]), format!("a token with scope `{scope}`")),
        Need::WorkerSelf => (
            json!([{"bearer": []}]),
            "to be the worker that it is about".to_owned(),
        ),
        Need::ScopeOrWorker(scope) => (
            json!([{"bearer": []}]),
            format!("a token with scope `{scope}`, or to be a worker"),
        ),
    };
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": format!("Needs {scope}."),
        "security": security,
    });
    let placeholders = route
        .path
        .split('/')
        .filter_map(|level| level.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = placeholders
        .map(|name| parameters::of_path(name.trim_start_matches('*')))
        .collect();
    let mut responses = Map::new();
    if let Some(call) = call_of(route) {
        parameters.extend(
            call.parameters
                .iter()
                .copied()
                .flatten()
                .map(parameters::Parameter::describe),
        );
        if let Some((content, example)) = &call.body {
            operation["requestBody"] = body(content, example);
        }
        for (status, content, headers) in call.answers {
            answer(&mut responses, *status, content, headers, answers);
        }
        add_problems(&mut responses, route, call, problem);
    }
    operation["parameters"] = json!(parameters);
    operation["responses"] = Value::Object(responses);
    operation
}

fn body(content: &Content, example: &str) -> Value {
    let content = match content {
        Content::Json(shape) => {
            let example: Value = serde_json::from_str(example).unwrap_or_default();
            json!({"application/json": {"schema": inline(shape), "example": example}})
        }
        Content::Other(media) => json!({*media: {}}),
        Content::Events(_) | Content::Nothing => json!({}),
    };
    json!({"required": true, "content": content})
}

/// Adds an answer; two with one status are two media types of it.
fn answer(
    responses: &mut Map<String, Value>,
    status: u16,
    content: &Content,
    headers: &[parameters::Header],
    answers: &mut Answers,
) {
    let description = match status {
        201 => "Made",
        206 => "A part",
        304 => "Not changed",
        _ => "Done",
    };
    let response = responses
        .entry(status.to_string())
        .or_insert_with(|| json!({"description": description}));
    match content {
        Content::Json(shape) => {
            response["content"]["application/json"] = json!({"schema": answers.place(shape)});
        }
        Content::Events(shape) => {
            let data = json!({
                "type": "string", "contentMediaType": "application/json", "contentSchema": answers.place(shape),
            });
            let event = json!({
                "type": "object", "required": ["data"],
                "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": data},
            });
            response["content"]["text/event-stream"] = json!({"schema": event});
        }
        Content::Other(media) => {
            response["content"][*media] = json!({"schema": {"type": "string"}});
        }
        Content::Nothing => {}
    }
    if !headers.is_empty() {
        let headers: Map<String, Value> = headers.iter().map(parameters::Header::describe).collect();
        response["headers"] = Value::Object(headers);
    }
}

/// Everything that may be wrong, by status.
fn add_problems(responses: &mut Map<String, Value>, route: &Route, call: &Call, problem: &Value) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes_of(route, call) {
        let codes = by_status.entry(code.status()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    for (status, codes) in by_status {
        let meanings: Vec<String> = codes
            .iter()
            .map(|code| format!("`{code}`: {}", code.meaning()))
            .collect();
        let mut response = json!({"description": meanings.join("\n")});
        if route.method != axum::http::Method::HEAD {
            let examples: Map<String, Value> = codes
                .iter()
                .map(|code| {
                    (
                        code.to_string(),
                        json!({"$ref": format!("#/components/examples/{code}")}),
                    )
                })
                .collect();
            response["content"] = json!({PROBLEM_JSON: {"schema": problem, "examples": examples}});
        }
        if [429, 503, 507].contains(&status) {
            response["headers"] =
                json!({"Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}});
        }
        responses.insert(status.to_string(), response);
    }
}

/// Those of every call, those of what it takes, and its own.
fn codes_of(route: &Route, call: &Call) -> Vec<Code> {
    // a wrong credential is refused even where none is needed, and so is a page of a stranger
    let mut codes = vec![
        Code::Unauthenticated,
        Code::Forbidden,
        Code::RateLimited,
        Code::Storage,
        Code::Unavailable,
    ];
    if route.path.contains('{') {
        codes.push(Code::NotFound);
    }
    if call
        .parameters
        .iter()
        .copied()
        .flatten()
        .any(parameters::Parameter::is_query)
    {
        codes.push(Code::InvalidQuery);
    }
    if call
        .parameters
        .iter()
        .copied()
        .flatten()
        .any(|parameter| !parameter.is_query())
    {
        codes.push(Code::InvalidField);
    }
    if call.body.is_some() {
        codes.extend([Code::TooLarge, Code::InvalidField]);
        if route.body != BodyKind::Stream {
            codes.extend([Code::InvalidBody, Code::TooSlow]);
        }
    }
    codes.extend(call.problems);
    codes
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
    fn every_route_is_described_once_and_whole() {
        let ids: HashSet<String> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
        let document = build();
        for route in ROUTES {
            let call = call_of(route);
            assert!(
                call.is_some_and(|call| !call.answers.is_empty()),
                "{} {}",
                route.method,
                route.path
            );
            let described = &document["paths"][path_of(route)][route.method.as_str().to_lowercase()];
            assert!(described["responses"]["401"].is_object(), "{}", route.path);
        }
        assert_eq!(CALLS.len(), ROUTES.len(), "a call that is no route");
    }

    #[test]
    fn every_example_belongs_to_a_type_and_can_be_read() {
        let examples: Map<String, Value> = serde_json::from_str(EXAMPLES).expect("JSON");
        let document = build();
        for name in examples.keys() {
            assert!(
                document["components"]["schemas"][name].is_object(),
                "{name} is no type of the document"
            );
        }
        for call in CALLS {
            if let Some((Content::Json(_), example)) = &call.body {
                assert!(
                    serde_json::from_str::<Value>(example).is_ok(),
                    "{}: {example}",
                    call.at
                );
            }
        }
    }
}
