//! The format of workflows as a JSON Schema, for editors. Which keys there are comes
//! from the lists that the loader itself goes by; this file only says what may stand
//! behind each.

use protocol::step::ErrorClass;
use serde_json::{Map, Value, json};

use super::{
    API, BUDGET_KEYS, CONCURRENCY_KEYS, DEFAULTS_KEYS, KEYS, ON_CONFLICT, ON_EXCEED, approval, command,
    inputs, outputs, policy, rounds, secrets, step,
};

/// The whole schema, in draft 7, which editors know.
pub fn schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A workflow of agentd",
        "type": "object",
        "required": ["name", "steps"],
        "additionalProperties": false,
        "properties": properties(KEYS, of_workflow),
        "definitions": {
            "name": {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,39}$"},
            "duration": {"type": "string", "examples": ["90s", "10m", "2h"]},
            "plain": {"type": ["string", "integer", "boolean"]},
            "texts": {"type": "array", "items": {"type": "string"}},
            "words": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "labels": {"type": "object", "additionalProperties": definition("plain")},
            "retry": map(policy::RETRY_KEYS, of_retry, &[]),
            "input": map(inputs::KEYS, of_input, &[]),
            "output": output(),
            "steps": named(&definition("step"), 1),
            "step": a_step(),
        },
    })
}

fn definition(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// A definition with its own description: draft 7 ignores what stands beside a `$ref`.
fn described(name: &str, description: &str) -> Value {
    json!({"description": description, "allOf": [definition(name)]})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn one_of<T>(words: &[(&str, T)], description: &str) -> Value {
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    json!({"enum": words, "description": description})
}

fn properties(keys: &[&str], of: fn(&str) -> Value) -> Value {
    let properties = keys.iter().map(|key| ((*key).to_owned(), of(key)));
    Value::Object(properties.collect::<Map<_, _>>())
}

fn map(keys: &[&str], of: fn(&str) -> Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties(keys, of),
    })
}

/// A map from names of the writer's choice.
fn named(value: &Value, least: usize) -> Value {
    json!({
        "type": "object",
        "propertyNames": definition("name"),
        "additionalProperties": value,
        "minProperties": least,
    })
}

/// What a key that this file does not know yet may hold; a test keeps it from being used.
fn anything() -> Value {
    json!({})
}

fn of_workflow(key: &str) -> Value {
    match key {
        "api" => json!({"const": API}),
        "name" => described("name", "what `agentctl run` calls it"),
        "description" => text("one sentence for people"),
        "inputs" => named(&definition("input"), 0),
        "timeout" => described("duration", "the whole job's limit"),
        "priority" => json!({
            "type": "integer", "minimum": -100, "maximum": 100, "description": "higher goes first",
        }),
        "budget" => map(BUDGET_KEYS, of_budget, &[]),
        "concurrency" => map(CONCURRENCY_KEYS, of_concurrency, &["group"]),
        "defaults" => map(DEFAULTS_KEYS, of_step, &[]),
        "steps" => definition("steps"),
        "finally" => described("steps", "steps that run once when all others have ended"),
        _ => anything(),
    }
}

fn of_budget(key: &str) -> Value {
    match key {
        "usd" => json!({"type": "number", "exclusiveMinimum": 0}),
        "tokens" => json!({"type": ["integer", "string"], "examples": ["600k", "2M"]}),
        "on_exceed" => one_of(&ON_EXCEED, "what a job does that has spent it"),
        _ => anything(),
    }
}

fn of_concurrency(key: &str) -> Value {
    match key {
        "group" => text("a template that names the group"),
        "max" => json!({"type": "integer", "minimum": 1, "maximum": 1000}),
        "on_conflict" => one_of(&ON_CONFLICT, "what a job does that finds its group full"),
        _ => anything(),
    }
}

fn of_retry(key: &str) -> Value {
    match key {
        "max" => json!({"type": "integer", "minimum": 0, "maximum": 20}),
        "on" => {
            let classes: Vec<&str> = policy::retry_classes().map(ErrorClass::as_str).collect();
            json!({"type": "array", "items": {"enum": classes}})
        }
        "backoff" => json!({"type": "string", "examples": ["5s", "2s..5m"]}),
        _ => anything(),
    }
}

fn of_input(key: &str) -> Value {
    match key {
        "type" => one_of(&inputs::WORDS, "what it is; an `enum` needs no type"),
        "required" => json!({"type": "boolean"}),
        "default" => json!({"description": "what it is if it is not given"}),
        "description" => text("one line for people"),
        "max" => json!({"type": ["integer", "string"], "description": "of text: bytes, such as 64KiB"}),
        "min" => json!({"type": "integer"}),
        "enum" => definition("words"),
        _ => anything(),
    }
}

fn output() -> Value {
    let simple = outputs::SIMPLE.iter().map(|(word, _)| *word);
    let words: Vec<&str> = simple.chain(outputs::DOCUMENTS).collect();
    json!({"anyOf": [
        {"enum": words},
        {"type": "array", "items": definition("output"), "minItems": 1, "maxItems": 1},
        map(outputs::KEYS, of_output, &[]),
    ]})
}

fn of_output(key: &str) -> Value {
    match key {
        "enum" => definition("words"),
        "junit" => text("the file of a report that the command leaves"),
        _ => anything(),
    }
}

fn a_step() -> Value {
    let kinds: Vec<Value> = step::KINDS
        .iter()
        .map(|kind| json!({"required": [kind]}))
        .collect();
    let mut step = map(&step::keys(), of_step, &[]);
    step["oneOf"] = kinds.into();
    step
}

fn of_step(key: &str) -> Value {
    match key {
        "agent" => text("a role: architect, codegen, review or one of yours"),
        "run" => json!({
            "description": "a list of arguments, an expression that gives one, or a script with `shell`",
            "anyOf": [{"type": "string"}, {"type": "array", "items": definition("plain")}],
        }),
        "use" => one_of(&step::TOOLS, "a step of agentd's own"),
        "approval" => map(approval::KEYS, of_approval, &[]),
        "steps" => definition("steps"),
        "needs" => described("texts", "steps of the same block that come first"),
        "if" => described(
            "plain",
            "an expression, or always(); otherwise it runs when all that it needs succeeded",
        ),
        "allow_failure" => json!({"type": "boolean"}),
        "requires" => described("labels", "what a worker must have"),
        "place" => map(policy::PLACE_KEYS, of_place, &["not_with"]),
        "timeout" => described("duration", "the limit of one attempt"),
        "retry" => definition("retry"),
        "effect" => one_of(&policy::EFFECT, "that it acts on the world outside"),
        "sandbox" => one_of(&policy::SANDBOX, "the least level of protection that it accepts"),
        "network" => described(
            "texts",
            "hosts that its commands may reach; `packages` for package sources",
        ),
        "on_lost" => one_of(&policy::ON_LOST, "what becomes of it when its worker is lost"),
        "model" => text("a name from `models` of the configuration"),
        "outputs" => json!({"type": "object", "additionalProperties": definition("output")}),
        "with" => json!({"type": "object", "description": "what it is given, by templates"}),
        "shell" => one_of(&command::SHELLS, "what runs the script"),
        "env" => json!({"type": "object", "additionalProperties": definition("plain")}),
        "writes" => json!({"type": "boolean", "description": "whether its changes of files are kept"}),
        "secrets" => json!({"type": "array", "items": {"anyOf": [
            {"type": "string", "pattern": "^[A-Z][A-Z0-9_]{0,63}$"},
            map(secrets::KEYS, of_secret, &["name"]),
        ]}}),
        "allow_trifecta" => text("why it may have untrusted input, secrets and open network together"),
        "loop" => map(rounds::KEYS, of_loop, &["max", "until"]),
        _ => anything(),
    }
}

fn of_approval(key: &str) -> Value {
    match key {
        "timeout" => described("duration", "how long a person has"),
        "on_timeout" => one_of(&approval::ON_TIMEOUT, "what silence means"),
        "show" => described("texts", "earlier steps whose results the decision is about"),
        _ => anything(),
    }
}

fn of_secret(key: &str) -> Value {
    match key {
        "name" => text("as `agentctl secrets` lists it"),
        "as" => one_of(
            &secrets::FORMS,
            "in the variable of its name, or in a file that `<NAME>_FILE` names",
        ),
        _ => anything(),
    }
}

fn of_place(key: &str) -> Value {
    match key {
        "not_with" => described("texts", "steps whose worker must be another one"),
        _ => anything(),
    }
}

fn of_loop(key: &str) -> Value {
    match key {
        "as" => described("name", "what expressions call the round"),
        "max" => json!({
            "description": "most rounds: a number or an expression",
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": 50}, {"type": "string"}],
        }),
        "until" => described("plain", "an expression that ends it"),
        "on_exhausted" => one_of(&rounds::ON_EXHAUSTED, "what becomes of it after the last round"),
        _ => anything(),
    }
}

#[cfg(test)]
mod tests;
