//! A pseudo-terminal, held by `script` of util-linux, in which a command line runs.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use crate::{Controller, eventually, lab::binary};

/// What Ctrl-C sends.
pub const CTRL_C: u8 = 0x03;

/// Begins a drawing that a terminal shows at once.
const BEGIN_FRAME: &str = "\u{1b}[?2026h";
/// Ends it.
const END_FRAME: &str = "\u{1b}[?2026l";

/// 100 columns and 30 rows; what runs in it ends with it.
pub struct Terminal {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts a command line that knows the controller and finds `agentctl`.
    pub fn start(controller: &Controller, line: &str, environment: &[(&str, &str)]) -> Self {
        let folder = binary("agentctl").parent().map(Path::to_owned);
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", folder.expect("a folder").display());
        let line = format!("stty rows 30 cols 100; {line}");
        let mut command = Command::new("script");
        controller
            .known_to(&mut command)
            .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
            .env("PATH", path)
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("`script` of util-linux starts");
        let keys = child.stdin.take().expect("a pipe");
        let mut screen = child.stdout.take().expect("a pipe");
        let shown: Arc<Mutex<Vec<u8>>> = Arc::default();
        let store = shown.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut piece) {
                store.lock().expect("nobody panics").extend(&piece[..count]);
            }
        });
        Self {
            child,
            keys,
            shown,
            reader: Some(reader),
        }
    }

    /// Sends a key.
    pub fn press(&mut self, key: u8) {
        self.keys.write_all(&[key]).expect("the terminal takes keys");
        self.keys.flush().expect("the terminal takes keys");
    }

    /// All that was written to it so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("nobody panics")).into_owned()
    }

    /// Waits until it shows this.
    pub fn shows(&self, part: &str) {
        eventually(&format!("{part:?} on the terminal"), || {
            self.text().contains(part).then_some(())
        });
    }

    /// Waits for the end; answers the exit code and all that was written.
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = eventually("the command line to end", || {
            self.child.try_wait().expect("a child")
        });
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader ends with the terminal");
        }
        (status.code(), self.text())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // it may have ended by itself
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The drawings within what was written, each without control sequences.
pub fn frames(written: &str) -> Vec<String> {
    let drawings = written.split(BEGIN_FRAME).skip(1);
    drawings
        .filter_map(|drawing| Some(plain(drawing.split_once(END_FRAME)?.0)))
        .collect()
}

/// Text without control sequences and carriage returns.
pub fn plain(written: &str) -> String {
    let mut pieces = written.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    let text = pieces.fold(first, |text, piece| {
        let rest = piece.split_once(|c: char| ('@'..='~').contains(&c));
        text + rest.map_or("", |(_, rest)| rest)
    });
    text.replace('\r', "")
}

/// Whether text is painted, whatever else moves the cursor.
pub fn is_painted(written: &str) -> bool {
    written.split("\u{1b}[").skip(1).any(|piece| {
        let end = piece.find(|c: char| ('@'..='~').contains(&c));
        end.is_some_and(|end| piece[end..].starts_with('m'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_are_told_from_what_stands_around_them() {
        let written = "\u{1b}[?25l\u{1b}[?2026ha \u{1b}[32mb\u{1b}[0m\r\n\u{1b}[?2026l\u{1b}[?2026h\u{1b}[1A\u{1b}[Jc\r\n\u{1b}[?2026lend";
        assert_eq!(frames(written), ["a b\n", "c\n"]);
        assert!(is_painted(written));
        assert!(!is_painted("\u{1b}[?2026h\u{1b}[1A"));
        assert!(plain(written).ends_with("c\nend"));
    }
}
