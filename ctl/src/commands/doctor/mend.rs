//! `agentctl doctor --fix`: what can be mended without harm.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use protocol::http::workers::ResumeWorker;

use super::{Mend, Report};
use crate::{error::CliError, session::Session};

/// Mends what can be, and says so; whether anything was.
pub(super) async fn all(session: &Session, report: &Report) -> Result<bool, CliError> {
    let mends: Vec<&Mend> = report
        .findings
        .iter()
        .filter_map(|finding| finding.mend.as_ref())
        .collect();
    for mend in &mends {
        let done = one(session, mend).await?;
        session.out.say(&format!("mended: {done}"));
    }
    if mends.is_empty() {
        session.out.say("nothing here can be mended without a person");
    }
    Ok(!mends.is_empty())
}

async fn one(session: &Session, mend: &Mend) -> Result<String, CliError> {
    match mend {
        Mend::Protect(file) => {
            fs::set_permissions(file, Permissions::from_mode(0o600))
                .map_err(|error| CliError::file(file, "protect", &error))?;
            Ok(format!("chmod 600 {}", file.display()))
        }
        Mend::Resume(name) => {
            let name = name.clone();
            let worker = session.client()?.call(&ResumeWorker { name }).await?;
            Ok(format!("agentctl workers resume {}", worker.name))
        }
    }
}
