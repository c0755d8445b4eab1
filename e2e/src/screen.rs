//! A terminal of any size, drawn by tmux: what it shows at a moment, row by row,
//! as a person sees it.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{Controller, eventually, lab::binary};

/// A server of tmux of its own with one window; it ends with this value.
pub struct Screen {
    folder: TempDir,
    columns: usize,
}

impl Screen {
    /// Whether tmux is here; says so if not.
    pub fn possible() -> bool {
        let found = Command::new("tmux")
            .arg("-V")
            .output()
            .is_ok_and(|output| output.status.success());
        if !found {
            crate::skip("tmux is not installed, so that no screen is captured");
        }
        found
    }

    /// A command line that knows the controller and finds `agentctl`, on a screen of this size. What it
    /// ended with stands below it as `ended with CODE`.
    pub fn start(
        controller: &Controller,
        (columns, rows): (usize, usize),
        line: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let screen = Self {
            folder: TempDir::new().expect("a folder"),
            columns,
        };
        let folder = binary("agentctl").parent().map(Path::to_owned).expect("a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = screen.tmux();
        controller
            .known_to(&mut command)
            .args(["-f", "/dev/null", "new-session", "-d"])
            .args(["-x", &columns.to_string(), "-y", &rows.to_string()])
            .arg(format!("{line}; echo \"ended with $?\"; exec sleep 600"))
            .env("PATH", format!("{}:{path}", folder.display()))
            .env("SHELL", "/bin/sh")
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .envs(environment.iter().copied());
        let output = command.output().expect("tmux starts");
        assert!(output.status.success(), "{output:?}");
        screen
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }

    fn tmux(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(self.socket());
        command
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        self.tmux().args(arguments).output().expect("tmux runs")
    }

    /// Presses keys, as tmux names them.
    pub fn press(&self, keys: &str) {
        assert!(self.ask(&["send-keys", keys]).status.success(), "{keys}");
    }

    /// Gives it another size.
    pub fn resize(&mut self, (columns, rows): (usize, usize)) {
        let size = [columns.to_string(), rows.to_string()];
        let resized = self.ask(&["resize-window", "-x", &size[0], "-y", &size[1]]);
        assert!(resized.status.success(), "{resized:?}");
        self.columns = columns;
    }

    /// The rows as they stand now, without blanks at their ends. A row that went over the edge is
    /// joined with the one below, so that it is longer than the screen is wide.
    pub fn rows(&self) -> Vec<String> {
        let captured = self.ask(&["capture-pane", "-p", "-J"]);
        let text = String::from_utf8_lossy(&captured.stdout).into_owned();
        text.lines().map(|row| row.trim_end().to_owned()).collect()
    }

    /// The same with its colours.
    pub fn painted(&self) -> String {
        let captured = self.ask(&["capture-pane", "-p", "-e"]);
        String::from_utf8_lossy(&captured.stdout).into_owned()
    }

    /// Waits until a row has all these parts; answers all rows, none of which is wrapped.
    pub fn shows(&self, parts: &[&str]) -> Vec<String> {
        let rows = eventually(&format!("{parts:?} on the screen"), || {
            let rows = self.rows();
            parts
                .iter()
                .all(|part| rows.iter().any(|row| row.contains(part)))
                .then_some(rows)
        });
        for row in &rows {
            assert!(row.chars().count() <= self.columns, "wrapped: {rows:#?}");
        }
        rows
    }

    /// The process that draws.
    pub fn foreground(&self) -> String {
        let asked = self.ask(&["display-message", "-p", "#{pane_pid}"]);
        String::from_utf8_lossy(&asked.stdout).trim().to_owned()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.tmux().arg("kill-server").output();
    }
}
