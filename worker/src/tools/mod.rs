//! What a step may do with the machine: run programs, use git, touch files of
//! a workspace, run the repository's checks.
//!
//! Programs, repositories and their output are hostile: nothing here takes an
//! instruction from them, and no text reaches a shell by interpolation.

pub mod checks;
pub mod dependencies;
pub mod environment;
pub mod exec;
pub mod git;
