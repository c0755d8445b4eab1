//! The models of one attempt: asks the best candidate, tries again where that
//! helps, falls back to the next one, counts what it cost and records it all.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use protocol::{
    model::{Candidate, Timeouts},
    spec::ModelUsed,
    step::{ErrorClass, StepError},
    usage::Usage,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    Answer, CallRecord, ChatReply, ChatRequest, Listeners, LlmError, Prompt, SharedProvider,
    budget::{TokenEstimate, prompt_bytes},
    record::{RecordedRequest, RecordedResult},
    retry::{nobody_answered, wait_before_next_try},
};

/// The models that one attempt may use, best first.
pub struct Models {
    step: String,
    candidates: Vec<Candidate>,
    providers: HashMap<String, SharedProvider>,
    max_calls: u32,
    /// By the names of providers.
    timeouts: HashMap<String, Timeouts>,
    listeners: Listeners,
    started: Instant,
    ledger: Mutex<Ledger>,
}

/// What has happened so far.
struct Ledger {
    current: usize,
    calls: u32,
    usage: Usage,
    model_time: Duration,
    estimates: Vec<TokenEstimate>,
    used: Option<ModelUsed>,
}

impl Models {
    /// The models of the attempt of `step`; `providers` by the names that candidates use.
    pub fn new(
        step: impl Into<String>,
        candidates: Vec<Candidate>,
        providers: HashMap<String, SharedProvider>,
        listeners: Listeners,
    ) -> Result<Self, StepError> {
        if candidates.is_empty() {
            return Err(
                StepError::new(ErrorClass::Missing, "no model is configured for this step")
                    .hint("name one under models: in the configuration, or start an Ollama beside a worker"),
            );
        }
        Ok(Self {
            step: step.into(),
            ledger: Mutex::new(Ledger {
                current: 0,
                calls: 0,
                usage: Usage::default(),
                model_time: Duration::ZERO,
                estimates: vec![TokenEstimate::default(); candidates.len()],
                used: None,
            }),
            candidates,
            providers,
            max_calls: u32::MAX,
            timeouts: HashMap::new(),
            listeners,
            started: Instant::now(),
        })
    }

    /// Allows at most so many calls, those of an earlier part of the attempt included.
    pub fn max_calls(mut self, max_calls: u32) -> Self {
        self.max_calls = max_calls;
        self
    }

    /// Sets how long each provider may take; those without an entry get the default.
    pub fn timeouts(mut self, timeouts: HashMap<String, Timeouts>) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// Goes on after a checkpoint: so many calls were made before, the last one of this model.
    pub fn resume_after(&self, calls: u32, provider: &str, model: &str) {
        let same = |known: &Candidate| known.provider == provider && known.model == model;
        let mut ledger = self.ledger();
        ledger.calls = calls;
        ledger.current = self.candidates.iter().position(same).unwrap_or(0);
    }

    /// Key of the step.
    pub fn step(&self) -> &str {
        &self.step
    }

    /// The candidate that the next call asks first: a fallback stays in force.
    pub fn candidate(&self) -> Candidate {
        self.candidates[self.ledger().current].clone()
    }

    /// About how many bytes of prompt the window of [`Self::candidate`] takes.
    pub fn room_bytes(&self) -> usize {
        let ledger = self.ledger();
        ledger.estimates[ledger.current].room(self.candidates[ledger.current].window)
    }

    /// What all calls cost so far.
    pub fn usage(&self) -> Usage {
        self.ledger().usage
    }

    /// Calls made so far, those before a checkpoint included.
    pub fn calls(&self) -> u32 {
        self.ledger().calls
    }

    /// Time spent waiting for models, in milliseconds.
    pub fn model_ms(&self) -> u64 {
        self.ledger().model_time.as_millis() as u64
    }

    /// The model that answered last.
    pub fn used(&self) -> Option<ModelUsed> {
        self.ledger().used.clone()
    }

    /// Asks the current candidate and, if it cannot answer now, the ones after it.
    ///
    /// `prompt` is called once for each candidate that is asked: window and edit
    /// protocol are its own. A quota that is spent, a wait that is too long and a
    /// provider that stays broken lead to the next candidate; every other error is final.
    pub async fn chat(
        &self,
        prompt: &(dyn Fn(&Candidate) -> Prompt + Send + Sync),
        stop: &CancellationToken,
    ) -> Result<Answer, StepError> {
        let (call, first) = self.begin_call()?;
        let mut failures = Vec::new();
        for (index, candidate) in self.candidates.iter().enumerate().skip(first) {
            let name = format!("{}/{}", candidate.provider, candidate.model);
            if !failures.is_empty() {
                (self.listeners.on_note)(&format!("falling back to {name}"));
            }
            let Some(provider) = self.providers.get(&candidate.provider) else {
                let message = format!("this worker has no provider {:?}", candidate.provider);
                (self.listeners.on_note)(&message);
                failures.push(StepError::new(ErrorClass::Missing, message));
                continue;
            };
            let request = self.request(index, prompt(candidate), call)?;
            match self.ask(index, provider, &request, stop).await {
                Ok(reply) => {
                    let candidate = candidate.clone();
                    return Ok(Answer { reply, candidate });
                }
                Err(error) if error.another_may_help() => {
                    (self.listeners.on_note)(&format!("{name} gave no answer: {error}"));
                    failures.push(error.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(nobody_answered(failures))
    }

    fn begin_call(&self) -> Result<(u32, usize), StepError> {
        let mut ledger = self.ledger();
        if ledger.calls >= self.max_calls {
            let message = format!("the limit of {} model calls is reached", self.max_calls);
            return Err(StepError::new(ErrorClass::Budget, message));
        }
        ledger.calls += 1;
        Ok((ledger.calls, ledger.current))
    }

    /// The request for one candidate, or that it does not fit its window.
    fn request(&self, index: usize, prompt: Prompt, call: u32) -> Result<ChatRequest, StepError> {
        let candidate = &self.candidates[index];
        let bytes = prompt_bytes(&prompt.system, &prompt.messages);
        let estimate = self.ledger().estimates[index].check(bytes, candidate.window)?;
        let timeouts = self
            .timeouts
            .get(&candidate.provider)
            .copied()
            .unwrap_or_default();
        let left = u64::from(candidate.window).saturating_sub(estimate).max(1);
        Ok(ChatRequest {
            call: (self.step.clone(), call),
            model: candidate.model.clone(),
            window: candidate.window,
            system: prompt.system,
            messages: prompt.messages,
            max_tokens: u64::from(prompt.max_tokens).min(left) as u32,
            schema: prompt.schema,
            limits: timeouts.into(),
        })
    }

    /// Asks one candidate, again after a wait where the error says that this may help.
    async fn ask(
        &self,
        index: usize,
        provider: &SharedProvider,
        request: &ChatRequest,
        stop: &CancellationToken,
    ) -> Result<ChatReply, LlmError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let sent = Instant::now();
            let result = provider.chat(request, &*self.listeners.on_delta, stop).await;
            self.settle(index, request, tries, sent, &result);
            let error = match result {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let Some(wait) = wait_before_next_try(&error, tries, rand::random()) else {
                return Err(error);
            };
            let seconds = wait.as_secs_f64();
            (self.listeners.on_note)(&format!("{error}; trying again in {seconds:.1} s"));
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return Err(LlmError::Stopped),
            }
        }
    }

    /// Books one try and records it.
    fn settle(
        &self,
        index: usize,
        request: &ChatRequest,
        tries: u32,
        sent: Instant,
        result: &Result<ChatReply, LlmError>,
    ) {
        let candidate = &self.candidates[index];
        let took = sent.elapsed();
        let mut ledger = self.ledger();
        ledger.model_time += took;
        if let Ok(reply) = result {
            ledger.current = index;
            ledger.used = Some(ModelUsed {
                provider: candidate.provider.clone(),
                model: candidate.model.clone(),
                protocol: Some(candidate.protocol),
            });
            ledger.usage += Usage {
                input_tokens: reply.tokens.input,
                cached_tokens: reply.tokens.cached,
                output_tokens: reply.tokens.output,
                calls: 1,
                cost_microusd: reply.tokens.cost_microusd(&candidate.price),
            };
            if !reply.tokens.estimated {
                let bytes = prompt_bytes(&request.system, &request.messages);
                ledger.estimates[index].learn(bytes, reply.tokens.input + reply.tokens.cached);
            }
        }
        drop(ledger);
        (self.listeners.on_record)(&CallRecord {
            step: request.call.0.clone(),
            call: request.call.1,
            r#try: tries,
            provider: candidate.provider.clone(),
            model: candidate.model.clone(),
            protocol: candidate.protocol,
            window: candidate.window,
            max_tokens: request.max_tokens,
            schema: request.schema.as_ref().map(|(name, _)| name.clone()),
            request: RecordedRequest::of(request),
            at_ms: sent.duration_since(self.started).as_millis() as u64,
            took_ms: took.as_millis() as u64,
            result: RecordedResult::of(result, candidate),
        });
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
