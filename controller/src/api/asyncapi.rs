//! The reference of the topics for people: an `AsyncAPI` document made from their types.

use std::sync::LazyLock;

use axum::Json;
use protocol::{
    event::Event,
    public::{Command, JobSummary, LogLine, OpenJobs, Roster, StatusMessage, WorkerSummary},
    topic::Topic,
};
use serde_json::{Map, Value, json};

use super::openapi::shape::{Answers, Shape, inline};

/// A topic and what it carries.
struct Channel {
    name: &'static str,
    topic: fn() -> Topic,
    shape: Shape,
    retained: bool,
    about: &'static str,
}

/// What agentd publishes.
const SENT: &[Channel] = &[
    Channel {
        name: "status",
        topic: || Topic::Status,
        shape: Shape::of::<StatusMessage>(),
        retained: true,
        about: "The controller at a glance; `offline` at an orderly stop",
    },
    Channel {
        name: "workers",
        topic: || Topic::Workers,
        shape: Shape::of::<Roster>(),
        retained: true,
        about: "The roster",
    },
    Channel {
        name: "worker",
        topic: || Topic::Worker("{name}".to_owned()),
        shape: Shape::of::<WorkerSummary>(),
        retained: true,
        about: "One worker; the first 50 have such a topic",
    },
    Channel {
        name: "open_jobs",
        topic: || Topic::JobsOpen,
        shape: Shape::of::<OpenJobs>(),
        retained: true,
        about: "The jobs that have not ended",
    },
    Channel {
        name: "jobs",
        topic: || Topic::Jobs,
        shape: Shape::of::<JobSummary>(),
        retained: false,
        about: "A job at each of its changes",
    },
    Channel {
        name: "log",
        topic: || Topic::Log,
        shape: Shape::of::<LogLine>(),
        retained: false,
        about: "Lines of live logs; lossy",
    },
    Channel {
        name: "events",
        topic: || Topic::Events,
        shape: Shape::of::<Event>(),
        retained: false,
        about: "Every event as it is committed; a gap of `seq` is filled by `GET /v1/events?after=`",
    },
];

/// What it listens to.
const TAKEN: Channel = Channel {
    name: "command",
    topic: || Topic::Command,
    shape: Shape::of::<Command>(),
    retained: false,
    about: "Approve, reject, cancel, pause, resume; needs a token with scope `run` or `approve`",
};

/// `GET /asyncapi.json`.
pub(super) async fn document() -> Json<&'static Value> {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    Json(&DOCUMENT)
}

/// The whole document.
pub fn build() -> Value {
    let mut types = Answers::new();
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for channel in SENT.iter().chain([&TAKEN]) {
        let is_taken = channel.name == TAKEN.name;
        let payload = if is_taken {
            inline(&channel.shape)
        } else {
            types.place(&channel.shape)
        };
        messages.insert(
            channel.name.to_owned(),
            json!({"summary": channel.about, "payload": payload}),
        );
        channels.insert(channel.name.to_owned(), described(channel));
        let name = if is_taken {
            "take_command".to_owned()
        } else {
            format!("publish_{}", channel.name)
        };
        let operation = json!({
            "action": if is_taken { "receive" } else { "send" },
            "channel": {"$ref": format!("#/channels/{}", channel.name)},
            "summary": channel.about,
            "bindings": {"mqtt": {"qos": i32::from(channel.name != "log"), "retain": channel.retained}},
        });
        operations.insert(name, operation);
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "agentd",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The topics for people and other programs. Times are RFC 3339 UTC, sizes bytes. The user name is free, the password an API token.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"agentd": {
            "host": "localhost:1883", "protocol": "mqtt", "protocolVersion": "3.1.1",
            "security": [{"$ref": "#/components/securitySchemes/token"}],
        }},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": types.take(),
            "securitySchemes": {"token": {"type": "userPassword"}},
        },
    })
}

fn described(channel: &Channel) -> Value {
    let reference = json!({"$ref": format!("#/components/messages/{}", channel.name)});
    let mut described = json!({
        "address": (channel.topic)().to_string(),
        "description": channel.about,
        "messages": {channel.name: reference},
    });
    if channel.name == "worker" {
        described["parameters"] = json!({"name": {"description": "Name of the worker"}});
    }
    described
}

#[cfg(test)]
mod tests {
    use protocol::topic::{PUBLIC_FILTERS, covers};

    use super::*;

    #[test]
    fn every_topic_for_people_is_described() {
        let document = build();
        let channels = document["channels"].as_object().expect("channels");
        let described: Vec<&str> = channels
            .values()
            .filter_map(|channel| channel["address"].as_str())
            .collect();
        for topic in Topic::samples() {
            let text = topic.to_string().replace("tower", "{name}");
            // Home Assistant's own topics are described by Home Assistant
            let ours = covers(PUBLIC_FILTERS[0], &text);
            assert_eq!(described.contains(&text.as_str()), ours, "{text}");
        }
    }
}
