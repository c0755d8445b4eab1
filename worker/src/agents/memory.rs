//! The finished turns of a conversation: what a checkpoint holds. Another attempt
//! plays them to the same role and the same turn machine, which brings both to
//! where they were without asking a model. Pure; knows no files and no network.

use std::collections::VecDeque;

use protocol::{
    artifact::Sha256,
    documents::EditProtocol,
    spec::{StepSpec, Work},
};
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::turn::Ask;
use crate::llm::Finish;

/// The form of [`Transcript`]; another one cannot be gone on from.
const FORM: u32 = 1;

/// What was said so far, as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transcript {
    /// Which form of this document it is.
    pub form: u32,
    /// What the conversation is about: see [`subject`].
    pub subject: Sha256,
    /// Answered calls, oldest first.
    pub turns: Vec<Turn>,
}

/// One answered call. With the step's key beside it, it is a line of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// What was asked.
    pub ask: Ask,
    /// The message that asked it, if it added one.
    pub told: Option<String>,
    /// Whether less context was shown, as a server had found the prompt too long.
    pub squeezed: bool,
    /// Name of the provider that answered.
    pub provider: String,
    /// Its name of the model.
    pub model: String,
    /// How that model writes edits.
    pub protocol: EditProtocol,
    /// Why it stopped.
    pub finish: Finish,
    /// The number of the call within the step, from 1.
    pub call: u32,
    /// The answer, without thinking.
    pub reply: String,
}

/// Why a transcript is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no transcript.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// Another version of the program wrote it.
    #[error("it has form {0} where this version knows {FORM}")]
    Form(u32),
    /// The step is not what it was.
    #[error("the step or its files are not what they were")]
    Subject,
}

/// Everything that shapes a conversation but the models: the step as it is asked for,
/// and the commit that its files are at.
pub fn subject(spec: &StepSpec, commit: Option<&str>) -> Sha256 {
    let mut spec = spec.clone();
    if let Work::Agent(work) = &mut spec.work {
        work.candidates.clear();
    }
    // how the files got here does not matter
    spec.workspace = None;
    let text = serde_json::to_vec(&(FORM, spec, commit)).unwrap_or_default();
    Sha256(sha2::Sha256::digest(text).into())
}

/// What a conversation remembers: turns to play again, and turns that were played.
#[derive(Clone, Debug)]
pub struct Memory {
    transcript: Transcript,
    ahead: VecDeque<Turn>,
}

impl Memory {
    /// Of a conversation that begins.
    pub fn empty(subject: Sha256) -> Self {
        Self {
            transcript: Transcript {
                form: FORM,
                subject,
                turns: vec![],
            },
            ahead: VecDeque::new(),
        }
    }

    /// Of a conversation about `subject` that goes on after the turns in `text`.
    pub fn read(text: &[u8], subject: Sha256) -> Result<Self, Unfit> {
        let transcript: Transcript =
            serde_json::from_slice(text).map_err(|error| Unfit::Unreadable(error.to_string()))?;
        if transcript.form != FORM {
            return Err(Unfit::Form(transcript.form));
        }
        if transcript.subject != subject {
            return Err(Unfit::Subject);
        }
        let mut memory = Self::empty(subject);
        memory.ahead = transcript.turns.into();
        Ok(memory)
    }

    /// The last turn that is still to be played.
    pub fn last_ahead(&self) -> Option<&Turn> {
        self.ahead.back()
    }

    /// How many turns are still to be played.
    pub fn ahead(&self) -> usize {
        self.ahead.len()
    }

    /// The next turn, if it answers this question. One that does not ends the playing: this
    /// version of the program judges an answer otherwise, and goes on with a model from there.
    pub fn recall(&mut self, ask: Ask) -> Option<Turn> {
        let next = self.ahead.pop_front()?;
        if next.ask != ask {
            self.ahead.clear();
            return None;
        }
        self.transcript.turns.push(next.clone());
        Some(next)
    }

    /// Remembers a new turn.
    pub fn add(&mut self, turn: Turn) {
        self.transcript.turns.push(turn);
    }

    /// What another attempt would go on from.
    pub const fn transcript(&self) -> &Transcript {
        &self.transcript
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn turn(ask: Ask, reply: &str) -> Turn {
        Turn {
            ask,
            told: (ask != Ask::Open).then(|| "mend it".to_owned()),
            squeezed: false,
            provider: "lan".to_owned(),
            model: "m".to_owned(),
            protocol: EditProtocol::SearchReplace,
            finish: Finish::Stop,
            call: 1,
            reply: reply.to_owned(),
        }
    }

    fn spec(prompt: &str) -> StepSpec {
        let spec = json!({
            "title": "t",
            "work": {"agent": {"role": "codegen", "prompt": prompt, "candidates": []}},
        });
        serde_json::from_value(spec).expect("a spec")
    }

    fn written() -> (Sha256, Vec<u8>) {
        let subject = subject(&spec("p"), Some("c0ffee"));
        let mut memory = Memory::empty(subject);
        memory.add(turn(Ask::Open, "a"));
        memory.add(turn(Ask::Repair, "b"));
        let text = serde_json::to_vec(memory.transcript()).expect("json");
        (subject, text)
    }

    #[test]
    fn what_was_remembered_is_played_in_order_and_grows() {
        let (subject, text) = written();
        let mut memory = Memory::read(&text, subject).expect("fits");
        assert_eq!(memory.ahead(), 2);
        assert_eq!(memory.last_ahead(), Some(&turn(Ask::Repair, "b")));
        assert_eq!(memory.recall(Ask::Open), Some(turn(Ask::Open, "a")));
        assert_eq!(memory.recall(Ask::Repair), Some(turn(Ask::Repair, "b")));
        assert_eq!(memory.recall(Ask::Repair), None);
        assert_eq!(serde_json::to_vec(memory.transcript()).expect("json"), text);
        memory.add(turn(Ask::WholeFiles, "c"));
        assert_eq!(memory.transcript().turns.len(), 3);
    }

    #[test]
    fn a_turn_that_does_not_fit_ends_the_playing() {
        let (subject, text) = written();
        let mut memory = Memory::read(&text, subject).expect("fits");
        assert!(memory.recall(Ask::Open).is_some());
        assert_eq!(memory.recall(Ask::WholeFiles), None);
        assert_eq!(memory.recall(Ask::Repair), None);
        assert_eq!(memory.transcript().turns.len(), 1);
    }

    #[test]
    fn another_step_form_or_text_is_no_use() {
        let (own, text) = written();
        for other in [
            subject(&spec("q"), Some("c0ffee")),
            subject(&spec("p"), Some("beef")),
            subject(&spec("p"), None),
        ] {
            assert_eq!(Memory::read(&text, other).err(), Some(Unfit::Subject));
        }
        let newer = String::from_utf8(text.clone())
            .expect("text")
            .replace("\"form\":1", "\"form\":2");
        assert_eq!(Memory::read(newer.as_bytes(), own).err(), Some(Unfit::Form(2)));
        let cut = Memory::read(&text[..text.len() / 2], own);
        assert!(matches!(cut, Err(Unfit::Unreadable(_))));
    }

    #[test]
    fn the_subject_does_not_depend_on_who_may_answer() {
        let mut other = spec("p");
        let Work::Agent(work) = &mut other.work else {
            panic!("an agent")
        };
        work.candidates = vec![
            serde_json::from_value(
                json!({"provider": "a", "model": "b", "window": 1, "protocol": "whole_file"}),
            )
            .expect("a candidate"),
        ];
        assert_eq!(subject(&spec("p"), None), subject(&other, None));
        other.with = Map::from_iter([("task".to_owned(), json!("x"))]);
        assert_ne!(subject(&spec("p"), None), subject(&other, None));
    }
}
