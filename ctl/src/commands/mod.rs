//! One file a verb.

pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod artifacts;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod login;
pub(crate) mod logs;
pub(crate) mod ps;
pub(crate) mod reject;
pub(crate) mod report;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod submit;
pub(crate) mod tokens;
pub(crate) mod wait;
pub(crate) mod watch;
pub(crate) mod why;
pub(crate) mod workers;
pub(crate) mod workflows;
