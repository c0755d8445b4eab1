//! What goes wrong in a schedule, and what people do meanwhile.

use controller::orchestrator::{Event, approval::Decision};
use protocol::{
    approval::Answer,
    id::{JobId, WorkerId},
    job::StepKey,
    step::StepState,
    worker::Wanted,
};

use crate::{Part, Variant, disk::Trouble, schedule::Schedule};

/// Things that happen in one schedule before everything goes well.
const HAPPENINGS: u64 = 45;
/// The clock of a machine without a battery starts in 1970.
const IN_1970_MS: i64 = -1_799_000_000_000;

impl Schedule {
    /// Everything that the seed has in store, with time in between.
    pub(crate) fn suffer(&mut self) {
        for _ in 0..HAPPENINGS {
            self.happening();
            let longest = [1, 50, 2_000, 15_000, 60_000, 60_000, 300_000];
            let longest = self.random.pick(&longest).unwrap_or(1);
            let wait = self.random.below(longest);
            self.run_until(self.now + wait);
        }
    }

    fn happening(&mut self) {
        match self.random.below(32) {
            0..=7 => self.submit(),
            8..=15 => self.person(),
            16..=18 => self.drop_connection(),
            19 | 20 => self.cut(),
            21..=24 => self.crash_worker(),
            25 => self.controller_dies(),
            26 => self.jump(),
            27 | 28 => self.trouble(),
            29 => self.stop_worker(),
            _ => {}
        }
    }

    fn a_worker(&mut self) -> Option<WorkerId> {
        let workers: Vec<WorkerId> = self.workers.keys().copied().collect();
        self.random.pick(&workers)
    }

    fn drop_connection(&mut self) {
        if let Some(worker) = self.a_worker() {
            let by_host = self.random.one_in(2);
            self.close(worker, by_host);
        }
    }

    fn cut(&mut self) {
        let Some(worker) = self.a_worker() else {
            return;
        };
        let until = self.now + self.random.below(400_000);
        let (up, down) = self
            .random
            .pick(&[(true, true), (true, false), (false, true)])
            .unwrap_or_default();
        for (direction, cut) in [(true, up), (false, down)] {
            if cut {
                self.cuts.insert((worker, direction), until);
            }
        }
        // both ends notice only by their keep-alive
        if self.random.one_in(2) {
            self.close(worker, false);
        }
    }

    fn crash_worker(&mut self) {
        let now = self.now;
        let power = self.random.one_in(2);
        let Some(id) = self.a_worker() else {
            return;
        };
        let by_host = self.random.one_in(2);
        self.close(id, by_host);
        let wiped = self.variant == Variant::Without(Part::Journal);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.die(now, power);
            if wiped {
                worker.disk.wipe();
            }
        }
    }

    fn stop_worker(&mut self) {
        let now = self.moment();
        if let Some(worker) = self.a_worker().and_then(|id| self.workers.get_mut(&id)) {
            worker.stop(now);
        }
    }

    fn jump(&mut self) {
        let offset = if self.random.one_in(6) {
            IN_1970_MS
        } else {
            self.random.below(7_200_000) as i64 - 3_600_000
        };
        self.set_wall(offset);
    }

    fn trouble(&mut self) {
        let trouble = self
            .random
            .pick(&[Trouble::None, Trouble::None, Trouble::Full, Trouble::Sync]);
        if let (Some(id), Some(trouble)) = (self.a_worker(), trouble) {
            self.workers[&id].disk.set_trouble(trouble);
        }
    }

    fn person(&mut self) {
        let Some(job) = self.random.pick(&self.submitted) else {
            return;
        };
        match self.random.below(16) {
            0..=2 => {
                self.decide(Event::CancelJob(job));
            }
            3..=5 => {
                self.decide(Event::RetryJob(job));
            }
            6 | 7 => {
                self.decide(Event::ResumeJob(job));
            }
            8 | 9 => {
                let now = self.controller_now();
                let mut late = self.controller.salvageable(job, now);
                if !late.is_empty() {
                    let which = self.random.below(late.len() as u64) as usize;
                    self.decide(late.swap_remove(which));
                }
            }
            10 => {
                let paused = self.random.one_in(2);
                self.decide(Event::PauseDispatch(paused));
            }
            11 if self.workers.len() > 1 => self.remove_worker(),
            12 | 13 => self.answer(job),
            _ => {
                let wanted = [Wanted::Active, Wanted::Active, Wanted::Paused, Wanted::Draining];
                let wanted = self.random.pick(&wanted).unwrap_or(Wanted::Active);
                if let Some(worker) = self.a_worker() {
                    self.decide(Event::WorkerWanted { worker, wanted });
                }
            }
        }
    }

    /// Somebody decides about a step, more often than not about one that waits for it.
    fn answer(&mut self, job: JobId) {
        let anything = self.random.one_in(4);
        let job_of = self.controller.world.jobs.get(&job);
        let steps = job_of.into_iter().flat_map(|job| &job.steps);
        let keys: Vec<StepKey> = steps
            .filter(|step| anything || step.state == StepState::Awaiting)
            .map(|step| step.key.clone())
            .collect();
        if let (Some(step), Some(answer)) = (self.random.pick(&keys), self.random.pick(Answer::ALL)) {
            for _ in 0..=self.random.below(2) {
                self.answer_step(job, step.clone(), answer);
            }
        }
    }

    /// Somebody decides about this step.
    pub(crate) fn answer_step(&mut self, job: JobId, step: StepKey, answer: Answer) {
        let decision = Decision {
            answer,
            by: "somebody".to_owned(),
            reason: None,
            seen: None,
        };
        self.decide(Event::DecideStep { job, step, decision });
    }

    fn remove_worker(&mut self) {
        let first = self.workers.keys().next().copied();
        // the first one stays, so that somebody has what every step requires
        let Some(worker) = self.a_worker().filter(|id| Some(*id) != first) else {
            return;
        };
        let wanted = Wanted::Removed;
        if let Some(Ok(())) = self.decide(Event::WorkerWanted { worker, wanted }) {
            self.workers.remove(&worker);
            self.join(true);
        }
    }
}
