//! A step in which an agent plays a role: opens the workspace, plays, commits
//! what a writing role changed, and leaves the documents behind.

use std::{path::Path, sync::OnceLock};

use protocol::{
    artifact::ArtifactRef,
    documents::EditReport,
    message::MAX_OUTPUT_BYTES,
    spec::AgentWork,
    step::{ErrorClass, StepError},
};
use serde::Serialize;
use serde_json::{Map, Value};

mod against;
mod connect;
mod resume;

use super::{StepContext, StepOutput, measure};
use crate::{
    agents::{
        self, Answers,
        architect::Architect,
        brief::Brief,
        codegen::Codegen,
        custom::Custom,
        desk::Desk,
        document::DocumentRole,
        drive::{Means, Role, converse},
        edit::tree::Tree,
        repomap::RepoMap,
        review::Review,
    },
    llm::Models,
    workspace::Workspace,
};

/// Runs the step.
pub async fn run(cx: &StepContext, work: &AgentWork) -> StepOutput {
    let desk = match Desk::new(cx.log.clone(), cx.progress.clone(), &cx.scratch) {
        Ok(desk) => desk,
        Err(error) => {
            let message = format!("the scratch folder cannot be written: {error}");
            return StepOutput::failed(StepError::new(ErrorClass::Infra, message));
        }
    };
    let models = match connect::models(cx, work, &desk).await {
        Ok(models) => models,
        Err(error) => return StepOutput::failed(error),
    };
    let agent = Agent {
        cx,
        work,
        desk: &desk,
        models: &models,
        earlier: OnceLock::new(),
    };
    let mut output = match agent.play().await {
        Ok(output) => output,
        Err(error) => StepOutput::failed(error),
    };
    output.usage = models.usage();
    output.model_ms = models.model_ms();
    output.model = output.model.or_else(|| models.used());
    output.notes.extend(agent.earlier.get().cloned());
    match agent.store("transcript.jsonl", desk.transcript()).await {
        Ok(artifact) => output.artifacts.push(artifact),
        Err(error) => output.notes.push(format!("the transcript is missing: {error}")),
    }
    output
}

struct Agent<'a> {
    cx: &'a StepContext,
    work: &'a AgentWork,
    desk: &'a Desk,
    models: &'a Models,
    /// What became of the checkpoint of an earlier attempt, for people.
    earlier: OnceLock<String>,
}

impl Agent<'_> {
    async fn play(&self) -> Result<StepOutput, StepError> {
        let brief = Brief::read(&self.cx.spec.with);
        let workspace = match &self.cx.spec.workspace {
            Some(wanted) => {
                let opened = self
                    .cx
                    .workspaces
                    .open(wanted, self.cx.assign.job, self.cx.caller());
                Some(opened.await?)
            }
            None => None,
        };
        let output = match agents::answers(&self.work.role, self.cx.spec.writes) {
            Answers::Plan => self.plan(brief, workspace.as_ref()).await,
            Answers::Edits => self.edit(brief, workspace).await,
            Answers::Verdict => self.review(brief, workspace.as_ref()).await,
            Answers::Declared => self.custom(brief, workspace.as_ref()).await,
        }?;
        let size = serde_json::to_vec(&output.outputs).map_or(usize::MAX, |json| json.len());
        if size > MAX_OUTPUT_BYTES {
            let message = format!("the outputs have {size} bytes, more than {MAX_OUTPUT_BYTES}");
            return Err(StepError::new(ErrorClass::ModelOutput, message));
        }
        Ok(output)
    }

    async fn plan(&self, brief: Brief, workspace: Option<&Workspace>) -> Result<StepOutput, StepError> {
        let (tree, map) = self.look(workspace, &brief).await?;
        let contract = Architect {
            brief,
            tree,
            map,
            outputs: self.cx.spec.outputs.clone(),
        };
        let planned = self
            .converse(DocumentRole::new(&self.work.prompt, contract), workspace)
            .await?;
        let mut output = StepOutput::ok();
        output
            .artifacts
            .push(self.store_json("plan.json", &planned.plan).await?);
        output.outputs = planned.others;
        output.outputs.insert("plan".to_owned(), json(&planned.plan)?);
        Ok(output)
    }

    async fn edit(&self, brief: Brief, workspace: Option<Workspace>) -> Result<StepOutput, StepError> {
        let Some(mut workspace) = workspace else {
            let message = format!(
                "role {} changes files, but the job has no repository",
                self.work.role
            );
            return Err(StepError::new(ErrorClass::Spec, message));
        };
        let (tree, map) = self.look(Some(&workspace), &brief).await?;
        let tree = tree.expect("a workspace has a tree");
        let message = commit_message(&self.cx.spec.title, &brief);
        let edited = self
            .converse(
                Codegen::new(&self.work.prompt, brief, tree, map),
                Some(&workspace),
            )
            .await?;
        let before = workspace.head().to_owned();
        let Some(commit) = workspace.commit_all(&self.cx.mask.apply(&message)).await? else {
            // such as a file that git ignores
            return Err(StepError::new(
                ErrorClass::ModelOutput,
                "the model changed nothing that git keeps",
            ));
        };
        let stat = workspace.stat(&before, &commit).await?;
        self.desk.note(&format!(
            "{} files changed, +{} -{}",
            stat.files, stat.insertions, stat.deletions
        ));
        let report = EditReport {
            protocol: edited.protocol,
            ops: edited.ops,
            commit: Some(commit),
            stat,
            ..EditReport::default()
        };
        let mut output = StepOutput::ok();
        output.model = self.models.used().map(|mut used| {
            used.protocol = Some(edited.protocol);
            used
        });
        output
            .artifacts
            .push(self.store_json("edit-report.json", &report).await?);
        output.outputs.insert("report".to_owned(), json(&report)?);
        output.workspace = Some(workspace.result(&*self.cx.blobs, &self.cx.scratch).await?);
        Ok(output)
    }

    async fn review(&self, brief: Brief, workspace: Option<&Workspace>) -> Result<StepOutput, StepError> {
        let diff = match workspace {
            Some(workspace) => {
                let from = against::commit(self.cx, workspace).await?;
                workspace.diff_text(&from, workspace.head()).await?
            }
            None => String::new(),
        };
        let contract = Review {
            brief,
            diff,
            outputs: self.cx.spec.outputs.clone(),
        };
        let judgement = self
            .converse(DocumentRole::new(&self.work.prompt, contract), workspace)
            .await?;
        let verdict = judgement.verdict;
        let mut output = StepOutput::ok();
        output
            .artifacts
            .push(self.store_json("verdict.json", &verdict).await?);
        output.outputs = judgement.others;
        output
            .outputs
            .insert("decision".to_owned(), json(&verdict.decision)?);
        output
            .outputs
            .insert("findings".to_owned(), json(&verdict.findings)?);
        output.outputs.insert("verdict".to_owned(), json(&verdict)?);
        Ok(output)
    }

    async fn custom(&self, brief: Brief, workspace: Option<&Workspace>) -> Result<StepOutput, StepError> {
        let (tree, map) = self.look(workspace, &brief).await?;
        let contract = Custom {
            brief,
            tree,
            map,
            outputs: self.cx.spec.outputs.clone(),
        };
        let outputs = self
            .converse(DocumentRole::new(&self.work.prompt, contract), workspace)
            .await?;
        let mut output = StepOutput::ok();
        output.outputs = outputs;
        Ok(output)
    }

    /// Plays the role, from the last finished turn of an earlier attempt on if there is one.
    async fn converse<R: Role>(
        &self,
        mut role: R,
        workspace: Option<&Workspace>,
    ) -> Result<R::Outcome, StepError> {
        let (memory, note) = resume::memory(self.cx, workspace.map(Workspace::head)).await;
        if let Some(note) = note {
            self.desk.note(&note);
            let _first = self.earlier.set(note);
        }
        if let Some(last) = memory.last_ahead() {
            self.models.resume_after(last.call, &last.provider, &last.model);
        }
        let means = Means {
            models: self.models,
            desk: self.desk,
            checkpoints: &*self.cx.checkpoints,
            calls: self.work.max_calls,
            stop: &self.cx.stop.token,
        };
        converse(&mut role, means, memory).await
    }

    /// The tree of the workspace and its map.
    async fn look(
        &self,
        workspace: Option<&Workspace>,
        brief: &Brief,
    ) -> Result<(Option<Tree>, RepoMap), StepError> {
        let Some(workspace) = workspace else {
            return Ok((None, RepoMap::default()));
        };
        let (root, words, protected) = (workspace.root(), brief.words(), protected(&self.cx.spec.with));
        let looked = tokio::task::spawn_blocking(move || {
            let tree = Tree::open(&root, &protected)?;
            let map = RepoMap::scan(tree.root(), &words);
            Ok::<_, std::io::Error>((Some(tree), map))
        });
        let failed = |why: String| {
            StepError::new(
                ErrorClass::Workspace,
                format!("the workspace cannot be read: {why}"),
            )
        };
        let looked = looked.await.map_err(|error| failed(error.to_string()))?;
        looked.map_err(|error| failed(error.to_string()))
    }

    async fn store_json(
        &self,
        name: &str,
        document: &(impl Serialize + Sync),
    ) -> Result<ArtifactRef, StepError> {
        let file = self.cx.scratch.join(name);
        let text = serde_json::to_vec_pretty(document).map_err(std::io::Error::from);
        let written = text.and_then(|text| std::fs::write(&file, text));
        written.map_err(|error| {
            StepError::new(ErrorClass::Infra, format!("{name} cannot be written: {error}"))
        })?;
        self.store(name, &file).await
    }

    async fn store(&self, name: &str, file: &Path) -> Result<ArtifactRef, StepError> {
        measure::store(self.cx, name, file).await
    }
}

fn json(document: &impl Serialize) -> Result<Value, StepError> {
    serde_json::to_value(document).map_err(|error| {
        StepError::new(
            ErrorClass::Infra,
            format!("a document cannot be written: {error}"),
        )
    })
}

/// Files and folders that the workflow protects: `protected`, a list of paths.
fn protected(with: &Map<String, Value>) -> Vec<String> {
    let paths = with
        .get("protected")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    paths.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The job's title, and what the plan says about the change.
fn commit_message(title: &str, brief: &Brief) -> String {
    let title = title.lines().next().unwrap_or("").trim();
    let title: String = if title.is_empty() {
        "Change".to_owned()
    } else {
        title.chars().take(72).collect()
    };
    match brief.plan.as_ref().map(|plan| plan.summary.trim()) {
        Some(summary) if !summary.is_empty() => format!("{title}\n\n{summary}\n"),
        _ => format!("{title}\n"),
    }
}

#[cfg(test)]
mod tests;
