//! The rules of a call, against providers that follow a script.

use std::collections::VecDeque;

use futures::future::BoxFuture;
use protocol::{
    documents::EditProtocol,
    model::{Price, ReachableModel},
};

use std::sync::Arc;

use super::*;
use crate::llm::{ChatMessage, Delta, Finish, Provider, Speaker, TokenCount};

/// Answers what the script says and remembers what it was asked.
#[derive(Default)]
struct Scripted {
    script: Mutex<VecDeque<Result<ChatReply, LlmError>>>,
    asked: Mutex<Vec<ChatRequest>>,
}

impl Provider for Scripted {
    fn chat<'a>(
        &'a self,
        request: &'a ChatRequest,
        on_delta: &'a (dyn Fn(&Delta) + Send + Sync),
        _stop: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<ChatReply, LlmError>> {
        self.asked.lock().unwrap().push(request.clone());
        let next = self
            .script
            .lock()
            .unwrap()
            .pop_front()
            .expect("the script goes on");
        if let Ok(reply) = &next {
            on_delta(&Delta::Text(reply.text.clone()));
        }
        Box::pin(async move { next })
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<ReachableModel>, LlmError>> {
        Box::pin(async { Ok(vec![]) })
    }
}

fn reply(text: &str, input: u64) -> ChatReply {
    ChatReply {
        text: text.into(),
        reasoning: String::new(),
        finish: Finish::Stop,
        tokens: TokenCount {
            input,
            cached: 0,
            output: 10,
            estimated: false,
        },
        raw: text.into(),
        took: Duration::from_millis(5),
    }
}

fn busy(after: Option<u64>) -> Result<ChatReply, LlmError> {
    Err(LlmError::Retry {
        message: "provider a answered 429".into(),
        after: after.map(Duration::from_secs),
        rate_limited: true,
    })
}

fn candidate(provider: &str, window: u32, protocol: EditProtocol) -> Candidate {
    Candidate {
        provider: provider.into(),
        model: "m".into(),
        window,
        answer_tokens: None,
        protocol,
        price: Price {
            input: 2.0,
            cached: 0.0,
            output: 5.0,
        },
    }
}

/// Two candidates `a` and `b` with their scripts.
fn models(
    a: Vec<Result<ChatReply, LlmError>>,
    b: Vec<Result<ChatReply, LlmError>>,
    listeners: Listeners,
) -> (Models, Arc<Scripted>, Arc<Scripted>) {
    let [a, b] = [a, b].map(|script| {
        Arc::new(Scripted {
            script: Mutex::new(script.into()),
            asked: Mutex::default(),
        })
    });
    let providers: HashMap<String, SharedProvider> =
        HashMap::from([("a".to_owned(), a.clone() as _), ("b".to_owned(), b.clone() as _)]);
    let candidates = vec![
        candidate("a", 1000, EditProtocol::WholeFile),
        candidate("b", 9000, EditProtocol::SearchReplace),
    ];
    let models = Models::new("cycle#1/edit", candidates, providers, listeners).unwrap();
    (models, a, b)
}

fn ask(candidate: &Candidate) -> Prompt {
    Prompt {
        system: format!("write {}", candidate.protocol.name()),
        messages: vec![ChatMessage {
            speaker: Speaker::User,
            text: "mend it".into(),
        }],
        max_tokens: 500,
        schema: None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_provider_is_asked_again_after_the_wait_that_it_named() {
    let (models, a, _) = models(
        vec![busy(Some(7)), Ok(reply("done", 20))],
        vec![],
        Listeners::default(),
    );
    let started = Instant::now();
    let answer = models.chat(&ask, &CancellationToken::new()).await.unwrap();
    assert_eq!(answer.reply.text, "done");
    assert!(started.elapsed() >= Duration::from_secs(7));
    let asked = a.asked.lock().unwrap();
    assert_eq!(asked[0].call, ("cycle#1/edit".to_owned(), 1));
    assert_eq!(asked[1].call, asked[0].call, "a try is no new call");
    assert_eq!(models.usage().calls, 1);
    assert_eq!(models.usage().cost_microusd, 20 * 2 + 10 * 5);
}

#[tokio::test(start_paused = true)]
async fn a_spent_quota_leads_to_the_next_candidate_with_its_own_prompt_for_good() {
    let quota = Err(LlmError::Quota {
        message: "quota is spent".into(),
        after: None,
    });
    let notes = Arc::new(Mutex::new(Vec::<String>::new()));
    let heard = Arc::clone(&notes);
    let listeners = Listeners {
        on_note: Arc::new(move |note| heard.lock().unwrap().push(note.into())),
        ..Listeners::default()
    };
    let (models, _, b) = models(
        vec![quota],
        vec![Ok(reply("1", 20)), Ok(reply("2", 20))],
        listeners,
    );
    let stop = CancellationToken::new();
    let answer = models.chat(&ask, &stop).await.unwrap();
    assert_eq!(answer.candidate.provider, "b");
    assert_eq!(answer.model_used().protocol, Some(EditProtocol::SearchReplace));
    assert_eq!(models.candidate().provider, "b");
    assert_eq!(models.chat(&ask, &stop).await.unwrap().reply.text, "2");
    let asked = b.asked.lock().unwrap();
    assert_eq!(asked[0].system, "write search_replace");
    assert_eq!(asked[0].window, 9000);
    assert_eq!(asked[1].call.1, 2);
    assert!(
        notes
            .lock()
            .unwrap()
            .iter()
            .any(|note| note.contains("falling back to b/m"))
    );
}

#[tokio::test(start_paused = true)]
async fn when_nobody_answers_the_error_names_all_and_keeps_the_least_wait() {
    let (models, _, b) = models(
        vec![busy(Some(90))],
        vec![busy(None), busy(None), busy(Some(100))],
        Listeners::default(),
    );
    let error = models.chat(&ask, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::RateLimited);
    assert_eq!(error.retry_after_ms, Some(90_000));
    assert_eq!(b.asked.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn errors_that_no_other_provider_heals_are_final() {
    for error in [
        LlmError::Auth("the key is wrong".into()),
        LlmError::BadRequest("no such model".into()),
        LlmError::TooLong {
            prompt: 9,
            window: 8,
            detail: None,
        },
        LlmError::Replay("differs".into()),
    ] {
        let class = StepError::from(error.clone()).class;
        let (models, a, b) = models(vec![Err(error)], vec![], Listeners::default());
        let seen = models.chat(&ask, &CancellationToken::new()).await.unwrap_err();
        assert_eq!(seen.class, class);
        assert_eq!(a.asked.lock().unwrap().len(), 1);
        assert!(b.asked.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_prompt_that_fills_the_window_is_never_sent() {
    let (models, a, _) = models(vec![], vec![], Listeners::default());
    let long = |_: &Candidate| Prompt {
        system: "x".repeat(2800),
        ..Prompt::default()
    };
    let error = models.chat(&long, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::TooLong);
    assert!(error.message.contains("934") && error.message.contains("1000"));
    assert!(a.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_providers_count_corrects_the_estimate_and_the_answer_keeps_its_room() {
    let (models, a, _) = models(
        vec![Ok(reply("1", 600)), Ok(reply("2", 600))],
        vec![],
        Listeners::default(),
    );
    let stop = CancellationToken::new();
    let prompt = |_: &Candidate| Prompt {
        system: "x".repeat(2400),
        max_tokens: 4000,
        ..Prompt::default()
    };
    assert_eq!(models.room_bytes(), 2700);
    models.chat(&prompt, &stop).await.unwrap();
    assert_eq!(models.room_bytes(), 3600);
    models.chat(&prompt, &stop).await.unwrap();
    let asked = a.asked.lock().unwrap();
    assert_eq!(asked[0].max_tokens, 200, "1000 - 2400 / 3");
    assert_eq!(asked[1].max_tokens, 400, "1000 - 600 counted");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_a_wait_at_once() {
    let (models, ..) = models(vec![busy(Some(50))], vec![], Listeners::default());
    let stop = CancellationToken::new();
    let later = stop.clone();
    let canceller = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        later.cancel();
    });
    let started = Instant::now();
    let error = models.chat(&ask, &stop).await.unwrap_err();
    canceller.await.unwrap();
    assert_eq!(error.class, ErrorClass::Killed);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn the_limit_of_calls_counts_those_before_a_checkpoint() {
    let (models, a, _) = models(vec![Ok(reply("1", 20))], vec![], Listeners::default());
    let models = models.max_calls(3);
    models.resume_after(2, "a", "m");
    let stop = CancellationToken::new();
    models.chat(&ask, &stop).await.unwrap();
    assert_eq!(a.asked.lock().unwrap()[0].call.1, 3);
    let error = models.chat(&ask, &stop).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Budget);
}

#[tokio::test(start_paused = true)]
async fn every_try_is_recorded_in_the_shape_of_a_replay_recording() {
    let records = Arc::new(Mutex::new(Vec::<serde_json::Value>::new()));
    let heard = Arc::clone(&records);
    let listeners = Listeners {
        on_record: Arc::new(move |record| {
            heard.lock().unwrap().push(serde_json::to_value(record).unwrap());
        }),
        ..Listeners::default()
    };
    let (models, ..) = models(vec![busy(None), Ok(reply("done", 20))], vec![], listeners);
    models.chat(&ask, &CancellationToken::new()).await.unwrap();
    let records = records.lock().unwrap();
    assert_eq!(records[0]["error"]["class"], "rate_limited");
    assert_eq!(records[0]["try"], 1);
    assert_eq!(records[1]["try"], 2);
    assert_eq!(records[1]["step"], "cycle#1/edit");
    assert_eq!(records[1]["call"], 1);
    assert_eq!(records[1]["request"]["messages"][0]["content"], "mend it");
    assert_eq!(records[1]["reply"], "done");
    assert_eq!(records[1]["finish"], "stop");
    assert_eq!(records[1]["usage"]["output"], 10);
}

#[tokio::test]
async fn a_provider_that_is_not_here_is_passed_over_and_named() {
    let (models, ..) = models(vec![], vec![], Listeners::default());
    let models = Models {
        providers: HashMap::new(),
        ..models
    };
    let error = models.chat(&ask, &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Missing);
    assert!(error.message.contains("\"a\"") && error.message.contains("\"b\""));
}
