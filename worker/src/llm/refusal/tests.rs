//! Error bodies of real servers and what they mean.

use super::*;

fn meaning(status: u16, body: &str) -> Meaning {
    Refusal::of_body(status, None, body).meaning()
}

#[test]
fn every_status_has_its_class() {
    for status in [408, 409, 500, 502, 503, 504, 529] {
        assert_eq!(
            meaning(status, "{}"),
            Meaning::Retry { rate_limited: false },
            "{status}"
        );
    }
    assert_eq!(meaning(429, "{}"), Meaning::Retry { rate_limited: true });
    assert_eq!(meaning(401, ""), Meaning::Auth);
    assert_eq!(meaning(403, ""), Meaning::Auth);
    assert_eq!(meaning(402, ""), Meaning::Quota);
    assert_eq!(meaning(413, ""), Meaning::TooLong);
    assert_eq!(
        meaning(404, r#"{"error":"model 'x' not found"}"#),
        Meaning::BadRequest
    );
}

#[test]
fn spent_quotas_are_told_from_busy_servers() {
    let openai = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    assert_eq!(meaning(429, openai), Meaning::Quota);
    let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#;
    assert_eq!(meaning(400, anthropic), Meaning::Quota);
    let long = Refusal::of_body(429, Some(Duration::from_secs(301)), "{}");
    assert_eq!(long.meaning(), Meaning::Quota);
    let short = Refusal::of_body(429, Some(Duration::from_secs(300)), "{}");
    assert_eq!(short.meaning(), Meaning::Retry { rate_limited: true });
}

#[test]
fn prompts_that_are_too_long_keep_the_servers_numbers() {
    for (status, body) in [
        (
            400,
            r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}"#,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9000 tokens > 8192 maximum"}}"#,
        ),
    ] {
        let error = Refusal::of_body(status, None, body).into_error("it", 1, 2);
        assert!(
            matches!(
                error,
                LlmError::TooLong {
                    prompt: 9000,
                    window: 8192,
                    ..
                }
            ),
            "{error:?}"
        );
    }
    let error = Refusal::of_body(
        400,
        None,
        r#"{"error":"the input length exceeds the context length"}"#,
    )
    .into_error("it", 5000, 4096);
    assert!(
        matches!(
            error,
            LlmError::TooLong {
                prompt: 5000,
                window: 4096,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn errors_inside_an_answer_go_by_their_words() {
    let of = |text: &str| Refusal::of_json(&serde_json::from_str(text).unwrap()).meaning();
    assert_eq!(
        of(r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        Meaning::Retry { rate_limited: false }
    );
    assert_eq!(
        of(r#"{"error":{"message":"slow down","type":"rate_limit_exceeded"}}"#),
        Meaning::Retry { rate_limited: true }
    );
    assert_eq!(
        of(r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#),
        Meaning::BadRequest
    );
    assert_eq!(of(r#"{"error":{"message":"key","code":401}}"#), Meaning::Auth);
    assert_eq!(
        of(r#"{"error":"llama runner process has terminated"}"#),
        Meaning::Retry { rate_limited: false }
    );
}

#[test]
fn words_are_found_in_every_shape() {
    for body in [
        r#"{"error":{"message":"no luck"}}"#,
        r#"{"error":"no luck"}"#,
        r#"{"detail":"no luck"}"#,
        r#"{"object":"error","message":"no luck"}"#,
        r#"[{"error":{"message":"no luck"}}]"#,
        "no\r\n luck\u{1b}\u{0}",
        "<html><head></head><body><h1>no luck</h1></body></html>",
    ] {
        assert_eq!(Refusal::of_body(500, None, body).message, "no luck", "{body}");
    }
    let list = r#"{"detail":[{"loc":["body","stream_options"],"msg":"extra fields not permitted"}]}"#;
    assert!(Refusal::of_body(422, None, list).mentions("stream_options"));
}

#[test]
fn what_is_shown_is_short_and_says_who() {
    let error = Refusal::of_body(500, None, &"é".repeat(5000)).into_error("provider \"a\"", 1, 2);
    let text = error.to_string();
    assert!(text.starts_with("provider \"a\" answered 500 Internal Server Error: éé"));
    assert!(text.chars().count() < 500);
    let bare = Refusal::of_body(529, None, "").into_error("it", 1, 2);
    assert_eq!(bare.to_string(), "it answered 529 Overloaded");
}
