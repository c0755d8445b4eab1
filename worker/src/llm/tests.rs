//! One suite for every provider: what a caller may rely on, whatever the dialect.

use std::time::{Duration, Instant};

use protocol::model::{ProviderDefinition, ProviderKind, Timeouts};
use tokio_util::sync::CancellationToken;

use super::{
    testing::{Play, ScriptedServer, answer, chat, chat_once, chunk, head, provider_at, request, stream},
    *,
};

/// How a dialect says "Hello, world!" (thinking first) with 11 + 4 tokens, piece by piece.
fn hello(kind: ProviderKind) -> Vec<&'static str> {
    match kind {
        ProviderKind::Openai => vec![
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":null},\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"},\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello, \"},\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"world!\"},\"finish_reason\":null}]}\n\n",
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":4,\"total_tokens\":15}}\n\n",
            "data: [DONE]\n\n",
        ],
        ProviderKind::Ollama => vec![
            "{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"hm\"},\"done\":false}\n",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"Hello, \"},\"done\":false}\n",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"world!\"},\"done\":false}\n",
            "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":11,\"eval_count\":4}\n",
        ],
        ProviderKind::Anthropic => vec![
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":11,\"output_tokens\":1}}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello, \"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"world!\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
        ProviderKind::Replay => vec![
            "{\"step\":\"plan\",\"call\":1,\"reply\":\"Hello, world!\",\"reasoning\":\"hm\",\"usage\":{\"input\":11,\"output\":4}}",
        ],
    }
}

/// The first words of an answer, without its end.
fn beginning(kind: ProviderKind) -> Vec<Play> {
    let pieces = hello(kind);
    let spoken = pieces.iter().position(|piece| piece.contains("Hello")).unwrap();
    let mut script = vec![head()];
    script.extend(pieces[..=spoken].iter().map(chunk));
    script
}

/// The dialects that speak HTTP.
fn over_http() -> impl Iterator<Item = ProviderKind> {
    let kinds = PROVIDERS.iter().map(|spec| spec.kind);
    kinds.filter(|kind| *kind != ProviderKind::Replay)
}

fn assert_hello(reply: &ChatReply, deltas: &[Delta]) {
    assert_eq!(reply.text, "Hello, world!");
    assert_eq!(reply.reasoning, "hm");
    assert_eq!(reply.finish, Finish::Stop);
    let expected = TokenCount {
        input: 11,
        cached: 0,
        output: 4,
        estimated: false,
    };
    assert_eq!(reply.tokens, expected);
    assert!(!reply.raw.is_empty());
    let mut streamed = String::new();
    for delta in deltas {
        match delta {
            Delta::Text(text) => streamed.push_str(text),
            Delta::Reasoning(text) => assert_eq!(text, "hm"),
        }
    }
    assert_eq!(streamed, reply.text);
    assert!(deltas.len() >= 3, "{deltas:?}");
}

#[test]
fn every_kind_is_registered_once() {
    use ProviderKind::{Anthropic, Ollama, Openai, Replay};
    let kinds: Vec<ProviderKind> = PROVIDERS.iter().map(|spec| spec.kind).collect();
    assert_eq!(kinds, [Openai, Ollama, Anthropic, Replay]);
}

#[tokio::test]
async fn every_provider_streams_and_reports_usage() {
    for spec in PROVIDERS {
        let (reply, deltas) = if spec.kind == ProviderKind::Replay {
            let recording = hello(spec.kind).concat().into_bytes();
            let definition = ProviderDefinition {
                name: "lab".into(),
                kind: spec.kind,
                base_url: String::new(),
                api_key: None,
                recording: None,
                timeouts: Timeouts::default(),
            };
            let provider = connect(&definition, &http_client().unwrap(), Some(recording)).unwrap();
            chat(&provider, &request()).await
        } else {
            let server = ScriptedServer::start(vec![stream(hello(spec.kind))]).await;
            chat(&server.provider(spec.kind), &request()).await
        };
        assert_hello(&reply.unwrap(), &deltas);
    }
}

#[tokio::test]
async fn an_answer_may_be_split_at_every_byte_or_come_at_once() {
    for kind in over_http() {
        let whole = hello(kind).concat();
        for size in [1, 7, whole.len()] {
            let pieces: Vec<&[u8]> = whole.as_bytes().chunks(size).collect();
            let server = ScriptedServer::start(vec![stream(pieces)]).await;
            let (reply, _) = chat(&server.provider(kind), &request()).await;
            assert_eq!(
                reply.unwrap().text,
                "Hello, world!",
                "{kind:?} in pieces of {size}"
            );
        }
    }
}

#[tokio::test]
async fn statuses_become_their_error_classes_and_name_the_provider() {
    use protocol::step::{ErrorClass, StepError};
    let long = r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens)","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}"#;
    for kind in over_http() {
        for (status, headers, body, class, after) in [
            ("401 Unauthorized", "", "{}", ErrorClass::Auth, None),
            ("403 Forbidden", "", "{}", ErrorClass::Auth, None),
            (
                "400 Bad Request",
                "",
                "{\"error\":\"no\"}",
                ErrorClass::BadRequest,
                None,
            ),
            ("400 Bad Request", "", long, ErrorClass::TooLong, None),
            (
                "404 Not Found",
                "",
                "{\"error\":\"no model\"}",
                ErrorClass::BadRequest,
                None,
            ),
            (
                "429 Too Many Requests",
                "retry-after: 7\r\n",
                "{}",
                ErrorClass::RateLimited,
                Some(7000),
            ),
            (
                "429 Too Many Requests",
                "retry-after: 3600\r\n",
                "{}",
                ErrorClass::Quota,
                Some(3_600_000),
            ),
            (
                "503 Service Unavailable",
                "retry-after-ms: 20\r\n",
                "{}",
                ErrorClass::Provider,
                Some(20),
            ),
            ("529 Overloaded", "", "{}", ErrorClass::Provider, None),
            (
                "500 Internal Server Error",
                "",
                "<h1>oops</h1>",
                ErrorClass::Provider,
                None,
            ),
        ] {
            let error = chat_once(kind, answer(status, headers, body)).await.unwrap_err();
            let error = StepError::from(error);
            assert_eq!(error.class, class, "{kind:?} {status}: {error}");
            assert_eq!(error.retry_after_ms, after, "{kind:?} {status}");
            if class == ErrorClass::TooLong {
                assert!(error.message.contains("9000") && error.message.contains("8192"));
            } else {
                assert!(error.message.contains("\"lab\"") && error.message.contains(&status[..3]));
            }
        }
    }
}

#[tokio::test]
async fn the_key_is_sent_but_never_shown() {
    for kind in over_http() {
        let echo = "{\"error\":{\"message\":\"Incorrect key sk-very-secret \\u001b[31mred\"}}";
        let server = ScriptedServer::start(vec![answer("401 Unauthorized", "", echo)]).await;
        let error = chat(&server.provider(kind), &request()).await.0.unwrap_err();
        assert!(server.seen()[0].head.contains("sk-very-secret"));
        let shown = format!("{error} {error:?}");
        assert!(
            shown.contains("Incorrect key •••") && !shown.contains("secret"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'));
    }
}

#[tokio::test]
async fn an_error_with_status_200_and_one_in_the_middle_are_errors() {
    for kind in over_http() {
        let whole = "{\"error\": {\"message\": \"the engine is dead\"}}";
        let error = chat_once(kind, answer("200 OK", "", whole)).await.unwrap_err();
        assert!(
            error.to_string().contains("the engine is dead"),
            "{kind:?}: {error}"
        );

        let mut script = beginning(kind);
        script.push(chunk(match kind {
            ProviderKind::Ollama => "{\"error\":\"the engine is dead\"}\n",
            _ => "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"the engine is dead\"}}\n\n",
        }));
        script.push(testing::end());
        let error = chat_once(kind, script).await.unwrap_err();
        assert!(matches!(error, LlmError::Retry { .. }), "{kind:?}: {error:?}");
        assert!(
            error.to_string().contains("the engine is dead"),
            "{kind:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_broken_connection_or_an_early_end_is_no_answer() {
    for kind in over_http() {
        let error = chat_once(kind, beginning(kind)).await.unwrap_err();
        assert!(matches!(error, LlmError::Retry { .. }), "{kind:?}: {error:?}");
        let mut script = beginning(kind);
        script.push(testing::end());
        let error = chat_once(kind, script).await.unwrap_err();
        assert!(matches!(error, LlmError::Retry { .. }), "{kind:?}: {error:?}");
        let error = chat_once(kind, vec![]).await.unwrap_err();
        assert!(matches!(error, LlmError::Retry { .. }), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_said_with_the_address() {
    for kind in over_http() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = chat(&provider_at(kind, &url), &request()).await.0.unwrap_err();
        let text = error.to_string();
        assert!(matches!(
            error,
            LlmError::Retry {
                rate_limited: false,
                ..
            }
        ));
        assert!(text.contains("not reachable") && text.contains(&url), "{text}");
    }
}

#[tokio::test]
async fn the_first_byte_and_the_time_between_pieces_have_their_own_limits() {
    let short = Duration::from_millis(150);
    for kind in over_http() {
        let mut asked = request();
        asked.limits.first_byte = short;
        for script in [vec![Play::Hang], vec![head(), Play::Hang]] {
            let mut server = ScriptedServer::start(vec![script]).await;
            let error = chat(&server.provider(kind), &asked).await.0.unwrap_err();
            assert!(error.to_string().contains("did not begin"), "{kind:?}: {error}");
            assert!(matches!(error, LlmError::Retry { .. }));
            server.client_hung_up().await;
        }

        let mut asked = request();
        asked.limits.between = short;
        let mut script = beginning(kind);
        script.push(Play::Hang);
        let mut server = ScriptedServer::start(vec![script]).await;
        let error = chat(&server.provider(kind), &asked).await.0.unwrap_err();
        assert!(error.to_string().contains("was silent"), "{kind:?}: {error}");
        assert!(matches!(error, LlmError::Retry { .. }));
        server.client_hung_up().await;
    }
}

#[tokio::test]
async fn an_answer_that_never_ends_is_cut_by_time_and_by_size() {
    for kind in over_http() {
        let pieces = hello(kind);
        let spoken = pieces.iter().find(|piece| piece.contains("Hello")).unwrap();
        let longer = spoken.replace("Hello, ", &"again ".repeat(20_000));
        let Play::Bytes(again) = chunk(longer) else {
            unreachable!()
        };
        let mut server = ScriptedServer::start(vec![vec![head(), Play::Forever(again)]]).await;
        let error = chat(&server.provider(kind), &request()).await.0.unwrap_err();
        assert!(matches!(error, LlmError::Endless(_)), "{kind:?}: {error:?}");
        assert!(error.to_string().contains("4 MiB"), "{error}");
        server.client_hung_up().await;

        let mut asked = request();
        asked.limits.total = Duration::from_millis(150);
        let mut script = beginning(kind);
        script.push(Play::Hang);
        let error = {
            let server = ScriptedServer::start(vec![script]).await;
            chat(&server.provider(kind), &asked).await.0.unwrap_err()
        };
        assert!(matches!(error, LlmError::Endless(_)), "{kind:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_stop_closes_the_connection_at_once() {
    for kind in over_http() {
        let mut script = beginning(kind);
        script.push(Play::Hang);
        let mut server = ScriptedServer::start(vec![script]).await;
        let provider = server.provider(kind);
        let stop = CancellationToken::new();
        let asked = request();
        // The first words are the signal to stop.
        let on_delta = |_: &Delta| stop.cancel();
        let began = Instant::now();
        let error = provider.chat(&asked, &on_delta, &stop).await.unwrap_err();
        assert!(matches!(error, LlmError::Stopped), "{kind:?}: {error:?}");
        server.client_hung_up().await;
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}

#[tokio::test]
async fn redirects_to_another_host_are_not_followed() {
    for kind in over_http() {
        let elsewhere = "location: http://127.0.0.2:9/steal\r\n";
        let error = chat_once(kind, answer("307 Temporary Redirect", elsewhere, ""))
            .await
            .unwrap_err();
        assert!(matches!(error, LlmError::BadRequest(_)), "{error:?}");
        assert!(error.to_string().contains("http://127.0.0.2:9/steal"));
    }
}

#[tokio::test]
async fn redirects_within_the_host_are_followed() {
    for kind in over_http() {
        let moved = answer("307 Temporary Redirect", "location: /moved\r\n", "");
        let server = ScriptedServer::start(vec![moved, stream(hello(kind))]).await;
        let (reply, deltas) = chat(&server.provider(kind), &request()).await;
        assert_hello(&reply.unwrap(), &deltas);
        assert_eq!(server.seen()[1].line, "POST /moved");
        assert_eq!(server.seen()[1].body, server.seen()[0].body);
    }
}

#[test]
fn addresses_that_cannot_work_are_refused_with_the_way_out() {
    for kind in over_http() {
        for (base_url, word) in [
            ("gpu-box:11434", "http://host"),
            ("", "http://host"),
            ("ftp://box", "http://host"),
            ("http://me:pw@box", "api_key"),
        ] {
            let definition = ProviderDefinition {
                name: "lab".into(),
                kind,
                base_url: base_url.into(),
                api_key: None,
                recording: None,
                timeouts: Timeouts::default(),
            };
            let error = connect(&definition, &http_client().unwrap(), None).err().unwrap();
            assert!(error.to_string().contains(word), "{base_url}: {error}");
            assert!(!error.to_string().contains("me:pw"));
        }
    }
}
