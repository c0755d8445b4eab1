//! Asks on the terminal without showing what is typed.

use std::io::{self, Write};

use crossterm::{
    event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read},
    terminal::{disable_raw_mode, enable_raw_mode},
};

use crate::{error::CliError, session::Session};

/// Asks; `None` if whoever was asked gave up.
pub(crate) fn ask(session: &Session, what: &str) -> Result<Option<String>, CliError> {
    write!(io::stderr(), "{what}: ")?;
    io::stderr().flush()?;
    enable_raw_mode()?;
    let answer = type_unseen();
    disable_raw_mode()?;
    session.out.say("");
    Ok(answer?)
}

fn type_unseen() -> io::Result<Option<String>> {
    let mut text = String::new();
    loop {
        let Event::Key(KeyEvent {
            code,
            modifiers,
            kind,
            ..
        }) = read()?
        else {
            continue;
        };
        match code {
            _ if kind == KeyEventKind::Release => {}
            KeyCode::Enter => return Ok(Some(text)),
            KeyCode::Esc => return Ok(None),
            KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => return Ok(None),
            KeyCode::Char(c) => text.push(c),
            KeyCode::Backspace => {
                text.pop();
            }
            _ => {}
        }
    }
}
