//! What Anthropic and llama.cpp's server send.

use serde_json::json;

use super::*;
use crate::llm::{
    ChatMessage, Speaker,
    testing::{Play, ScriptedServer, answer, chat, chat_once, request, stream},
};

const KIND: ProviderKind = ProviderKind::Anthropic;

/// A stream of these events.
fn events(events: &[Value]) -> Vec<Play> {
    stream(events.iter().map(|event| {
        let name = event["type"].as_str().unwrap();
        format!("event: {name}\ndata: {event}\n\n")
    }))
}

fn ends_with(reason: &str) -> Vec<Play> {
    events(&[
        json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "ok"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ])
}

#[tokio::test]
async fn the_request_carries_version_key_limit_and_cache_mark() {
    let server = ScriptedServer::start(vec![ends_with("end_turn")]).await;
    let mut asked = request();
    for (speaker, text) in [(Speaker::Assistant, " \n"), (Speaker::User, "again")] {
        let text = text.into();
        asked.messages.push(ChatMessage { speaker, text });
    }
    chat(&server.provider(KIND), &asked).await.0.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /v1/messages");
    assert!(seen.head.contains("anthropic-version: 2023-06-01"));
    assert!(seen.head.contains("x-api-key: sk-very-secret"));
    assert_eq!(
        seen.body,
        json!({
            "model": "coder",
            "max_tokens": 64,
            "stream": true,
            "messages": [
                {"role": "user", "content": "say hello"},
                {"role": "user", "content": "again"},
            ],
            "system": [{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        })
    );
}

#[tokio::test]
async fn a_schema_is_asked_for_until_it_is_refused() {
    let refusal = answer(
        "400 Bad Request",
        "",
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"output_config: Extra inputs are not permitted"}}"#,
    );
    let server = ScriptedServer::start(vec![refusal, ends_with("end_turn"), ends_with("end_turn")]).await;
    let provider = server.provider(KIND);
    let mut asked = request();
    asked.schema = Some(("plan".into(), json!({"type": "object"})));
    chat(&provider, &asked).await.0.unwrap();
    chat(&provider, &asked).await.0.unwrap();
    let seen = server.seen();
    assert_eq!(
        seen[0].body["output_config"],
        json!({"format": {"type": "json_schema", "schema": {"type": "object"}}})
    );
    assert!(seen[1].body.get("output_config").is_none());
    assert!(seen[2].body.get("output_config").is_none());
}

#[tokio::test]
async fn stop_reasons_have_their_meaning() {
    for (reason, finish) in [
        ("end_turn", Finish::Stop),
        ("stop_sequence", Finish::Stop),
        ("max_tokens", Finish::Length),
        ("model_context_window_exceeded", Finish::Length),
        ("refusal", Finish::Refusal),
    ] {
        assert_eq!(
            chat_once(KIND, ends_with(reason)).await.unwrap().finish,
            finish,
            "{reason}"
        );
    }
}

#[tokio::test]
async fn cached_tokens_are_told_apart() {
    let reply = chat_once(
        KIND,
        events(&[
            json!({"type": "message_start", "message": {"usage": {
                "input_tokens": 10, "cache_creation_input_tokens": 5,
                "cache_read_input_tokens": 80, "output_tokens": 1,
            }}}),
            json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "ok"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}),
            json!({"type": "message_stop"}),
        ]),
    )
    .await
    .unwrap();
    assert_eq!(
        (
            reply.tokens.input,
            reply.tokens.cached,
            reply.tokens.output,
            reply.tokens.estimated
        ),
        (15, 80, 7, false)
    );
}

#[tokio::test]
async fn errors_in_the_middle_keep_their_class() {
    for (kind, rate_limited) in [
        ("overloaded_error", false),
        ("rate_limit_error", true),
        ("api_error", false),
    ] {
        let error = chat_once(
            KIND,
            events(&[
                json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "ok"}}),
                json!({"type": "error", "error": {"type": kind, "message": "trouble"}}),
            ]),
        )
        .await
        .unwrap_err();
        assert!(
            matches!(error, LlmError::Retry { rate_limited: limited, .. } if limited == rate_limited),
            "{kind}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_message_without_a_stream_is_understood() {
    let whole = json!({
        "type": "message",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ok"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    });
    let reply = chat_once(KIND, answer("200 OK", "", &whole.to_string()))
        .await
        .unwrap();
    assert_eq!((reply.text.as_str(), reply.reasoning.as_str()), ("ok", "hm"));
    assert_eq!(reply.finish, Finish::Length);
}

#[tokio::test]
async fn models_are_listed_and_an_address_with_v1_works_too() {
    let list = json!({"data": [{"type": "model", "id": "claude-x", "max_input_tokens": 200_000}]});
    let server = ScriptedServer::start(vec![answer("200 OK", "", &list.to_string())]).await;
    let provider = crate::llm::testing::provider_at(KIND, &format!("{}/v1/", server.url));
    let models = provider.models().await.unwrap();
    assert_eq!(server.seen()[0].line, "GET /v1/models?limit=1000");
    assert_eq!(
        (models[0].model.as_str(), models[0].window),
        ("claude-x", Some(200_000))
    );
}
