//! Renews this worker's certificate at two thirds of its life, over the connection
//! that the present one opens. What is stored is shown from then on; should the
//! process end in between, the old one is still good.

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use protocol::http::join::RenewWorker;
use service::clock::SharedClock;
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    credential::{Certified, Credential, CredentialError, Key, Shown},
    folder::{FolderError, StateFolder},
    telemetry,
    upload::{Controller, HttpError},
};

/// It looks at the clock at least this often: the time of day may jump.
const LOOK: SignedDuration = SignedDuration::from_hours(1);
/// After a failure it tries again within this share of the certificate's life, or within an hour.
const RETRY_SHARE: i32 = 20;
/// Between two tries at the least.
const LEAST: Duration = Duration::from_millis(500);

/// Everything that a renewal needs.
pub struct Renewal {
    /// Where the credential is kept.
    pub folder: Arc<StateFolder>,
    /// What is renewed.
    pub credential: Credential,
    /// The part of it that is.
    pub certified: Certified,
    /// What connections show.
    pub shown: Arc<Shown>,
    /// Base URL of whom to ask.
    pub controller: String,
    /// How.
    pub access: Access,
    /// Time.
    pub clock: SharedClock,
}

/// Why a certificate was not renewed.
#[derive(Debug, thiserror::Error)]
enum NotRenewed {
    #[error(transparent)]
    Asked(#[from] HttpError),
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl Renewal {
    /// Renews whenever it is time, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut wait = self.certified.renewal_in(self.clock.wall());
        loop {
            let nap = Duration::try_from(wait.min(LOOK)).unwrap_or_default();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(nap) => {}
            }
            wait = self.certified.renewal_in(self.clock.wall());
            if wait > SignedDuration::ZERO {
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    wait = self.certified.renewal_in(self.clock.wall());
                    telemetry::certificate_renewed(self.certified.life());
                }
                Err(error) => {
                    telemetry::certificate_not_renewed(&error, self.certified.left(self.clock.wall()));
                    wait = (self.certified.life() / RETRY_SHARE)
                        .max(SignedDuration::try_from(LEAST).unwrap_or_default());
                }
            }
        }
    }

    async fn renew(&mut self) -> Result<(), NotRenewed> {
        let key = Key::generate()?;
        let request = RenewWorker {
            public_key: key.public()?,
        };
        // on a connection of its own: one that was open before would show an older certificate
        let controller = Controller::new(&self.controller, self.access.clone())?;
        let issued = controller.renew(&request).await?;
        let certified = self.certified.renewed(issued, key, self.clock.wall())?;
        self.credential.certified = Some(certified.clone());
        // first to the disk: what is shown once may open the door alone from then on
        self.folder.store_credential(&self.credential)?;
        self.shown.replace(&certified)?;
        self.certified = certified;
        Ok(())
    }
}
