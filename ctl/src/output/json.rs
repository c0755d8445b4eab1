//! JSON for programs: `schema_version`, full ids, RFC 3339 times.

use serde::Serialize;

use super::SCHEMA_VERSION;

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema_version: u32,
    #[serde(flatten)]
    item: &'a T,
}

#[derive(Serialize)]
pub(super) struct List<'a, T> {
    schema_version: u32,
    items: &'a [T],
    next_cursor: Option<&'a str>,
}

pub(super) fn versioned<T: Serialize>(item: &T) -> impl Serialize {
    Versioned {
        schema_version: SCHEMA_VERSION,
        item,
    }
}

pub(super) fn listed<'a, T>(items: &'a [T], next_cursor: Option<&'a str>) -> List<'a, T> {
    List {
        schema_version: SCHEMA_VERSION,
        items,
        next_cursor,
    }
}

/// One thing over several lines.
pub(super) fn document<T: Serialize>(item: &T) -> String {
    pretty(&versioned(item))
}

/// One thing on one line.
pub(super) fn line<T: Serialize>(item: &T) -> String {
    serde_json::to_string(&versioned(item)).expect("the API's own types are JSON")
}

/// A list as one document.
pub(super) fn list<T: Serialize>(items: &[T], next_cursor: Option<&str>) -> String {
    pretty(&listed(items, next_cursor))
}

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("the API's own types are JSON")
}
