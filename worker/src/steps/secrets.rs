//! The secrets that a step names, for its command alone: fetched once, hidden in everything
//! that is written down, and never on a command line.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use futures::future::BoxFuture;
use protocol::{
    secret::SecretForm,
    step::{ErrorClass, StepError},
};
use service::secret::Secret;

use super::{StepContext, measure::unusable};

/// How an attempt gets the secrets that its step names.
pub trait SecretSource: Send + Sync {
    /// By name, once. Whoever gets them finds them hidden in the log already.
    fn secrets(&self) -> BoxFuture<'_, Result<BTreeMap<String, Secret>, StepError>>;
}

/// What a command gets.
#[derive(Default)]
pub(super) struct Delivered {
    /// Variables of its environment.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// The folder with its files, if there are any; it goes with the attempt's private folder.
    pub(super) folder: Option<PathBuf>,
}

/// Fetches and lays out what the step names.
pub(super) async fn deliver(cx: &StepContext) -> Result<Delivered, StepError> {
    let mut delivered = Delivered::default();
    if cx.spec.secrets.is_empty() {
        return Ok(delivered);
    }
    let mut values = cx.secrets.secrets().await?;
    for wanted in &cx.spec.secrets {
        let value = values.remove(&wanted.name).ok_or_else(|| {
            let message = format!("the controller did not hand out the secret {}", wanted.name);
            StepError::new(ErrorClass::Infra, message)
        })?;
        let variable = match wanted.form {
            SecretForm::Env => (OsString::from(&wanted.name), OsString::from(value.expose())),
            SecretForm::File => {
                let folder = cx.scratch.join("secrets");
                let file = folder.join(&wanted.name);
                write(&folder, &file, value.expose()).map_err(|error| unusable(&file, &error))?;
                delivered.folder = Some(folder);
                (
                    OsString::from(format!("{}_FILE", wanted.name)),
                    file.into_os_string(),
                )
            }
        };
        delivered.environment.push(variable);
    }
    Ok(delivered)
}

/// A file that nobody else can read, in a folder that nobody else can enter.
fn write(folder: &Path, file: &Path, text: &str) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).recursive(true).create(folder)?;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text.as_bytes())
}
