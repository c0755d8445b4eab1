//! What Ollama sends, and what older versions do to a long prompt.

use serde_json::json;

use super::*;
use crate::llm::testing::{Play, ScriptedServer, answer, chat, chat_once, request, stream};

const KIND: ProviderKind = ProviderKind::Ollama;

fn done(counted: u64) -> Vec<Play> {
    let line = json!({
        "message": {"role": "assistant", "content": "ok"},
        "done": true,
        "done_reason": "stop",
        "prompt_eval_count": counted,
        "eval_count": 1,
    });
    stream([format!("{line}\n")])
}

#[tokio::test]
async fn the_request_carries_the_window_and_forbids_cutting() {
    let server = ScriptedServer::start(vec![done(9), done(9)]).await;
    let provider = server.provider(KIND);
    chat(&provider, &request()).await.0.unwrap();
    let mut asked = request();
    asked.schema = Some(("plan".into(), json!({"type": "object"})));
    chat(&provider, &asked).await.0.unwrap();
    let seen = server.seen();
    assert_eq!(seen[0].line, "POST /api/chat");
    assert_eq!(
        seen[0].body,
        json!({
            "model": "coder",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "say hello"},
            ],
            "stream": true,
            "think": true,
            "truncate": false,
            "shift": false,
            "keep_alive": "15m",
            "options": {"num_ctx": 8192, "num_predict": 64},
        })
    );
    assert_eq!(seen[1].body["format"], json!({"type": "object"}));
    assert_eq!(seen[1].body["think"], false);
}

#[tokio::test]
async fn a_model_that_cannot_think_is_remembered() {
    let refusal = answer(
        "400 Bad Request",
        "",
        r#"{"error":"\"coder\" does not support thinking"}"#,
    );
    let server = ScriptedServer::start(vec![refusal, done(9), done(9)]).await;
    let provider = server.provider(KIND);
    chat(&provider, &request()).await.0.unwrap();
    chat(&provider, &request()).await.0.unwrap();
    let think: Vec<_> = server
        .seen()
        .iter()
        .map(|seen| seen.body["think"].clone())
        .collect();
    assert_eq!(think, [true, false, false]);
}

#[tokio::test]
async fn a_full_queue_means_later() {
    let busy = r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#;
    let error = chat_once(KIND, answer("503 Service Unavailable", "", busy))
        .await
        .unwrap_err();
    assert!(matches!(error, LlmError::Retry { .. }), "{error:?}");
    assert!(error.to_string().contains("server busy"));
}

#[tokio::test]
async fn a_cut_prompt_fails_with_both_numbers() {
    let mut asked = request();
    asked.window = 4096;
    asked.system = "word ".repeat(2000);
    // An estimate of 3336 tokens: half of it was not read.
    for counted in [1600, 4096, 4100] {
        let server = ScriptedServer::start(vec![done(counted)]).await;
        let error = chat(&server.provider(KIND), &asked).await.0.unwrap_err();
        let text = error.to_string();
        assert!(
            matches!(error, LlmError::TooLong { window: 4096, .. }),
            "{error:?}"
        );
        assert!(
            text.contains(&counted.to_string()) && text.contains("4096"),
            "{text}"
        );
    }
    for counted in [1700, 3900] {
        let server = ScriptedServer::start(vec![done(counted)]).await;
        chat(&server.provider(KIND), &asked).await.0.unwrap();
    }
    let long = r#"{"error":"the input length exceeds the context length"}"#;
    let server = ScriptedServer::start(vec![answer("400 Bad Request", "", long)]).await;
    let error = chat(&server.provider(KIND), &asked).await.0.unwrap_err();
    assert!(
        matches!(
            error,
            LlmError::TooLong {
                prompt: 3337,
                window: 4096,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_short_prompt_and_a_missing_count_accuse_nobody() {
    chat_once(KIND, done(2)).await.unwrap();
    let uncounted = "{\"message\":{\"content\":\"ok\"},\"done\":true,\"done_reason\":\"length\"}";
    let reply = chat_once(KIND, stream([uncounted])).await.unwrap();
    assert_eq!(reply.finish, Finish::Length);
    assert!(reply.tokens.estimated);
}

#[tokio::test]
async fn models_say_which_are_loaded_and_with_what_window() {
    let tags = json!({"models": [{"name": "a:7b", "model": "a:7b"}, {"model": "b:1b"}]});
    let ps = json!({"models": [{"name": "a:7b", "context_length": 32768}]});
    let server = ScriptedServer::start(vec![
        answer("200 OK", "", &tags.to_string()),
        answer("200 OK", "", &ps.to_string()),
    ])
    .await;
    let models = server.provider(KIND).models().await.unwrap();
    let lines: Vec<_> = server.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, ["GET /api/tags", "GET /api/ps"]);
    assert_eq!((models[0].loaded, models[0].window), (true, Some(32768)));
    assert_eq!(
        (models[1].model.as_str(), models[1].loaded, models[1].window),
        ("b:1b", false, None)
    );
}

#[tokio::test]
async fn without_ps_the_models_are_still_there() {
    let tags = json!({"models": [{"name": "a:7b"}]});
    let server = ScriptedServer::start(vec![
        answer("200 OK", "", &tags.to_string()),
        answer("404 Not Found", "", ""),
    ])
    .await;
    let models = server.provider(KIND).models().await.unwrap();
    assert_eq!((models.len(), models[0].loaded), (1, false));
}
