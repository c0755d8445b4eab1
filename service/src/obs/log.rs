//! Log lines on standard error: text on a terminal, JSON otherwise.
//!
//! One record is one line, whatever text of strangers is in it: control
//! characters are made visible, except the colours that the formatter writes.

use std::io::{self, IsTerminal, Write};

use serde::Deserialize;
use tracing_subscriber::{filter::Targets, fmt::MakeWriter, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::Invalid;

/// Libraries that say at `info` what only their authors want to know.
const QUIET: &str = "rumqttd=error,rumqttc=warn,hyper=warn,h2=warn,reqwest=warn";

/// Logging that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a level.
    #[error(
        "{source_name} = {level:?}: expected error, warn, info, debug or trace, or target=level pairs: {cause}"
    )]
    Level {
        /// `log.level` or `RUST_LOG`.
        source_name: &'static str,
        /// What was there.
        level: String,
        /// What the parser says.
        cause: tracing_subscriber::filter::ParseError,
    },
    /// It was set up before.
    #[error("logging was set up twice")]
    Twice,
}

/// `log:` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// As [`init`] takes it.
    pub level: String,
}

impl LogConfig {
    /// Checks the level.
    pub fn check(&self) -> Result<(), Invalid> {
        match filter(&self.level, None) {
            Ok(_) => Ok(()),
            Err(_) => Err(Invalid::new("log.level", EXPECTED)),
        }
    }
}

/// What a level may be.
const EXPECTED: &str = "expected error, warn, info, debug or trace, or target=level pairs";

/// Sets logging up for the process. `level` is a level such as `info` or pairs such as
/// `info,controller::broker=debug`; `RUST_LOG` wins over it.
pub fn init(level: &str) -> Result<(), LogError> {
    let registry = tracing_subscriber::registry().with(filter(level, std::env::var("RUST_LOG").ok())?);
    let layer = tracing_subscriber::fmt::layer().with_writer(OneLine(io::stderr));
    let set = if io::stderr().is_terminal() {
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        registry
            .with(layer.with_target(false).with_ansi(colour))
            .try_init()
    } else {
        registry.with(layer.json().flatten_event(true)).try_init()
    };
    set.map_err(|_| LogError::Twice)
}

fn filter(level: &str, variable: Option<String>) -> Result<Targets, LogError> {
    let variable = variable.filter(|text| !text.trim().is_empty());
    let (source_name, level) = match variable {
        Some(text) => ("RUST_LOG", text),
        None => ("log.level", level.to_owned()),
    };
    format!("{QUIET},{level}")
        .parse()
        .map_err(|cause| LogError::Level {
            source_name,
            level,
            cause,
        })
}

/// Makes writers that keep a record on one line.
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter(self.0.make_writer())
    }
}

/// The formatter hands over one whole record with each write.
struct OneLineWriter<W>(W);

impl<W: Write> Write for OneLineWriter<W> {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        if is_plain(record) {
            self.0.write_all(record)?;
        } else {
            self.0
                .write_all(one_line(&String::from_utf8_lossy(record)).as_bytes())?;
        }
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether a record is one line of printable ASCII, as nearly all are.
fn is_plain(record: &[u8]) -> bool {
    let body = record.strip_suffix(b"\n");
    body.is_some_and(|body| body.iter().all(|c| matches!(c, b' '..=b'~')))
}

/// Makes control and bidirectional characters visible, but the last line end and colours.
fn one_line(record: &str) -> String {
    let body = record.strip_suffix('\n').unwrap_or(record);
    let mut out = String::with_capacity(record.len());
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        let length = colour_length(rest).unwrap_or(0);
        if length > 0 {
            out.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        match c {
            '\t' => out.push(c),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    out.push('\n');
    out
}

/// The length of a colour sequence (`ESC [ digits ; … m`) at the start of `text`. The formatter
/// escapes those in messages and fields of strangers, so that only its own are left.
fn colour_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("\u{1b}[")?;
    let length = inner.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    inner[length..].starts_with('m').then_some(length + 3)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_record_stays_on_its_line_and_keeps_its_colours() {
        assert_eq!(
            one_line("\u{1b}[32m INFO\u{1b}[0m got a\nb\u{1b}[2J\u{7}\u{202e}\n"),
            "\u{1b}[32m INFO\u{1b}[0m got a\\nb\\u{1b}[2J\\u{7}\\u{202e}\n"
        );
        assert_eq!(one_line("é\ttab"), "é\ttab\n");
        assert!(is_plain(b"{\"level\":\"INFO\"}\n"));
        for record in [
            "two\nlines\n",
            "no end",
            "tab\t\n",
            "\u{1b}[32m\n",
            "é\n",
            "\u{7f}\n",
        ] {
            assert!(!is_plain(record.as_bytes()), "{record:?}");
        }
    }

    #[test]
    fn levels_are_checked_and_the_environment_wins() {
        assert!(filter("info,controller=debug", None).is_ok());
        let error = filter("loud=very", None).expect_err("no level").to_string();
        assert!(
            error.starts_with("log.level = \"loud=very\": expected error, warn"),
            "{error}"
        );
        let error = filter("info", Some("a=b".into()))
            .expect_err("no level")
            .to_string();
        assert!(error.starts_with("RUST_LOG"), "{error}");
        assert!(filter("info", Some(" ".into())).is_ok());
    }

    #[test]
    fn json_records_hold_what_was_said() {
        #[derive(Clone, Default)]
        struct Buffer(Arc<Mutex<Vec<u8>>>);
        impl Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().expect("no panic").write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let buffer = Buffer::default();
        let seen = buffer.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(OneLine(move || buffer.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(job = 42, "title is \u{1b}[31mred\nand long");
        });
        let bytes = seen.0.lock().expect("no panic").clone();
        let text = String::from_utf8(bytes).expect("UTF-8");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(record["job"], 42);
        assert_eq!(record["message"], "title is \u{1b}[31mred\nand long");
        assert_eq!(text.matches('\n').count(), 1);
    }
}
