//! The one expression and template language of workflows (minijinja).
//!
//! Pure: no files, no clock, no loader; every evaluation has a budget of work
//! and of size, since templates and what they read come from users and models.
//! Where a rendered text goes is not decided here: the loader sees to it that
//! none reaches a shell.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    sync::LazyLock,
};

use minijinja::{
    AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value as Evaluated,
    syntax::SyntaxConfig,
    value::{Serde, ValueKind},
};
use serde_json::{Map, Value};

/// Work that one evaluation may do: about one unit per instruction and per 64
/// bytes, so that 48 KiB of outputs can be walked a hundred times over and at
/// most some 12 MB are ever allocated.
const FUEL: u64 = 200_000;

/// Largest result of one evaluation in bytes of JSON: some inputs of 64 KiB and
/// outputs of 48 KiB together.
const MAX_RESULT: usize = 1 << 20;

/// Longest expression or template in bytes.
const MAX_SOURCE: usize = 64 << 10;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(write_plain);
    environment.set_fuel(Some(FUEL));
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the standard delimiters are valid"));
    environment
});

/// Why an expression or a template has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// It is not written correctly.
    #[error("{text:?} cannot be read: {why}")]
    Syntax {
        /// Its beginning.
        text: String,
        /// What the parser says.
        why: String,
    },
    /// It cannot be applied to what is there.
    #[error("{text:?} cannot be evaluated: {why}")]
    Evaluation {
        /// Its beginning.
        text: String,
        /// What the evaluation says.
        why: String,
    },
    /// It names a filter, test or function that does not exist.
    #[error("{text:?} cannot be evaluated: {why}")]
    UnknownName {
        /// Its beginning.
        text: String,
        /// Which name.
        why: String,
    },
    /// It would take too much work or memory.
    #[error("{text:?} takes too much work or gives more than {} KiB", MAX_RESULT >> 10)]
    TooMuch {
        /// Its beginning.
        text: String,
    },
}

impl TemplateError {
    fn new(text: &str, error: &minijinja::Error) -> Self {
        let why = error
            .detail()
            .map_or_else(|| error.kind().to_string(), str::to_owned);
        let text = beginning(text);
        match error.kind() {
            ErrorKind::SyntaxError | ErrorKind::BadEscape => Self::Syntax { text, why },
            ErrorKind::UnknownFilter
            | ErrorKind::UnknownTest
            | ErrorKind::UnknownFunction
            | ErrorKind::UnknownMethod => Self::UnknownName { text, why },
            ErrorKind::OutOfFuel | ErrorKind::WriteFailure => Self::TooMuch { text },
            _ => Self::Evaluation { text, why },
        }
    }
}

/// The value of an expression; an undefined value is null.
pub fn evaluate(expression: &str, scope: &Value) -> Result<Value, TemplateError> {
    evaluate_in(expression, &to_evaluated(scope))
}

/// Whether an expression is true: not null, false, zero or empty.
pub fn is_true(expression: &str, scope: &Value) -> Result<bool, TemplateError> {
    Ok(run(expression, &to_evaluated(scope))?.is_true())
}

/// Renders every text in a value. A text that is exactly one `{{ expression }}`
/// becomes the expression's value with its type (null if undefined); keys of
/// maps stay as they are.
pub fn render(template: &Value, scope: &Value) -> Result<Value, TemplateError> {
    render_in(template, &to_evaluated(scope))
}

/// Renders a template to text; null and undefined values are empty, lists and
/// maps are JSON.
pub fn render_text(template: &str, scope: &Value) -> Result<String, TemplateError> {
    render_text_in(template, &to_evaluated(scope))
}

/// Whether a text holds any template syntax.
pub fn has_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|open| text.contains(open))
}

/// The expression of a text that is exactly one `{{ expression }}`.
pub fn single_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner).trim();
    ENVIRONMENT.compile_expression(inner).is_ok().then_some(inner)
}

/// The names that an expression looks up, as dotted paths such as
/// `steps.plan.outputs`; an error if it cannot be read or names an unknown filter.
pub fn names_in_expression(expression: &str) -> Result<BTreeSet<String>, TemplateError> {
    let compiled = compile(expression)?;
    if let Err(error @ TemplateError::UnknownName { .. }) = run(expression, &no_scope()) {
        return Err(error);
    }
    Ok(without_globals(compiled.undeclared_variables(true)))
}

/// The same for a template.
pub fn names_in_template(template: &str) -> Result<BTreeSet<String>, TemplateError> {
    let compiled = compile_template(template)?;
    if let Err(error @ TemplateError::UnknownName { .. }) = render_text_in(template, &no_scope()) {
        return Err(error);
    }
    Ok(without_globals(compiled.undeclared_variables(true)))
}

fn no_scope() -> Evaluated {
    to_evaluated(&Value::Object(Map::new()))
}

fn without_globals(names: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let is_global = |name: &str| ENVIRONMENT.globals().any(|(global, _)| global == name);
    names.into_iter().filter(|name| !is_global(name)).collect()
}

fn evaluate_in(expression: &str, scope: &Evaluated) -> Result<Value, TemplateError> {
    to_json(&run(expression, scope)?).ok_or_else(|| TemplateError::TooMuch {
        text: beginning(expression),
    })
}

fn run(expression: &str, scope: &Evaluated) -> Result<Evaluated, TemplateError> {
    compile(expression)?
        .eval(scope.clone())
        .map_err(|error| TemplateError::new(expression, &error))
}

fn render_in(template: &Value, scope: &Evaluated) -> Result<Value, TemplateError> {
    Ok(match template {
        Value::String(text) if !has_template(text) => template.clone(),
        Value::String(text) => match single_expression(text) {
            Some(expression) => evaluate_in(expression, scope)?,
            None => Value::String(render_text_in(text, scope)?),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| render_in(item, scope));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| Ok((key.clone(), render_in(value, scope)?)));
            Value::Object(entries.collect::<Result<_, TemplateError>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => template.clone(),
    })
}

fn render_text_in(template: &str, scope: &Evaluated) -> Result<String, TemplateError> {
    let mut output = Bounded::default();
    compile_template(template)?
        .render_captured_to(scope.clone(), &mut output)
        .map_err(|error| TemplateError::new(template, &error))?;
    Ok(String::from_utf8(output.0).expect("minijinja writes whole strings"))
}

fn compile(expression: &str) -> Result<minijinja::Expression<'_, '_>, TemplateError> {
    check_length(expression)?;
    ENVIRONMENT
        .compile_expression(expression)
        .map_err(|error| TemplateError::new(expression, &error))
}

fn compile_template(template: &str) -> Result<minijinja::Template<'_, '_>, TemplateError> {
    check_length(template)?;
    ENVIRONMENT
        .template_from_str(template)
        .map_err(|error| TemplateError::new(template, &error))
}

fn check_length(source: &str) -> Result<(), TemplateError> {
    if source.len() <= MAX_SOURCE {
        return Ok(());
    }
    Err(TemplateError::Syntax {
        text: beginning(source),
        why: format!("longer than {} KiB", MAX_SOURCE >> 10),
    })
}

/// How values appear in text: people and programs expect JSON, and nothing for nothing.
fn write_plain(out: &mut Output, state: &mut State, value: &Evaluated) -> Result<(), minijinja::Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok(()),
        ValueKind::Bool | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let text = to_json(value).ok_or_else(|| minijinja::Error::from(ErrorKind::OutOfFuel))?;
            out.write_str(&text.to_string()).map_err(minijinja::Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

fn to_evaluated(scope: &Value) -> Evaluated {
    Evaluated::from(Serde(scope))
}

/// `None` when it is too large; what JSON cannot hold is null.
fn to_json(value: &Evaluated) -> Option<Value> {
    let mut bytes = Bounded::default();
    serde_json::to_writer(&mut bytes, value).ok()?;
    serde_json::from_slice(&bytes.0).ok()
}

/// Takes at most [`MAX_RESULT`] bytes.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_RESULT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn beginning(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    text.chars().take(SHOWN).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
