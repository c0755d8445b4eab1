//! A controller, its workers, and clients who write down what they are told.

use std::{path::Path, sync::Arc, time::Duration};

use e2e::{Chance, Controller, Lab, Worker};

use crate::{
    history::History,
    seed,
    storm::{Storm, Weather},
    verdict::Verdict,
};

/// How long everything may take to come to its end.
const PATIENCE: Duration = Duration::from_secs(240);

/// One test's processes and what is known about them.
pub(crate) struct Scene {
    pub(crate) controller: Controller,
    pub(crate) workers: Vec<Worker>,
    pub(crate) history: Arc<History>,
    pub(crate) dice: Chance,
    pub(crate) seed: u64,
    /// Last, so that its files are there as long as anybody writes or reads them.
    _lab: Lab,
}

impl Scene {
    pub(crate) fn new(config: &str) -> Self {
        let lab = Lab::without_sandbox();
        let state = lab.path("controller");
        Self::at(lab, &state, config)
    }

    /// With the controller's state in this folder.
    pub(crate) fn at(lab: Lab, state: &Path, config: &str) -> Self {
        let seed = seed();
        let controller = lab.controller_at(state, config);
        let workers = ["one", "two"].map(|name| lab.worker(&controller, name)).into();
        let history = Arc::new(History::new(&lab));
        Self {
            controller,
            workers,
            history,
            dice: Chance::new(seed),
            seed,
            _lab: lab,
        }
    }

    /// Begins to submit and to look.
    pub(crate) fn storm(&mut self, leaves: bool) -> Storm {
        let weather = Weather {
            clients: 3,
            longest_ms: 300,
            leaves,
        };
        Storm::begin(&self.controller, &self.history, &mut self.dice, weather)
    }

    /// Waits for every job and stops the controller.
    pub(crate) fn calm(&mut self, storm: Storm) {
        storm.end(PATIENCE);
        self.controller.stop();
    }

    /// What comes out when what was told is compared with what is there.
    pub(crate) fn judge(&self) -> Verdict {
        Verdict::of(&self.history, &self.controller.state)
    }

    /// Waits for every job, and nothing may be wrong.
    pub(crate) fn end(mut self, storm: Storm) -> Verdict {
        self.calm(storm);
        let verdict = self.judge();
        verdict.passes(self.seed);
        verdict
    }
}
