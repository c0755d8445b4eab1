//! What OpenAI-compatible servers really send and refuse.

use serde_json::json;

use super::*;
use crate::llm::{
    Finish,
    testing::{Play, ScriptedServer, answer, chat, chat_once, chunk, end, head, request, stream},
};

const KIND: ProviderKind = ProviderKind::Openai;

async fn said(events: &[&str]) -> Result<ChatReply, LlmError> {
    chat_once(KIND, stream(events)).await
}

fn refusal(message: &str) -> Vec<Play> {
    answer(
        "400 Bad Request",
        "",
        &json!({"error": {"message": message}}).to_string(),
    )
}

fn hello() -> Vec<Play> {
    stream([
        "data: {\"choices\":[{\"delta\":{\"content\":\"{}\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ])
}

#[tokio::test]
async fn the_request_carries_everything() {
    let server = ScriptedServer::start(vec![hello()]).await;
    let mut asked = request();
    asked.schema = Some(("plan".into(), json!({"type": "object"})));
    chat(&server.provider(KIND), &asked).await.0.unwrap();
    let seen = &server.seen()[0];
    assert_eq!(seen.line, "POST /v1/chat/completions");
    assert!(seen.head.contains("authorization: bearer sk-very-secret"));
    assert_eq!(
        seen.body,
        json!({
            "model": "coder",
            "stream": true,
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "say hello"},
            ],
            "stream_options": {"include_usage": true},
            "max_tokens": 64,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "plan", "strict": true, "schema": {"type": "object"}},
            },
        })
    );
}

#[tokio::test]
async fn empty_null_and_missing_choices_are_passed_over() {
    let reply = said(&[
        "data: {\"choices\":[]}\n\n",
        "data: {\"choices\":null}\n\n",
        "data: {\"id\":\"x\"}\n\n",
        "data: {\"choices\":[{\"delta\":null}]}\n\n",
        "data: {\"choices\":[{}]}\n\n",
        "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}},{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"\"}]}\n\n",
        "data: [DONE]\n\n",
    ])
    .await
    .unwrap();
    assert_eq!(reply.text, "ab");
    assert_eq!(reply.finish, Finish::Stop);
    assert!(reply.tokens.estimated, "nobody counted");
    assert_eq!(reply.tokens.input, 6, "17 bytes / 3");
}

#[tokio::test]
async fn a_finish_reason_on_every_chunk_and_no_end_mark_are_fine() {
    let reply = said(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"c\"},\"finish_reason\":\"length\"}]}\n\n",
    ])
    .await
    .unwrap();
    assert_eq!((reply.text.as_str(), reply.finish), ("abc", Finish::Length));
}

#[tokio::test]
async fn with_a_reason_on_every_chunk_a_broken_connection_is_still_noticed() {
    let script = vec![
        head(),
        chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"),
    ];
    let error = chat_once(KIND, script).await.unwrap_err();
    assert!(matches!(error, LlmError::Retry { .. }), "{error:?}");
}

#[tokio::test]
async fn after_the_last_chunk_a_silent_or_broken_connection_harms_nothing() {
    let last = || {
        vec![
            head(),
            chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"),
            chunk("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"),
        ]
    };
    assert_eq!(chat_once(KIND, last()).await.unwrap().text, "a");
    let mut silent = last();
    silent.push(Play::Hang);
    let server = ScriptedServer::start(vec![silent]).await;
    let mut asked = request();
    asked.limits.between = std::time::Duration::from_millis(700);
    let reply = chat(&server.provider(KIND), &asked).await.0.unwrap();
    assert_eq!(reply.text, "a");
}

#[tokio::test]
async fn usage_may_come_with_the_choices_and_knows_the_cache() {
    let reply = said(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":80}}}\n\n",
        "data: [DONE]\n\n",
    ])
    .await
    .unwrap();
    assert_eq!(
        (
            reply.tokens.input,
            reply.tokens.cached,
            reply.tokens.output,
            reply.tokens.estimated
        ),
        (20, 80, 1, false)
    );
}

#[tokio::test]
async fn single_line_ends_are_enough() {
    let reply = said(&[
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\ndata: [DONE]\n",
    ])
    .await
    .unwrap();
    assert_eq!(reply.text, "ab");
}

#[tokio::test]
async fn thinking_is_told_apart_but_tags_in_the_text_stay() {
    let reply = said(&[
        "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm, \",\"reasoning_content\":\"hm, \"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"reasoning\":\"so\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\".\"}]},{\"type\":\"text\",\"text\":\"<think>x</think>\"}]}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ])
    .await
    .unwrap();
    assert_eq!(reply.reasoning, "hm, so.");
    assert_eq!(reply.text, "<think>x</think>a");
}

#[tokio::test]
async fn a_refusal_is_told() {
    let reply = said(&[
        "data: {\"choices\":[{\"delta\":{\"refusal\":\"I will not\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ])
    .await
    .unwrap();
    assert_eq!(
        (reply.text.as_str(), reply.finish),
        ("I will not", Finish::Refusal)
    );
}

#[tokio::test]
async fn a_server_that_does_not_stream_is_understood() {
    let whole = "{\n \"choices\": [{\"index\": 0, \"message\": {\"content\": \"a\"}, \"finish_reason\": \"length\"}],\n \"usage\": {\"prompt_tokens\": 5, \"completion_tokens\": 2}\n}";
    let reply = chat_once(
        KIND,
        answer("200 OK", "content-type: application/json\r\n", whole),
    )
    .await
    .unwrap();
    assert_eq!((reply.text.as_str(), reply.finish), ("a", Finish::Length));
    assert_eq!((reply.tokens.input, reply.tokens.output), (5, 2));
}

#[tokio::test]
async fn broken_json_and_error_lines_are_errors() {
    let error = said(&["data: {\"choices\":[{\"delta\":\n\n"]).await.unwrap_err();
    assert!(error.to_string().contains("unreadable"), "{error}");
    let error =
        said(&["error: {\"code\":500,\"message\":\"the slot is gone\",\"type\":\"server_error\"}\n\n"])
            .await
            .unwrap_err();
    assert!(matches!(error, LlmError::Retry { .. }), "{error:?}");
    assert!(error.to_string().contains("the slot is gone"));
}

#[tokio::test]
async fn refused_fields_are_dropped_one_by_one_and_remembered() {
    let server = ScriptedServer::start(vec![
        refusal("Invalid schema for response_format 'plan'"),
        refusal("response_format type json_schema is unavailable"),
        refusal("Unrecognized request argument: stream_options"),
        refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
        hello(),
        hello(),
    ])
    .await;
    let provider = server.provider(KIND);
    let mut asked = request();
    asked.schema = Some(("plan".into(), json!({"type": "object"})));
    chat(&provider, &asked).await.0.unwrap();
    chat(&provider, &asked).await.0.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 6, "the second call knows");
    for seen in &seen[4..] {
        assert_eq!(seen.body["response_format"], json!({"type": "json_object"}));
        assert!(seen.body.get("stream_options").is_none());
        assert!(seen.body.get("max_tokens").is_none());
        assert_eq!(seen.body["max_completion_tokens"], 64);
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_gets_the_bare_request_and_then_the_error() {
    let all = "response_format, stream_options, max_tokens and max_completion_tokens are unknown";
    let server = ScriptedServer::start(vec![refusal(all); 10]).await;
    let mut asked = request();
    asked.schema = Some(("plan".into(), json!({"type": "object"})));
    let error = chat(&server.provider(KIND), &asked).await.0.unwrap_err();
    assert!(matches!(error, LlmError::BadRequest(_)), "{error:?}");
    let bodies = server.seen();
    let last = bodies.last().unwrap().body.as_object().unwrap().clone();
    assert_eq!(last.keys().collect::<Vec<_>>(), ["model", "stream", "messages"]);
}

#[tokio::test]
async fn a_refusal_for_another_reason_is_final() {
    for message in [
        "the model does not exist",
        "max_tokens is too large: 64. This model supports at most 32 completion tokens",
    ] {
        let server = ScriptedServer::start(vec![refusal(message)]).await;
        let error = chat(&server.provider(KIND), &request()).await.0.unwrap_err();
        assert!(matches!(error, LlmError::BadRequest(_)), "{error:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn models_are_listed_with_what_the_server_says() {
    let list = json!({"data": [
        {"id": "cloud-1"},
        {"id": "q.gguf", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}},
        {"id": "v", "owned_by": "vllm", "max_model_len": 32768},
        {"name": "no id"},
    ]});
    let server = ScriptedServer::start(vec![answer("200 OK", "", &list.to_string())]).await;
    let models = server.provider(KIND).models().await.unwrap();
    assert_eq!(server.seen()[0].line, "GET /v1/models");
    let short: Vec<_> = models
        .iter()
        .map(|model| (model.model.as_str(), model.loaded, model.window))
        .collect();
    assert_eq!(
        short,
        [
            ("cloud-1", false, None),
            ("q.gguf", true, Some(4096)),
            ("v", true, Some(32768))
        ]
    );
    assert_eq!(models[0].provider, "lab");
}

#[tokio::test]
async fn a_comment_while_loading_extends_the_first_wait_and_ends_nothing() {
    let server = ScriptedServer::start(vec![vec![
        head(),
        chunk(": still loading\n\n"),
        chunk("data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n"),
        chunk("data: [DONE]\n\n"),
        end(),
    ]])
    .await;
    let (reply, deltas) = chat(&server.provider(KIND), &request()).await;
    assert_eq!(reply.unwrap().text, "a");
    assert_eq!(deltas.len(), 1);
}
