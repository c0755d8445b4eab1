//! A process of our own program that outlives this one by a moment and ends what
//! it left, because nobody else would after a `kill -9`.
//!
//! It holds the other end of a pipe that closes with us, and our hold on the state
//! folder: the next life of the worker gets the folder when the last one is cleared up.

use std::{
    fs::File,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::tree;

/// Our own program, also after its file was replaced by an update.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Keeps the pipe open; never read, only held.
#[derive(Debug)]
#[must_use = "what is left is ended when this is dropped"]
pub struct Guardian {
    _child: Child,
}

impl Guardian {
    /// Starts it for a state folder and its lock.
    pub fn start(state_folder: &Path, lock: File) -> io::Result<Self> {
        let mut command = Command::new(OWN_PROGRAM);
        command
            .arg("guard")
            .arg("--state-dir")
            .arg(state_folder)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(lock)
            // Ctrl-C in a terminal is for us alone
            .process_group(0);
        let child = command.spawn()?;
        tree::set_apart(child.id());
        Ok(Self { _child: child })
    }
}
