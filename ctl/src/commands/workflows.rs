//! `agentctl workflows`: list, show, draw, check and store them.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use protocol::http::workflows::{
    GetWorkflow, GetWorkflowSchema, ListWorkflows, PutWorkflow, ValidateWorkflow, WorkflowError,
    WorkflowReport, WorkflowView,
};

use crate::{
    client::Client,
    codes::Code,
    error::CliError,
    exit::Exit,
    output::{
        Record,
        table::{Cell, Column},
        text::clean,
    },
    session::Session,
};

mod graph;

/// List, show, check or store workflows
#[derive(Debug, Args)]
pub(crate) struct Workflows {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List them
    List,
    /// Print one as YAML
    Show(Named),
    /// Draw the steps of one and what each needs
    Graph(Named),
    /// Print the JSON Schema of workflow files, for editors
    Schema,
    /// Check a file; nothing is stored
    Validate(File),
    /// Check a file and store it under the name in it
    Put(File),
}

#[derive(Debug, Args)]
struct Named {
    /// The workflow's name
    #[arg(add = crate::live::workflows())]
    name: String,
}

#[derive(Debug, Args)]
struct File {
    /// A YAML file; `-` is stdin
    file: PathBuf,
}

impl Workflows {
    /// Does it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let client = session.client()?;
        match self.command.unwrap_or(Command::List) {
            Command::List => list(session, &client).await,
            Command::Show(Named { name }) => show(session, &client.call(&GetWorkflow { name }).await?),
            Command::Graph(Named { name }) => draw(session, &client.call(&GetWorkflow { name }).await?),
            Command::Schema => schema(session, &client).await,
            Command::Validate(File { file }) => validate(session, &client, &file).await,
            Command::Put(File { file }) => put(session, &client, &file).await,
        }
    }
}

async fn list(session: &Session, client: &Client) -> Result<Exit, CliError> {
    let page = client.call(&ListWorkflows {}).await?;
    session.out.list(&page.items, page.next_cursor.as_deref())?;
    Ok(Exit::Done)
}

fn show(session: &Session, workflow: &WorkflowView) -> Result<Exit, CliError> {
    let text = workflow.text.as_deref().unwrap_or_default();
    let text = clean(text.trim_end()).into_owned();
    session.out.record(workflow, |_| vec![text])?;
    Ok(Exit::Done)
}

fn draw(session: &Session, workflow: &WorkflowView) -> Result<Exit, CliError> {
    let lines = graph::lines(workflow.text.as_deref().unwrap_or_default());
    session.out.record(workflow, |_| lines)?;
    Ok(Exit::Done)
}

/// The same for every format: whoever reads it wants the schema and nothing around it.
async fn schema(session: &Session, client: &Client) -> Result<Exit, CliError> {
    let schema = client.call(&GetWorkflowSchema {}).await?;
    session.out.line(&format!("{schema:#}"))?;
    Ok(Exit::Done)
}

async fn validate(session: &Session, client: &Client, file: &Path) -> Result<Exit, CliError> {
    let text = read(file)?;
    let report = client.call(&ValidateWorkflow { text }).await?;
    if !report.ok && !session.out.for_machine() {
        return Err(invalid(file, &report.errors));
    }
    let line = format!("{} is valid", file.display());
    session.out.one(&report, &line.clone(), |_| vec![line])?;
    if !session.out.for_machine() {
        for note in &report.notes {
            session.out.say(&format!("note: {note}"));
        }
    }
    Ok(if report.ok { Exit::Done } else { Exit::Usage })
}

async fn put(session: &Session, client: &Client, file: &Path) -> Result<Exit, CliError> {
    let text = read(file)?;
    let report = client.call(&ValidateWorkflow { text: text.clone() }).await?;
    let WorkflowReport {
        ok: true,
        workflow: Some(WorkflowView { name, .. }),
        ..
    } = report
    else {
        return Err(invalid(file, &report.errors));
    };
    let stored = client.call(&PutWorkflow { name, text }).await?;
    let line = format!("workflow {} is stored", stored.name);
    session.out.record(&stored, |_| vec![line])?;
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<String, CliError> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    text.map_err(|error| CliError::file(file, "read", &error))
}

fn invalid(file: &Path, errors: &[WorkflowError]) -> CliError {
    let count = match errors.len() {
        1 => "one mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let lines = errors.iter().map(|error| match &error.hint {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    });
    let lines: Vec<String> = lines.collect();
    let file = file.display();
    CliError::new(Code::InvalidWorkflowFile, format!("{file} has {count}"))
        .cause(lines.join("\n"))
        .hint(format!("mend them, then `agentctl workflows validate {file}`"))
}

impl Record for WorkflowView {
    const COLUMNS: &'static [Column] = &[
        Column::new("NAME"),
        Column::new("DESCRIPTION").flexible(24).rank(1),
        Column::new("INPUTS").rank(3),
        Column::new("REPO").rank(4),
        Column::new("ORIGIN").rank(2),
        Column::new("STEPS").wide().rank(5),
        Column::new("SHA256").wide().rank(6),
    ];

    fn cells(&self, _now: Timestamp) -> Vec<Cell> {
        // what must be given stands without brackets
        let inputs = self.inputs.iter().map(|input| {
            if input.required {
                input.name.clone()
            } else {
                format!("[{}]", input.name)
            }
        });
        vec![
            self.name.as_str().into(),
            self.description.as_str().into(),
            inputs.collect::<Vec<_>>().join(" ").into(),
            if self.needs_repo { "yes" } else { "no" }.into(),
            self.origin.as_str().into(),
            self.steps.join(" ").into(),
            self.sha256.as_str().into(),
        ]
    }

    fn id(&self) -> String {
        self.name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::style::Style;

    #[test]
    fn mistakes_are_listed_with_their_lines() {
        let error = |line, field: &str, message: &str, hint: Option<&str>| WorkflowError {
            line,
            field: Some(field.into()),
            message: message.into(),
            hint: hint.map(str::to_owned),
        };
        let errors = [
            error(
                Some(7),
                "steps.edit.need",
                "unknown key",
                Some("did you mean `needs`?"),
            ),
            error(None, "steps.plan", "nothing reaches it", None),
        ];
        let said = invalid(Path::new("flow.yaml"), &errors).render(Style::PLAIN);
        insta::assert_snapshot!(said, @r"
        error[invalid_workflow_file]: flow.yaml has 2 mistakes
          cause: line 7, steps.edit.need: unknown key (did you mean `needs`?)
                 steps.plan: nothing reaches it
          hint:  mend them, then `agentctl workflows validate flow.yaml`
        ");
    }
}
