//! From the candidates of an attempt to models that can be asked.

use std::collections::HashMap;

use protocol::{
    artifact::BlobRef,
    spec::AgentWork,
    step::{ErrorClass, StepError},
};

use crate::{
    agents::desk::Desk,
    llm::{self, Models},
    steps::StepContext,
};

/// The models of the attempt, with their providers.
pub(super) async fn models(cx: &StepContext, work: &AgentWork, desk: &Desk) -> Result<Models, StepError> {
    let http = llm::http_client()?;
    let (mut providers, mut timeouts) = (HashMap::new(), HashMap::new());
    for definition in cx.providers.providers().await? {
        let recording = match definition.recording {
            Some(blob) => Some(read_recording(cx, blob).await?),
            None => None,
        };
        let provider = llm::connect(&definition, &http, recording)?;
        timeouts.insert(definition.name.clone(), definition.timeouts);
        providers.insert(definition.name, provider);
    }
    let step = cx.assign.step.to_string();
    let models = Models::new(step, work.candidates.clone(), providers, desk.listeners())?;
    Ok(models.max_calls(work.max_calls).timeouts(timeouts))
}

async fn read_recording(cx: &StepContext, blob: BlobRef) -> Result<Vec<u8>, StepError> {
    let file = cx.blobs.fetch(blob).await?;
    tokio::fs::read(&file).await.map_err(|error| {
        StepError::new(
            ErrorClass::Infra,
            format!("the recording cannot be read: {error}"),
        )
    })
}
