//! Recordings, and requests that differ from them.

use std::sync::Mutex;

use proptest::prelude::*;
use protocol::model::{Candidate, ProviderDefinition, Timeouts};

use super::*;
use crate::llm::{
    Finish, Listeners, Models, Prompt, SharedProvider, connect, http_client,
    testing::{chat, request},
};

fn replay(recording: &str) -> Result<SharedProvider, LlmError> {
    let definition = ProviderDefinition {
        name: "script".into(),
        kind: ProviderKind::Replay,
        base_url: String::new(),
        api_key: None,
        recording: None,
        timeouts: Timeouts::default(),
    };
    connect(&definition, &http_client().unwrap(), Some(recording.into()))
}

async fn ask(recording: &str, request: &ChatRequest) -> Result<ChatReply, LlmError> {
    chat(&replay(recording).unwrap(), request).await.0
}

#[tokio::test]
async fn the_answer_of_the_step_and_call_is_streamed_in_pieces() {
    let recording = r#"
{"step":"plan","call":1,"reply":"first ünd more","mood":"unknown fields are fine"}
{"step":"plan","call":2,"reply":"second","finish":"length","usage":{"input":7,"output":2}}
"#;
    let provider = replay(recording).unwrap();
    let (reply, deltas) = chat(&provider, &request()).await;
    let reply = reply.unwrap();
    assert_eq!(reply.text, "first ünd more");
    assert!(reply.tokens.estimated);
    assert_eq!(deltas.len(), 4);
    let mut second = request();
    second.call.1 = 2;
    let reply = chat(&provider, &second).await.0.unwrap();
    assert_eq!((reply.text.as_str(), reply.finish), ("second", Finish::Length));
    assert_eq!(
        (reply.tokens.input, reply.tokens.output, reply.tokens.estimated),
        (7, 2, false)
    );
}

#[tokio::test]
async fn a_missing_record_names_the_call_and_what_there_is() {
    let recording = "{\"step\":\"plan\",\"call\":1,\"reply\":\"a\"}\n{\"step\":\"cycle#1/edit\",\"call\":1,\"reply\":\"b\"}\n{\"step\":\"cycle#1/edit\",\"call\":2,\"reply\":\"c\"}";
    let mut asked = request();
    asked.call = ("cycle#2/edit".into(), 3);
    let error = ask(recording, &asked).await.unwrap_err();
    assert!(matches!(error, LlmError::Replay(_)));
    assert_eq!(
        error.to_string(),
        "the recording has no answer for step cycle#2/edit, call 3; it holds cycle#1/edit (2 calls), plan (1 call)"
    );
}

#[tokio::test]
async fn an_expected_text_that_is_missing_is_shown() {
    let recording =
        r#"{"step":"plan","call":1,"expect":["say   hello","be\nbrief","the failing test"],"reply":"a"}"#;
    let error = ask(recording, &request()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "step plan, call 1 differs from its recording: the request does not contain \"the failing test\""
    );
    let recording = recording.replace(",\"the failing test\"", "");
    assert_eq!(ask(&recording, &request()).await.unwrap().text, "a");
}

#[tokio::test]
async fn another_conversation_is_shown_as_a_diff() {
    let recording = r#"{"step":"plan","call":1,"request":{"messages":[{"role":"user","content":"say\ngoodbye"}]},"reply":"a"}"#;
    let mut asked = request();
    asked.messages[0].text = "say\n\n  hello".into();
    let error = ask(recording, &asked).await.unwrap_err().to_string();
    for line in ["--- recorded", "+++ asked now", " say", "-goodbye", "+hello"] {
        assert!(error.lines().any(|shown| shown == line), "{line:?} in {error}");
    }
    asked.messages[0].text = "  say \r\n\n goodbye ".into();
    ask(recording, &asked).await.expect("white space does not matter");
}

#[tokio::test]
async fn a_recorded_system_text_is_compared_too() {
    let recording = r#"{"step":"plan","call":1,"request":{"system":"be verbose","messages":[{"role":"user","content":"say hello"}]},"reply":"a"}"#;
    let error = ask(recording, &request()).await.unwrap_err().to_string();
    assert!(
        error.contains("-be verbose") && error.contains("+be brief"),
        "{error}"
    );
}

#[test]
fn broken_recordings_name_the_line() {
    for (recording, words) in [
        ("{\"step\":\"a\",\"call\":1,\"reply\":\"\"}\n\nnonsense", "line 3"),
        (
            "{\"step\":\"a\",\"reply\":\"\"}",
            "line 1 is no record: missing field `call`",
        ),
        ("{\"step\":\"a\",\"call\":1}", "line 1 has no \"reply\""),
        (
            "{\"step\":\"a\",\"call\":1,\"reply\":\"\"}\n{\"step\":\"a\",\"call\":1,\"reply\":\"\"}",
            "line 2 answers step a, call 1 a second time",
        ),
    ] {
        let error = replay(recording).err().unwrap().to_string();
        assert!(error.contains(words) && error.contains("\"script\""), "{error}");
    }
}

#[tokio::test]
async fn a_stop_ends_the_stream() {
    let provider = replay("{\"step\":\"plan\",\"call\":1,\"reply\":\"a long answer\"}").unwrap();
    let stop = CancellationToken::new();
    let asked = request();
    let error = provider
        .chat(&asked, &|_| stop.cancel(), &stop)
        .await
        .unwrap_err();
    assert!(matches!(error, LlmError::Stopped));
}

#[tokio::test]
async fn a_transcript_is_a_recording() {
    let candidate: Candidate =
        serde_json::from_str(r#"{"provider":"script","model":"m","window":8192}"#).unwrap();
    let play = async |recording: String| {
        let transcript = Arc::new(Mutex::new(String::new()));
        let written = Arc::clone(&transcript);
        let listeners = Listeners {
            on_record: Arc::new(move |record| {
                let line = serde_json::to_string(record).unwrap();
                *written.lock().unwrap() += &format!("{line}\n");
            }),
            ..Listeners::default()
        };
        let providers = [("script".to_owned(), replay(&recording).unwrap())].into();
        let models = Models::new("plan", vec![candidate.clone()], providers, listeners).unwrap();
        let prompt = |_: &Candidate| Prompt {
            system: "be brief".into(),
            messages: request().messages,
            ..Prompt::default()
        };
        let answer = models.chat(&prompt, &CancellationToken::new()).await;
        let transcript = transcript.lock().unwrap().clone();
        (answer.map(|answer| answer.reply), transcript)
    };
    let original =
        r#"{"step":"plan","call":1,"reply":"done","finish":"refusal","usage":{"input":9,"output":4}}"#;
    let (first, transcript) = play(original.into()).await;
    let failed = r#"{"step":"plan","call":1,"error":{"class":"provider","message":"busy"}}"#;
    let (second, _) = play(format!("{failed}\n{transcript}")).await;
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(second.text, first.text);
    assert_eq!(second.finish, Finish::Refusal);
    assert_eq!(second.tokens, first.tokens);
}

proptest! {
    #[test]
    fn pieces_are_the_whole_text(text in ".{0,40}") {
        let pieces = pieces(&text);
        prop_assert_eq!(&pieces.concat(), &text);
        prop_assert!(pieces.len() <= PIECES);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Recording::read(&bytes);
    }
}
