//! `agentctl topics`: what may be read and said over MQTT.

use clap::Args;
use protocol::http::topics::GetTopics;

use crate::{error::CliError, exit::Exit, session::Session};

/// Print the AsyncAPI document of the MQTT topics, for programs
#[derive(Debug, Args)]
pub(crate) struct Topics {}

impl Topics {
    /// The same for every format: whoever reads it wants the document and nothing around it.
    pub(crate) async fn run(self, session: &Session) -> Result<Exit, CliError> {
        let document = session.client()?.call(&GetTopics {}).await?;
        session.out.line(&format!("{document:#}"))?;
        Ok(Exit::Done)
    }
}
