//! Errors as people meet them: a stable code, one sentence, the cause, and a
//! hint with the next command.

use std::{error::Error, io, path::Path};

use protocol::http::problem::{self, Problem};
use serde_json::json;

use crate::{
    codes::Code,
    exit::Exit,
    output::{
        SCHEMA_VERSION,
        style::{Style, Tone},
        text::{clean, one_line},
    },
};

/// Whose code it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Found here.
    Own(Code),
    /// Said by the controller.
    Api(problem::Code),
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{sentence}")]
pub(crate) struct CliError {
    origin: Origin,
    sentence: String,
    cause: Option<String>,
    hint: Option<String>,
    /// Whoever read our output has gone: nothing is left to say.
    reader_gone: bool,
}

impl CliError {
    /// An error found here, in one sentence without a full stop.
    pub(crate) fn new(code: Code, sentence: impl Into<String>) -> Self {
        Self {
            origin: Origin::Own(code),
            sentence: sentence.into(),
            cause: None,
            hint: None,
            reader_gone: false,
        }
    }

    /// A file that cannot be read or written.
    pub(crate) fn file(path: &Path, doing: &str, error: &io::Error) -> Self {
        let sentence = format!("cannot {doing} {}", path.display());
        Self::new(Code::UnreadableFile, sentence).cause(error.to_string())
    }

    /// What lies behind it, in the words of whoever said so.
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The way out, with the exact command.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whose code it is and which.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// The stable code.
    pub(crate) fn code(&self) -> &'static str {
        match self.origin {
            Origin::Own(code) => code.as_str(),
            Origin::Api(code) => code.as_str(),
        }
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self.origin {
            _ if self.reader_gone => Exit::Done,
            Origin::Own(code) => code.exit(),
            Origin::Api(code) => exit_of(code),
        }
    }

    /// Whether there is nobody left to tell.
    pub(crate) fn is_reader_gone(&self) -> bool {
        self.reader_gone
    }

    /// The hint, or the command that knows more about the code.
    fn way_out(&self) -> String {
        self.hint
            .clone()
            .unwrap_or_else(|| format!("`agentctl explain {}` says what to do", self.code()))
    }

    /// The lines for people.
    pub(crate) fn render(&self, style: Style) -> String {
        let head = style.paint(&format!("error[{}]:", self.code()), Tone::Bad);
        let mut text = format!("{head} {}", one_line(&self.sentence));
        if let Some(cause) = &self.cause {
            let label = style.paint("  cause:", Tone::Dim);
            let indented = clean(cause).trim_end().replace('\n', "\n         ");
            text.push_str(&format!("\n{label} {indented}"));
        }
        let label = style.paint("  hint: ", Tone::Dim);
        text.push_str(&format!("\n{label} {}", clean(&self.way_out())));
        text
    }

    /// One line for programs.
    pub(crate) fn to_json(&self) -> String {
        json!({
            "schema_version": SCHEMA_VERSION,
            "error": {
                "code": self.code(),
                "message": self.sentence,
                "cause": self.cause,
                "hint": self.way_out(),
                "exit": self.exit() as u8,
            },
        })
        .to_string()
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        let reader_gone = error.kind() == io::ErrorKind::BrokenPipe;
        Self {
            reader_gone,
            ..Self::new(Code::Io, "reading or writing failed").cause(chain(&error))
        }
    }
}

impl From<Problem> for CliError {
    fn from(problem: Problem) -> Self {
        let sentence = match &problem.field {
            Some(field) if !problem.detail.contains(field.as_str()) => format!("{field}: {}", problem.detail),
            _ => problem.detail,
        };
        Self {
            origin: Origin::Api(problem.code),
            hint: problem.hint.or_else(|| hint_of(problem.code).map(str::to_owned)),
            ..Self::new(Code::UnexpectedAnswer, sentence)
        }
    }
}

/// An error and all that lies behind it; a part that repeats the one before is left out.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(&format!(": {next}"));
        }
        source = error.source();
    }
    text
}

/// The exit code that goes with a problem of the API.
pub(crate) const fn exit_of(code: problem::Code) -> Exit {
    use problem::Code as Api;
    match code {
        Api::Unauthenticated | Api::Forbidden => Exit::NotAuthorised,
        Api::NotFound => Exit::NotFound,
        Api::InvalidBody
        | Api::InvalidField
        | Api::InvalidQuery
        | Api::UnknownWorkflow
        | Api::InvalidWorkflow
        | Api::MissingInput
        | Api::UnknownSecret
        | Api::UnknownModel
        | Api::NoModel => Exit::Usage,
        Api::Unavailable => Exit::Unreachable,
        Api::MethodNotAllowed
        | Api::MissingBlob
        | Api::IdempotencyMismatch
        | Api::Conflict
        | Api::PreconditionFailed
        | Api::WrongOffset
        | Api::WrongHash
        | Api::TooLarge
        | Api::RateLimited
        | Api::InvalidJoinToken
        | Api::RangeNotSatisfiable
        | Api::Storage
        | Api::TooSlow
        | Api::Internal => Exit::Failed,
    }
}

/// The way out where the controller names none.
const fn hint_of(code: problem::Code) -> Option<&'static str> {
    use problem::Code as Api;
    match code {
        Api::Unauthenticated => Some("give a token: `agentctl login URL`, or set AGENTCTL_TOKEN"),
        Api::Forbidden => Some(
            "use a token with more scopes: an admin makes one with `agentctl tokens create NAME --scope run`",
        ),
        Api::NotFound => Some("`agentctl ps`, `agentctl workers` and `agentctl workflows` list the names"),
        Api::UnknownWorkflow => Some("`agentctl workflows` lists the names"),
        Api::Unavailable => Some("wait a little and try again, or run `agentctl doctor`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_alone() {
        let error = CliError::new(Code::NotARepository, "/tmp/x is not inside a git repository")
            .cause("fatal: not a git repository\nsecond line")
            .hint("name one with `--repo PATH|URL`");
        insta::assert_snapshot!(error.render(Style::PLAIN), @r"
        error[not_a_repository]: /tmp/x is not inside a git repository
          cause: fatal: not a git repository
                 second line
          hint:  name one with `--repo PATH|URL`
        ");
        insta::assert_snapshot!(error.to_json(), @r#"{"schema_version":1,"error":{"code":"not_a_repository","message":"/tmp/x is not inside a git repository","cause":"fatal: not a git repository\nsecond line","hint":"name one with `--repo PATH|URL`","exit":2}}"#);
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn a_problem_keeps_its_code_field_and_hint() {
        let problem = Problem::new(problem::Code::MissingInput, "the workflow needs this input")
            .field("inputs.task", "")
            .hint("add `--input task=TEXT`");
        insta::assert_snapshot!(CliError::from(problem).render(Style::PLAIN), @r"
        error[missing_input]: inputs.task: the workflow needs this input
          hint:  add `--input task=TEXT`
        ");
        let problem = Problem::new(problem::Code::Unauthenticated, "the token is \u{1b}[31munknown");
        insta::assert_snapshot!(CliError::from(problem).render(Style::PLAIN), @r"
        error[unauthenticated]: the token is unknown
          hint:  give a token: `agentctl login URL`, or set AGENTCTL_TOKEN
        ");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(error.is_reader_gone());
        assert_eq!(error.exit(), Exit::Done);
    }
}
