//! Roles that answer with one JSON document: what they share.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use protocol::{documents::EditProtocol, step::StepError};
use serde_json::{Map, Value};

use super::{
    answer::{self, Unreadable},
    context::{Section, compose},
    drive::{Judged, Role},
    turn::{Ask, Limits},
};

/// The contract of a document: what a model is told, and what counts as good.
pub trait Contract: Send + Sync {
    /// What a good answer becomes.
    type Document: Send + Sync;

    /// How to answer, for the end of the system text.
    fn instructions(&self) -> String;
    /// The schema with its name; `files` while files may still be asked for.
    fn schema(&self, files: bool) -> Option<(String, Value)>;
    /// What the model is shown, in about `room` bytes.
    fn sections(&self, room: usize) -> Vec<Section>;
    /// Reads an object of the answer; the error is a sentence for the model.
    fn read(&self, object: &Map<String, Value>) -> Result<Reading<Self::Document>, String>;

    /// Reads a whole answer.
    fn read_answer(&self, answer: &str) -> Result<Reading<Self::Document>, Unreadable> {
        answer::read(answer, |object| self.read(object))
    }
    /// In how many rounds the model may ask for files.
    fn file_rounds(&self) -> u8 {
        0
    }
    /// The files that it asked for, in about `room` bytes.
    fn show_files(&self, _paths: &[String], _room: usize) -> String {
        String::new()
    }
}

/// What an object is.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading<T> {
    /// The document.
    Document(T),
    /// A wish for files in its place.
    Files(Vec<String>),
}

/// Plays a role whose answer is a document.
pub struct DocumentRole<C> {
    prompt: String,
    contract: C,
    complaint: String,
    wanted: Vec<String>,
}

impl<C: Contract> DocumentRole<C> {
    /// A role with this prompt and contract.
    pub fn new(prompt: &str, contract: C) -> Self {
        Self {
            prompt: prompt.trim_end().to_owned(),
            contract,
            complaint: String::new(),
            wanted: Vec::new(),
        }
    }
}

impl<C: Contract> Role for DocumentRole<C> {
    type Outcome = C::Document;

    fn limits(&self, calls: u32) -> Limits {
        Limits {
            file_rounds: self.contract.file_rounds(),
            ..Limits::new(calls)
        }
    }

    fn system(&self, _protocol: EditProtocol) -> String {
        format!("{}\n\n{}", self.prompt, self.contract.instructions())
    }

    fn opening(&self, room: usize) -> String {
        compose(&self.contract.sections(room), room)
    }

    fn schema(&self, files: bool) -> Option<(String, Value)> {
        self.contract.schema(files)
    }

    fn judge(&mut self, answer: &str, _protocol: EditProtocol) -> Result<Judged<C::Document>, StepError> {
        let unreadable = match self.contract.read_answer(answer) {
            Ok(Reading::Document(document)) => return Ok(Judged::Accepted(document)),
            Ok(Reading::Files(paths)) => {
                self.complaint = format!("it asks for files: {}", paths.join(", "));
                self.wanted = paths;
                return Ok(Judged::FilesWanted);
            }
            Err(unreadable) => unreadable,
        };
        self.complaint = unreadable.to_string();
        Ok(match unreadable {
            Unreadable::NoObject => Judged::Malformed,
            Unreadable::WrongShape(_) => {
                let mut hasher = DefaultHasher::new();
                self.complaint.hash(&mut hasher);
                Judged::Unfit {
                    signature: hasher.finish(),
                }
            }
        })
    }

    fn keep(&mut self, _answer: &str, _protocol: EditProtocol) {
        "it was cut".clone_into(&mut self.complaint);
    }

    fn ask(&self, ask: Ask, _protocol: EditProtocol, room: usize) -> String {
        let instructions = self.contract.instructions();
        match ask {
            Ask::MoreFiles => self.contract.show_files(&self.wanted, room),
            Ask::Continue => format!(
                "Your answer was cut at the limit of its length. Answer again, complete but much shorter.\n\n{instructions}"
            ),
            Ask::Open | Ask::Longer | Ask::Repair | Ask::Confirm | Ask::WholeFiles => {
                let more = if self.wanted.is_empty() {
                    ""
                } else {
                    " You can see no more files."
                };
                format!(
                    "Your answer could not be used: {}.{more} Answer again with the complete document and nothing else.\n\n{instructions}",
                    self.complaint
                )
            }
        }
    }

    fn complaint(&self) -> String {
        self.complaint.clone()
    }
}
