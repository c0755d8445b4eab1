//! What every command gets: the output, the wishes of the global flags, and a
//! client when it needs one.

use service::tls::Fingerprint;

use crate::{
    cli::Global,
    client::Client,
    context::{Places, Target, Wishes},
    error::CliError,
    output::{Out, progress::ProgressChoice},
};

/// One invocation of the command line.
#[derive(Debug)]
pub(crate) struct Session {
    /// Where results and talk go.
    pub(crate) out: Out,
    /// This user's files.
    pub(crate) places: Places,
    /// How progress is shown.
    pub(crate) progress: ProgressChoice,
    /// Whether nothing may be asked.
    pub(crate) no_input: bool,
    wishes: Wishes,
}

impl Session {
    /// From the global flags.
    pub(crate) fn new(global: Global) -> Self {
        Self {
            out: Out::new(global.output, global.color),
            places: Places::from_env(),
            progress: global.progress,
            no_input: global.no_input,
            // an empty variable is one that is not set
            wishes: Wishes {
                url: global.url.filter(|url| !url.is_empty()),
                token: global.token.filter(|token| !token.is_empty()),
                fingerprint: global.fingerprint,
                context: global.context.filter(|context| !context.is_empty()),
            },
        }
    }

    /// Finds the controller.
    pub(crate) fn target(&self) -> Result<Target, CliError> {
        self.places.find(&self.wishes)
    }

    /// A client for the controller that was found.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        Client::new(self.target()?)
    }

    /// The fingerprint that a flag or the environment gave.
    pub(crate) fn given_fingerprint(&self) -> Option<Fingerprint> {
        self.wishes.fingerprint
    }

    /// The token that a flag or the environment gave.
    pub(crate) fn given_token(&self) -> Option<&str> {
        self.wishes.token.as_deref()
    }
}
