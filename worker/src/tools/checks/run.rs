//! Runs checks one after the other and reads what they say.

use std::{ffi::OsStr, path::Path, time::Duration};

use protocol::{
    documents::{Check, CheckFailure, CheckReport},
    step::{ErrorClass, StepError},
};

use super::{
    detect::CheckPlan,
    parse::{self, Findings},
};
use crate::{
    log::LogSink,
    sandbox::Cage,
    steps::Stop,
    tools::exec::{End, Environment, Exec, ExecError, ExecResult, Limits, Output, find_program},
};

/// Bytes of a check's output that stay in the report.
const TAIL: usize = 8 * 1024;

/// How many times as long as a check its build may take: compiling everything anew is
/// slow on a small machine, and no hang.
const BUILD_LIMITS: u32 = 5;

/// How the checks of a step run.
pub struct Setting<'a> {
    /// The files.
    pub root: &'a Path,
    /// The environment of every check.
    pub environment: &'a Environment,
    /// Where it runs.
    pub cage: &'a Cage,
    /// Most time of one check.
    pub limit: Duration,
    /// What the base commit said, where it is known: it shortens the limits.
    pub baseline: Option<&'a CheckReport>,
    /// The attempt's log.
    pub log: &'a LogSink,
    /// When to stop.
    pub stop: &'a Stop,
}

/// Runs the checks; a failure of one does not keep the others from running.
pub async fn run(plans: &[CheckPlan], setting: &Setting<'_>) -> Result<Vec<Check>, StepError> {
    let mut checks = Vec::with_capacity(plans.len());
    for plan in plans {
        let check = run_one(plan, setting).await?;
        setting.log.info(&summary(&check));
        checks.push(check);
    }
    Ok(checks)
}

async fn run_one(plan: &CheckPlan, setting: &Setting<'_>) -> Result<Check, StepError> {
    let mut check = Check {
        name: plan.name.clone(),
        advisory: plan.advisory,
        ..Check::default()
    };
    let skip = plan
        .skip
        .clone()
        .or_else(|| missing_program(plan, setting.environment));
    if skip.is_some() {
        check.skipped = skip;
        return Ok(check);
    }
    check.command.clone_from(&plan.argv);
    if !plan.build.is_empty() {
        execute(&plan.build, plan, setting.limit * BUILD_LIMITS, setting).await?;
    }
    let result = match execute(&plan.argv, plan, limit_of(&plan.name, setting), setting).await {
        Ok(result) => result,
        Err(error @ (ExecError::NotFound { .. } | ExecError::Empty)) => {
            check.skipped = Some(error.to_string());
            return Ok(check);
        }
        Err(error) => return Err(error.into()),
    };
    if setting.stop.token.is_cancelled() {
        let message = format!("`{}` was stopped", plan.name);
        return Err(StepError::new(ErrorClass::Killed, message));
    }
    read(&mut check, plan, &result, setting.root);
    Ok(check)
}

async fn execute(
    argv: &[String],
    plan: &CheckPlan,
    limit: Duration,
    setting: &Setting<'_>,
) -> Result<ExecResult, ExecError> {
    setting.log.info(&format!("$ {}", argv.join(" ")));
    let exec = Exec::new(argv, setting.root.join(&plan.dir))
        .cage(setting.cage.clone())
        .environment(setting.environment.clone())
        .output(Output::Merged)
        .limits(Limits::default().time(limit));
    exec.run(setting.log, setting.stop).await
}

/// 120 s by default; after the baseline at most three times its time and 30 s.
fn limit_of(name: &str, setting: &Setting<'_>) -> Duration {
    let before = setting
        .baseline
        .and_then(|report| report.checks.iter().find(|check| check.name == name));
    match before {
        Some(check) if check.skipped.is_none() && !check.timed_out => setting
            .limit
            .min(Duration::from_millis(check.ms) * 3 + Duration::from_secs(30)),
        _ => setting.limit,
    }
}

fn missing_program(plan: &CheckPlan, environment: &Environment) -> Option<String> {
    let program = plan.argv.first()?;
    let path = environment.get(OsStr::new("PATH"))?;
    let here = find_program(OsStr::new(program), path, Path::new("/"));
    (here.is_none() && !program.contains('/')).then(|| format!("{program} is not on this worker"))
}

fn read(check: &mut Check, plan: &CheckPlan, result: &ExecResult, root: &Path) {
    // paths differ between workers and slots; ids of failures must not
    let text = parse::readable(&result.stdout.text());
    let text = text
        .replace(&format!("file://{}/", root.display()), "")
        .replace(&format!("{}/", root.display()), "");
    if result.exit != Some(0) && text.contains("No module named pytest") {
        check.skipped = Some("pytest is not on this worker (python3 has no module of that name)".to_owned());
        check.command.clear();
        return;
    }
    let Findings { counts, failures } = parse::parse(plan.runner, &text);
    check.exit = result.exit;
    check.signal = result.signal;
    check.ms = result.ms();
    check.timed_out = result.end == End::TimedOut;
    check.counts = counts;
    check.tail = tail(&text);
    let passed = result.success();
    // exit code 5 of pytest: there are no tests, which is no failure of one
    if passed || check.name.starts_with("pytest") && result.exit == Some(5) {
        check.exit = Some(0);
        return;
    }
    if result.end != End::Itself {
        check.exit = None;
    }
    check.failures = failures;
    // a run that broke off says nothing of the tests that it did not reach
    if check.failures.is_empty() || result.end != End::Itself || result.signal.is_some() {
        check.failures.push(CheckFailure {
            id: plan.name.clone(),
            message: format!("`{}` {}", plan.name, result.ending()),
            ..CheckFailure::default()
        });
    }
}

fn tail(text: &str) -> String {
    if text.len() <= TAIL {
        return text.to_owned();
    }
    let from = (text.len() - TAIL..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    let end = &text[from..];
    end.split_once('\n')
        .map_or(end, |(_, whole_lines)| whole_lines)
        .to_owned()
}

/// One line for the log.
fn summary(check: &Check) -> String {
    let name = &check.name;
    if let Some(why) = &check.skipped {
        return format!("{name}: skipped, {why}");
    }
    let verdict = match (check.exit, check.timed_out) {
        (Some(0), false) => "passed".to_owned(),
        (_, true) => "ended by its time limit".to_owned(),
        (Some(code), _) => format!("failed with exit code {code}"),
        (None, _) => "failed".to_owned(),
    };
    let counts = check.counts.map_or_else(String::new, |counts| {
        format!(
            " ({} passed, {} failed, {} errors, {} skipped)",
            counts.passed, counts.failed, counts.errors, counts.skipped
        )
    });
    format!("{name}: {verdict}{counts} in {:.1} s", check.ms as f64 / 1000.0)
}

#[cfg(test)]
mod tests;
