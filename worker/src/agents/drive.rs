//! Plays a role: does what the turn machine asks for, with real models, and
//! tells it what happened. It knows no role's contract and writes no file.

use protocol::{
    documents::EditProtocol,
    model::Candidate,
    step::{ErrorClass, StepError},
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    desk::Desk,
    memory::{Memory, Turn},
    thinking::without_thinking,
    turn::{self, Ask, Effect, End, Event, Limits},
};
use crate::{
    llm::{Answer, ChatMessage, Finish, Models, Prompt, Speaker},
    steps::Checkpoints,
};

/// Output tokens that are asked for at first: enough for a few hundred lines.
const ANSWER_TOKENS: u32 = 8192;
/// Output tokens after an answer was cut.
const LONGER_ANSWER_TOKENS: u32 = 32_768;

/// What makes a conversation the one of a role.
pub trait Role: Send + Sync {
    /// What a good answer becomes.
    type Outcome: Send + Sync;

    /// How long the conversation may get, with at most so many calls.
    fn limits(&self, calls: u32) -> Limits;
    /// The system text for models that write edits in `protocol`: always the same for the same role.
    fn system(&self, protocol: EditProtocol) -> String;
    /// The first message, in about `room` bytes.
    fn opening(&self, room: usize) -> String;
    /// What a server should hold the model to; `files` while it may still ask for files.
    fn schema(&self, files: bool) -> Option<(String, Value)>;
    /// Reads an answer and does what it wants, if it is good.
    fn judge(&mut self, answer: &str, protocol: EditProtocol) -> Result<Judged<Self::Outcome>, StepError>;
    /// Keeps what is complete in an answer that was cut.
    fn keep(&mut self, answer: &str, protocol: EditProtocol);
    /// The next message to the model, in about `room` bytes.
    fn ask(&self, ask: Ask, protocol: EditProtocol, room: usize) -> String;
    /// Why the last answer was not good: one line for people.
    fn complaint(&self) -> String;
}

/// What a role makes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged<T> {
    /// It is good, and done.
    Accepted(T),
    /// It asks for files.
    FilesWanted,
    /// It cannot be read.
    Malformed,
    /// It can be read but not used.
    Unfit {
        /// Equal for equal failures.
        signature: u64,
    },
    /// It looks like a mistake; the model is asked whether it is meant.
    Doubtful,
}

/// What a conversation is held with.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Who is asked.
    pub models: &'a Models,
    /// Who watches.
    pub desk: &'a Desk,
    /// Where finished turns go.
    pub checkpoints: &'a dyn Checkpoints,
    /// Most model calls, those before a checkpoint included.
    pub calls: u32,
    /// When to stop.
    pub stop: &'a CancellationToken,
}

/// Plays `role` to its end: first what `memory` holds, then with the models.
pub async fn converse<R: Role>(
    role: &mut R,
    means: Means<'_>,
    memory: Memory,
) -> Result<R::Outcome, StepError> {
    let Means { models, desk, .. } = means;
    let limits = role.limits(means.calls);
    let mut talk = Talk {
        role,
        models,
        desk,
        checkpoints: means.checkpoints,
        memory,
        stop: means.stop,
        limits,
        history: Vec::new(),
        answer: String::new(),
        whole_files: false,
        squeezed: false,
        protocol: models.candidate().protocol,
        answer_tokens: ANSWER_TOKENS,
        files: limits.file_rounds,
        signature: None,
        outcome: None,
        error: None,
    };
    let (mut state, mut effect) = turn::start(&limits);
    loop {
        let event = match effect {
            Effect::Call(ask) => talk.call(ask).await,
            Effect::Judge => talk.judge(),
            Effect::Settle(end) => return talk.settle(end),
        };
        (state, effect) =
            turn::transition(state, event, &limits).expect("only what the state waits for is reported");
    }
}

struct Talk<'a, R: Role> {
    role: &'a mut R,
    models: &'a Models,
    desk: &'a Desk,
    checkpoints: &'a dyn Checkpoints,
    memory: Memory,
    stop: &'a CancellationToken,
    limits: Limits,
    /// What was said after the opening.
    history: Vec<ChatMessage>,
    /// The last answer.
    answer: String,
    /// Whether whole files are the last resort now.
    whole_files: bool,
    /// Whether a server found the prompt too long.
    squeezed: bool,
    /// How the last answer is to be read.
    protocol: EditProtocol,
    answer_tokens: u32,
    /// Rounds of files that are left.
    files: u8,
    /// How the last answer failed.
    signature: Option<u64>,
    outcome: Option<R::Outcome>,
    error: Option<StepError>,
}

impl<R: Role> Talk<'_, R> {
    async fn call(&mut self, ask: Ask) -> Event {
        if let Some(turn) = self.memory.recall(ask) {
            self.desk.earlier(self.models.step(), &turn);
            self.prepare(ask, turn.told);
            self.squeezed |= turn.squeezed;
            return self.take(turn.protocol, turn.reply, turn.finish);
        }
        let told = self.prepare(ask, None);
        let result = match self.chat().await {
            Err(error) if error.class == ErrorClass::TooLong && !self.squeezed => {
                self.desk.note(&format!("{error}; asking with less context"));
                self.squeezed = true;
                self.chat().await
            }
            result => result,
        };
        match result {
            Ok(answer) => {
                let text = without_thinking(&answer.reply.text).into_owned();
                self.remember(ask, told, &answer, &text).await;
                self.take(answer.candidate.protocol, text, answer.reply.finish)
            }
            Err(_) if self.stop.is_cancelled() => Event::Stopped,
            Err(error) => {
                self.error = Some(error);
                Event::CallFailed
            }
        }
    }

    async fn chat(&self) -> Result<Answer, StepError> {
        let (number, model) = (self.models.calls() + 1, self.models.candidate().model);
        self.desk.note(&format!("asking {model}, call {number}"));
        let result = self
            .models
            .chat(&|candidate| self.prompt(candidate), self.stop)
            .await;
        self.desk.end_of_answer(self.models);
        result
    }

    /// Makes the answered call a checkpoint: it is paid, whatever becomes of it.
    async fn remember(&mut self, ask: Ask, told: Option<String>, answer: &Answer, text: &str) {
        let turn = Turn {
            ask,
            told,
            squeezed: self.squeezed,
            provider: answer.candidate.provider.clone(),
            model: answer.candidate.model.clone(),
            protocol: answer.candidate.protocol,
            finish: answer.reply.finish,
            call: self.models.calls(),
            reply: text.to_owned(),
        };
        self.memory.add(turn);
        let usage = self.models.usage();
        self.checkpoints.save(self.memory.transcript(), usage).await;
    }

    /// Says what is to be said next, in the words of an earlier attempt if there are any.
    /// Answers with the words.
    fn prepare(&mut self, ask: Ask, told: Option<String>) -> Option<String> {
        match ask {
            Ask::Open => return None,
            Ask::Longer => {
                self.answer_tokens = LONGER_ANSWER_TOKENS;
                return None;
            }
            Ask::WholeFiles => {
                self.whole_files = true;
                self.protocol = EditProtocol::WholeFile;
            }
            Ask::MoreFiles => self.files = self.files.saturating_sub(1),
            Ask::Continue => self.role.keep(&self.answer, self.protocol),
            Ask::Repair | Ask::Confirm => {}
        }
        let text = told.unwrap_or_else(|| {
            let room = room(self.models, &self.models.candidate());
            self.role.ask(ask, self.protocol, room / 2)
        });
        self.desk
            .note(&format!("{}: {}", name(ask), self.role.complaint()));
        let said = std::mem::take(&mut self.answer);
        let said = if said.trim().is_empty() {
            "(nothing)".to_owned()
        } else {
            said
        };
        for (speaker, text) in [(Speaker::Assistant, said), (Speaker::User, text.clone())] {
            self.history.push(ChatMessage { speaker, text });
        }
        Some(text)
    }

    /// The prompt for one candidate: the opening shrinks to what the history leaves of
    /// three quarters of its room, and the oldest turns go when they fill half of it.
    fn prompt(&self, candidate: &Candidate) -> Prompt {
        let system = self.role.system(candidate.protocol);
        let room = room(self.models, candidate) / if self.squeezed { 2 } else { 1 };
        let room = room.saturating_sub(system.len());
        let size =
            |messages: &[ChatMessage]| messages.iter().map(|message| message.text.len()).sum::<usize>();
        let mut history = self.history.as_slice();
        while history.len() > 2 && size(history) > room / 2 {
            history = &history[2..];
        }
        let left = (room / 4 * 3).min(room.saturating_sub(size(history)));
        let mut messages = vec![ChatMessage {
            speaker: Speaker::User,
            text: self.role.opening(left),
        }];
        messages.extend_from_slice(history);
        Prompt {
            system,
            messages,
            max_tokens: self
                .answer_tokens
                .min(candidate.answer_tokens.unwrap_or(u32::MAX)),
            schema: self.role.schema(self.files > 0),
        }
    }

    fn take(&mut self, protocol: EditProtocol, answer: String, finish: Finish) -> Event {
        if !self.whole_files {
            self.protocol = protocol;
        }
        self.answer = answer;
        match finish {
            Finish::Stop => Event::Answered,
            Finish::Length => Event::AnswerCut,
            Finish::Refusal => Event::Refused,
        }
    }

    fn judge(&mut self) -> Event {
        if self.stop.is_cancelled() {
            return Event::Stopped;
        }
        match self.role.judge(&self.answer, self.protocol) {
            Ok(Judged::Accepted(outcome)) => {
                self.outcome = Some(outcome);
                Event::Accepted
            }
            Ok(Judged::FilesWanted) => Event::FilesWanted,
            Ok(Judged::Malformed) => Event::Malformed,
            Ok(Judged::Doubtful) => Event::Doubtful,
            Ok(Judged::Unfit { signature }) => {
                let repeated = self.signature.replace(signature) == Some(signature);
                Event::Unfit { repeated }
            }
            Err(error) => {
                self.error = Some(error);
                Event::Stopped
            }
        }
    }

    fn settle(self, end: End) -> Result<R::Outcome, StepError> {
        let complaint = || self.role.complaint();
        let unusable = |message: String| Err(StepError::new(ErrorClass::ModelOutput, message));
        match (end, self.outcome, self.error) {
            (End::Done, Some(outcome), _) => Ok(outcome),
            (_, _, Some(error)) if error.class == ErrorClass::TooLong && error.hint.is_none() => {
                Err(error.hint("use a model with a larger window, or a smaller task"))
            }
            (_, _, Some(error)) => Err(error),
            (End::Done | End::Unusable, ..) => unusable(format!(
                "the model's answer could not be used, also after repair: {}",
                complaint()
            )),
            (End::Unreadable, ..) => unusable(format!(
                "{} answers in a row could not be read: {}",
                self.limits.format_errors,
                complaint()
            )),
            (End::ModelRefused, ..) => unusable("the model refused to answer".to_owned()),
            (End::OutOfCalls, ..) => {
                let message = format!(
                    "the limit of {} model calls is reached: {}",
                    self.limits.calls,
                    complaint()
                );
                Err(StepError::new(ErrorClass::Budget, message))
            }
            (End::Stopped | End::NoAnswer, ..) => {
                Err(StepError::new(ErrorClass::Killed, "the conversation was stopped"))
            }
        }
    }
}

/// Bytes of prompt that a candidate's window takes: nine tenths of it, at three bytes a token
/// until its server has counted.
fn room(models: &Models, candidate: &Candidate) -> usize {
    if models.candidate() == *candidate {
        models.room_bytes()
    } else {
        candidate.window as usize * 27 / 10
    }
}

const fn name(ask: Ask) -> &'static str {
    match ask {
        Ask::Open | Ask::Longer => "asking",
        Ask::Continue => "the answer was cut",
        Ask::Repair => "asking for a repair",
        Ask::Confirm => "asking for confirmation",
        Ask::WholeFiles => "asking for whole files",
        Ask::MoreFiles => "showing more files",
    }
}
