//! A role of the user's own: its prompt file and the outputs that its step
//! declares are the whole contract. Without declared outputs any text is good.

use std::collections::BTreeMap;

use protocol::spec::OutputType;
use serde_json::{Map, Value, json};

use super::{
    answer::{self, Unreadable},
    brief::Brief,
    context::{Section, Shrink},
    declared,
    document::{Contract, Reading},
    edit::tree::Tree,
    files,
    repomap::RepoMap,
    schemas,
};

/// Largest free text that is taken, in bytes: it must fit the outputs of a step.
const LARGEST_TEXT: usize = 40 * 1024;
/// Bytes of the repository map.
const MAP_BYTES: usize = 12 * 1024;

/// The contract of a custom role.
pub struct Custom {
    /// What the workflow gives.
    pub brief: Brief,
    /// The files; `None` for a job without a repository.
    pub tree: Option<Tree>,
    /// Their map.
    pub map: RepoMap,
    /// What the step declares.
    pub outputs: BTreeMap<String, OutputType>,
}

impl Contract for Custom {
    type Document = Map<String, Value>;

    fn instructions(&self) -> String {
        if self.outputs.is_empty() {
            return "Answer in plain text.\n".to_owned();
        }
        let fields = declared::describe(&self.outputs, &[]);
        format!("## How to answer\n\nOne JSON object and nothing else, with these fields:\n{fields}\n")
    }

    fn schema(&self, _files: bool) -> Option<(String, Value)> {
        let mut schema = schemas::object(&json!({}));
        declared::extend_schema(&mut schema, &self.outputs, &[]);
        (!self.outputs.is_empty()).then(|| ("answer".to_owned(), schema))
    }

    fn sections(&self, room: usize) -> Vec<Section> {
        let mut sections = Vec::new();
        if let Some(tree) = &self.tree {
            sections.push(Section::new(
                "Conventions of the repository",
                files::conventions(tree),
                Shrink::Cut(1),
            ));
            let map = self.map.render((room / 4).min(MAP_BYTES));
            sections.push(Section::new("Repository map", map, Shrink::Cut(2)));
        }
        sections
            .into_iter()
            .flatten()
            .chain(self.brief.sections())
            .collect()
    }

    fn read(&self, object: &Map<String, Value>) -> Result<Reading<Self::Document>, String> {
        declared::outputs(&self.outputs, &[], object).map(Reading::Document)
    }

    fn read_answer(&self, answer: &str) -> Result<Reading<Self::Document>, Unreadable> {
        if !self.outputs.is_empty() {
            return answer::read(answer, |object| self.read(object));
        }
        let text = answer.trim();
        if text.is_empty() {
            return Err(Unreadable::WrongShape("the answer is empty".to_owned()));
        }
        let text = super::context::cut(text, LARGEST_TEXT);
        Ok(Reading::Document(Map::from_iter([(
            "text".to_owned(),
            Value::from(text),
        )])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(outputs: BTreeMap<String, OutputType>) -> Custom {
        Custom {
            brief: Brief::default(),
            tree: None,
            map: RepoMap::default(),
            outputs,
        }
    }

    #[test]
    fn declared_outputs_are_the_contract() {
        let custom = custom(BTreeMap::from([("risk".to_owned(), OutputType::Number)]));
        assert!(custom.instructions().contains("- `risk`: a number"));
        let good = custom.read_answer("Well: {\"risk\": 0.3}");
        assert!(matches!(good, Ok(Reading::Document(outputs)) if outputs["risk"] == 0.3));
        assert!(custom.read_answer("{\"risk\": \"high\"}").is_err());
    }

    #[test]
    fn without_outputs_any_text_is_good() {
        let custom = custom(BTreeMap::new());
        assert!(custom.schema(false).is_none());
        let text = custom.read_answer("  Hello {world}. ");
        assert!(matches!(text, Ok(Reading::Document(outputs)) if outputs["text"] == "Hello {world}."));
        assert!(custom.read_answer(" ").is_err());
    }
}
