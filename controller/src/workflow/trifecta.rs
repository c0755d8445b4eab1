//! At most two of three in one step: untrusted input, secrets, open network. With all of
//! them, what a stranger wrote can send the secrets away.
//!
//! Untrusted is what comes from a repository, a model, an issue or a webhook. What the
//! submitter gives by inputs is not.

use protocol::job::StepKey;

use super::{
    model::{CommandDef, StepDef, StepKind, Workflow},
    read::Mistakes,
    template::{has_template, names_in_expression, names_in_template, single_expression},
};

/// What to do about it.
pub const WAY_OUT: &str =
    "take one of them away, such as `network`, or say why it is safe: `allow_trifecta: \"reason\"`";

/// Notes a step that has all three without leave.
pub(super) fn check(workflow: &Workflow, path: &str, step: &StepDef, mistakes: &mut Mistakes) {
    if step.trifecta.is_none()
        && let Some(why) = all_three(step, workflow.needs_repo())
    {
        let message = format!("a step has at most two of secrets, `network` and untrusted input, and {why}");
        mistakes.add(&format!("{path}.secrets"), message, Some(WAY_OUT.to_owned()));
    }
}

/// Whether a step has all three, and what it is that cannot be trusted; `repo` is whether the job
/// works on a repository.
fn all_three(step: &StepDef, repo: bool) -> Option<String> {
    if step.secrets.is_empty() || step.network().is_empty() {
        return None;
    }
    untrusted(step, repo)
}

fn untrusted(step: &StepDef, repo: bool) -> Option<String> {
    let StepKind::Run { command } = &step.kind else {
        return Some("it works on what models and repositories say".to_owned());
    };
    if repo {
        return Some("it runs among the files of a repository".to_owned());
    }
    let arguments = match command {
        CommandDef::Argv(arguments) => arguments.iter().collect(),
        CommandDef::ArgvFrom(expression) => return from_a_step(names_in_expression(expression).ok()?),
        CommandDef::Script { .. } => vec![],
    };
    let mut texts = arguments.into_iter().chain(step.env.values());
    texts.find_map(|text| from_a_step(names(text)))
}

fn names(text: &str) -> Vec<String> {
    let found = match single_expression(text) {
        _ if !has_template(text) => return vec![],
        Some(expression) => names_in_expression(expression).map(Vec::from_iter),
        None => names_in_template(text).map(Vec::from_iter),
    };
    // what cannot be read is another mistake, which names it
    found.unwrap_or_default()
}

/// The first name of what a step has put out: a step may have it from a model or a repository.
fn from_a_step(names: impl IntoIterator<Item = String>) -> Option<String> {
    let is_said = |name: &String| {
        let mut parts = name.split('.');
        let root = parts.next().unwrap_or_default();
        !matches!(root, "inputs" | "job")
            && !matches!(parts.next_back(), Some("ok" | "state" | "worker" | "n"))
    };
    let name = names.into_iter().find(is_said)?;
    Some(format!("it reads `{name}`, which a step has put out"))
}

/// Steps that have all three by leave, each with the reason.
pub fn exceptions(workflow: &Workflow, repo: bool) -> Vec<(StepKey, String)> {
    let mut found = vec![];
    workflow.visit(&mut |key, step| {
        if let (Some(reason), Some(_)) = (&step.trifecta, all_three(step, repo)) {
            found.push((key.clone(), reason.clone()));
        }
    });
    found
}

/// The first step that has all three without leave, and what cannot be trusted: a workflow that
/// needs no repository may be given one.
pub fn refused(workflow: &Workflow, repo: bool) -> Option<(StepKey, String)> {
    let mut found = None;
    workflow.visit(&mut |key, step| {
        if found.is_none() && step.trifecta.is_none() {
            found = all_three(step, repo).map(|why| (key.clone(), why));
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use crate::workflow::{load::load, prompts::Prompts};

    use super::*;

    fn loaded(step: &str) -> Result<Workflow, String> {
        let text = format!(
            "name: x\ninputs: {{who: {{type: text}}}}\nsteps:\n  first: {{run: [\"true\"]}}\n  \
             a: {{needs: [first], {step}}}\n"
        );
        load(&text, &Prompts::builtin()).map_err(|mistakes| {
            mistakes
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    #[test]
    fn a_step_with_all_three_is_refused_and_two_of_three_are_not() {
        let all = "secrets: [KEY_ONE], network: [x.org]";
        let refused = loaded(&format!(
            "run: [post, \"{{{{ steps.first.outputs.stdout_tail }}}}\"], {all}"
        ));
        let refused = refused.expect_err("all three");
        assert_eq!(
            refused,
            "line 5, steps.a.secrets: a step has at most two of secrets, `network` and untrusted input, and it \
             reads `steps.first.outputs.stdout_tail`, which a step has put out"
        );
        for (step, why) in [
            (
                "run: \"{{ steps.first.outputs.list }}\"",
                "it reads `steps.first.outputs.list`",
            ),
            (
                "run: [post], env: {A: \"{{ steps.first.error }}\"}",
                "it reads `steps.first.error`",
            ),
            (
                "run: [post], writes: true",
                "it runs among the files of a repository",
            ),
        ] {
            let mistake = loaded(&format!("{step}, {all}")).expect_err(step);
            assert!(mistake.contains(why), "{mistake}");
            let allowed = loaded(&format!("{step}, {all}, allow_trifecta: \"it posts to us\""));
            let allowed = allowed.expect("by leave");
            let reasons = exceptions(&allowed, allowed.needs_repo());
            assert_eq!(
                reasons,
                [("a".parse().expect("a key"), "it posts to us".to_owned())]
            );
        }
        for step in [
            "run: [post, \"{{ steps.first.outputs.x }}\"], secrets: [KEY_ONE]",
            "run: [post, \"{{ steps.first.outputs.x }}\"], network: [x.org]",
            "run: [post, \"{{ inputs.who }}\", \"{{ job.number }}\", \"{{ steps.first.ok }}\"], secrets: [KEY_ONE], network: [x.org]",
        ] {
            let workflow = loaded(step).expect(step);
            assert_eq!(exceptions(&workflow, false), []);
        }
    }

    #[test]
    fn a_repository_that_comes_with_the_job_counts() {
        let workflow = loaded("run: [post], secrets: [KEY_ONE], network: [x.org]").expect("loads");
        assert_eq!(refused(&workflow, false), None);
        let (step, why) = refused(&workflow, true).expect("all three");
        assert_eq!(
            (step.as_str(), why.as_str()),
            ("a", "it runs among the files of a repository")
        );
    }

    #[test]
    fn a_leave_needs_its_reason() {
        for bad in ["\"\"", "\" \"", "true", "\"a\\nb\""] {
            let mistake = loaded(&format!("run: [post], secrets: [KEY_ONE], allow_trifecta: {bad}"));
            let mistake = mistake.expect_err(bad);
            assert!(mistake.contains("line 5, steps.a.allow_trifecta: "), "{mistake}");
        }
    }
}
