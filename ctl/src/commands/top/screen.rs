//! The terminal while `top` has it, and as it was before: on every way out, also
//! a panic.

use std::{
    io::{self, Stdout},
    panic,
};

use crossterm::{
    cursor::Show,
    execute,
    style::force_color_output,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend};

/// The screen of this process.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    colors: bool,
    open: bool,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open(colors: bool) -> io::Result<Self> {
        force_color_output(colors);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // what cannot be restored cannot be told either
            let _ = restore();
            before(panic);
        }));
        enable_raw_mode()?;
        let entered = execute!(io::stdout(), EnterAlternateScreen);
        let terminal = entered.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match terminal {
            Ok(terminal) => Ok(Self {
                terminal,
                colors,
                open: true,
            }),
            Err(error) => {
                restore()?;
                Err(error)
            }
        }
    }

    /// Draws one picture.
    pub(super) fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>, bool)) -> io::Result<()> {
        let colors = self.colors;
        self.terminal.draw(|frame| picture(frame, colors)).map(|_| ())
    }

    /// Gives the terminal back.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.open = false;
        restore()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.open {
            let _ = restore();
        }
    }
}

fn restore() -> io::Result<()> {
    let left = execute!(io::stdout(), LeaveAlternateScreen, Show);
    disable_raw_mode()?;
    left
}
