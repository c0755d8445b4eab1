//! All workflows by name: built in, from folders, and stored through the API.
//! What comes later wins: a stored one over a file, a file over a built-in.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use protocol::{
    http::{
        problem::{Code, Problem},
        workflows::{InputView, WorkflowError, WorkflowReport, WorkflowView},
    },
    label::Labels,
};
use sha2::{Digest, Sha256};

use super::{
    load::load,
    model::{Input, InputType, Workflow},
    prompts::Prompts,
    suggest,
};

/// The workflows that are compiled in.
pub const BUILTIN: [(&str, &str); 4] = [
    (
        "implement",
        include_str!("../../../configs/workflows/implement.yaml"),
    ),
    ("review", include_str!("../../../configs/workflows/review.yaml")),
    ("run", include_str!("../../../configs/workflows/run.yaml")),
    ("ask", include_str!("../../../configs/workflows/ask.yaml")),
];

/// Where a workflow comes from; the higher one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Compiled in.
    Builtin,
    /// A file in a configured folder.
    File,
    /// Put through the API.
    Stored,
}

impl Origin {
    /// The word that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::File => "file",
            Self::Stored => "stored",
        }
    }
}

#[derive(Clone)]
struct Entry {
    origin: Origin,
    text: String,
    workflow: Arc<Workflow>,
}

/// All workflows by name.
#[derive(Clone)]
pub struct Catalog {
    prompts: Prompts,
    entries: BTreeMap<String, Entry>,
}

/// Why a folder of workflows cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no valid workflow.
    #[error("{}: {}", path.display(), summary(errors))]
    Invalid {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        errors: Vec<WorkflowError>,
    },
    /// A file has another name than its workflow.
    #[error("{} holds the workflow `{name}`: the file must be called {name}.yaml", path.display())]
    OtherName {
        /// The file.
        path: PathBuf,
        /// The name in it.
        name: String,
    },
}

impl Catalog {
    /// The built-in workflows with these prompts.
    pub fn builtin(prompts: Prompts) -> Self {
        let mut catalog = Self {
            prompts,
            entries: BTreeMap::new(),
        };
        for (_, text) in BUILTIN {
            let workflow = load(text, &catalog.prompts).expect("a test loads every built-in workflow");
            catalog.insert(Origin::Builtin, text, workflow);
        }
        catalog
    }

    /// Adds every `*.yaml` of the folders, later folders winning; each is called
    /// like its workflow. Blocks; for the start of the process.
    pub fn load_folders(&mut self, folders: &[PathBuf]) -> Result<(), FolderError> {
        for folder in folders {
            for path in yaml_files(folder)? {
                let text = std::fs::read_to_string(&path).map_err(|source| unreadable(&path, source))?;
                let workflow = load(&text, &self.prompts).map_err(|errors| FolderError::Invalid {
                    path: path.clone(),
                    errors,
                })?;
                if path.file_stem().is_none_or(|stem| stem != workflow.name.as_str()) {
                    return Err(FolderError::OtherName {
                        path,
                        name: workflow.name,
                    });
                }
                self.insert(Origin::File, &text, workflow);
            }
        }
        Ok(())
    }

    /// Adds or replaces a stored workflow; `name` must be the one in the text.
    pub fn put(&mut self, name: &str, text: &str) -> Result<WorkflowView, Problem> {
        let workflow = load(text, &self.prompts).map_err(|errors| invalid(&errors))?;
        if workflow.name != name {
            let message = format!("the text is named `{}`, not `{name}`", workflow.name);
            let problem = Problem::new(Code::InvalidField, message).field("name", workflow.name);
            return Err(problem.hint("use the same name in the address and in the text"));
        }
        self.insert(Origin::Stored, text, workflow);
        self.view(name)
    }

    /// The workflow of that name, with its prompts, as a job pins it.
    pub fn get(&self, name: &str) -> Result<Arc<Workflow>, Problem> {
        self.entry(name).map(|entry| Arc::clone(&entry.workflow))
    }

    /// The workflow of that name as the API shows it, with its text.
    pub fn view(&self, name: &str) -> Result<WorkflowView, Problem> {
        let entry = self.entry(name)?;
        let view = view(entry.origin, &entry.text, &entry.workflow);
        Ok(WorkflowView {
            text: Some(entry.text.clone()),
            ..view
        })
    }

    /// All workflows by name, without their texts.
    pub fn list(&self) -> Vec<WorkflowView> {
        self.entries
            .values()
            .map(|entry| view(entry.origin, &entry.text, &entry.workflow))
            .collect()
    }

    /// What is wrong with a text, or what would be loaded, and which of its steps none of these
    /// workers can take; changes nothing.
    pub fn validate(&self, text: &str, workers: &[Labels]) -> WorkflowReport {
        match load(text, &self.prompts) {
            Ok(workflow) => {
                let notes = unmet(&workflow, workers);
                let workflow = Some(view(Origin::Stored, text, &workflow));
                WorkflowReport {
                    ok: true,
                    errors: vec![],
                    workflow,
                    notes,
                }
            }
            Err(errors) => WorkflowReport {
                ok: false,
                errors,
                workflow: None,
                notes: vec![],
            },
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry, Problem> {
        self.entries.get(name).ok_or_else(|| {
            let problem = Problem::new(Code::UnknownWorkflow, format!("there is no workflow `{name}`"));
            let known = self.entries.keys().map(String::as_str);
            let list = known.clone().collect::<Vec<_>>().join(", ");
            let hint = match suggest::closest(name, known) {
                Some(close) => format!("did you mean `{close}`? known: {list}"),
                None => format!("known: {list}"),
            };
            problem.field("workflow", name).hint(hint)
        })
    }

    fn insert(&mut self, origin: Origin, text: &str, workflow: Workflow) {
        if self
            .entries
            .get(&workflow.name)
            .is_some_and(|entry| entry.origin > origin)
        {
            return;
        }
        let name = workflow.name.clone();
        let entry = Entry {
            origin,
            text: text.to_owned(),
            workflow: Arc::new(workflow),
        };
        self.entries.insert(name, entry);
    }
}

/// The files in order of their names, so that every start finds the same.
fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, FolderError> {
    let entries = std::fs::read_dir(folder).map_err(|source| unreadable(folder, source))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|source| unreadable(folder, source))?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// One sentence for each step that no worker has the labels for.
fn unmet(workflow: &Workflow, workers: &[Labels]) -> Vec<String> {
    let unmet = workflow.requirements().into_iter().filter(|(_, requires)| {
        !requires.is_empty() && !workers.iter().any(|labels| labels.missing(requires).is_empty())
    });
    unmet
        .map(|(key, requires)| format!("step {key} requires {requires}, and no worker has that now"))
        .collect()
}

fn unreadable(path: &Path, source: io::Error) -> FolderError {
    FolderError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

/// The first mistake, and how many more there are.
fn summary(errors: &[WorkflowError]) -> String {
    match errors {
        [] => String::new(),
        [only] => only.to_string(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    }
}

fn invalid(errors: &[WorkflowError]) -> Problem {
    let problem = Problem::new(Code::InvalidWorkflow, summary(errors));
    let first = errors.first();
    let field = first
        .and_then(|error| error.field.clone())
        .unwrap_or_else(|| "text".to_owned());
    let hint = first.and_then(|error| error.hint.clone());
    let line = first.and_then(|error| error.line);
    let hint =
        hint.unwrap_or_else(|| "POST the text to /v1/workflows/validate to see every mistake".to_owned());
    problem.field(field, line).hint(hint)
}

fn view(origin: Origin, text: &str, workflow: &Workflow) -> WorkflowView {
    WorkflowView {
        name: workflow.name.clone(),
        description: workflow.description.clone(),
        origin: origin.as_str().to_owned(),
        sha256: hex::encode(Sha256::digest(text)),
        inputs: workflow
            .inputs
            .iter()
            .map(|(name, input)| input_view(name, input))
            .collect(),
        needs_repo: workflow.needs_repo(),
        steps: workflow.step_keys().into_iter().map(String::from).collect(),
        text: None,
    }
}

fn input_view(name: &str, input: &Input) -> InputView {
    let kind = match input.kind {
        InputType::Text { .. } => "text",
        InputType::Int { .. } => "int",
        InputType::Number => "number",
        InputType::Bool => "bool",
        InputType::List => "list",
        InputType::Enum(_) => "enum",
    };
    InputView {
        name: name.to_owned(),
        kind: kind.to_owned(),
        required: input.required,
        description: input.description.clone(),
    }
}

#[cfg(test)]
mod tests;
