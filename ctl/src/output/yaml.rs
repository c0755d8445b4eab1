//! The documents of `json`, written as YAML.

use serde::Serialize;

use super::json::{listed, versioned};

/// One thing.
pub(super) fn document<T: Serialize>(item: &T) -> String {
    write(&versioned(item))
}

/// A list as one document.
pub(super) fn list<T: Serialize>(items: &[T], next_cursor: Option<&str>) -> String {
    write(&listed(items, next_cursor))
}

fn write(value: &impl Serialize) -> String {
    // by way of JSON, so that both formats agree on every name and number
    let value = serde_json::to_value(value).expect("the API's own types are JSON");
    let text = serde_saphyr::to_string(&value).expect("JSON values are YAML");
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn yaml_says_what_json_says() {
        let items = [json!({"name": "a: b", "time": "2026-11-24T00:00:00Z", "none": null, "n": 1.5})];
        let text = super::list(&items, None);
        let back: serde_json::Value = serde_saphyr::from_str(&text).expect("our own YAML");
        let expected = json!({"schema_version": 1, "items": items, "next_cursor": null});
        assert_eq!(back, expected, "{text}");
    }
}
