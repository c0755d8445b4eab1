//! Whatever the order of jobs, uploads and looks: what is named is there.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;
use protocol::{
    artifact::{ArtifactRef, BlobRef, Sha256},
    http::jobs::ListJobs,
    id::{AttemptId, JobId, WorkerId},
    job::StepKey,
    message::{Session, ToWorker},
    spec::RepoSource,
};
use serde_json::json;
use service::{
    ballast::Ballast,
    clock::{Clock, ManualClock},
};
use sha2::Digest;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    engine::{self, Core, CoreParts, Outlet, SubmitKey},
    orchestrator::{Event as Happening, World, tests::sim::Sim, world::Job},
    state::{Store, artifacts, views},
    telemetry::Telemetry,
};

/// The year 2100: files carry the machine's time, and must look old to the house's clock.
const NOW: i64 = 4_102_444_800;

struct Nobody;

impl Outlet for Nobody {
    fn say(&self, _: WorkerId, _: Session, _: u64, _: ToWorker) {}
    fn kick(&self, _: WorkerId) {}
}

/// A controller's inside: engine, files, and the one who removes.
struct House {
    retention: Retention,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl House {
    fn open(folder: &Path, bounds: Bounds) -> Self {
        let database = folder.join("agentd.db");
        let clock = Arc::new(ManualClock::new(Timestamp::from_second(NOW).expect("in range")));
        let store = Store::open(&database).expect("opens");
        let readers = Readers::open(&database).expect("opens");
        let (engine, inbox) = engine::channel();
        let parts = CoreParts {
            store,
            ballast: Ballast::new(folder.join("ballast")),
            world: World::default(),
            epoch: 1,
            clock: clock.clone(),
            outlet: Box::new(Nobody),
            telemetry: Telemetry::new("test"),
            denials: crate::denials::Denials::default(),
        };
        let core = Core::new(parts, inbox).expect("loads");
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || core.run(&stopped).expect("runs"));
        let retention = Retention {
            bounds,
            engine,
            readers,
            blobs: BlobStore::open(folder, 1 << 20, 0).expect("opens"),
            logs: Logs::open(folder, 1 << 20).expect("opens"),
            keep: Keep::default(),
            clock: clock.clone(),
        };
        Self {
            retention,
            clock,
            stop,
            thread: Some(thread),
        }
    }

    fn pass(&self, hours: i64) {
        self.clock.advance(Duration::from_secs(hours as u64 * 3600));
    }

    async fn look(&self) -> Removed {
        let mut removed = Removed::default();
        self.retention.look(&mut removed, true).await.expect("looks");
        removed
    }

    /// Uploads as the API does.
    async fn upload(&self, bytes: &[u8]) -> Sha256 {
        let sha256 = Sha256(sha2::Sha256::digest(bytes).into());
        let size = bytes.len() as u64;
        let pin = self.retention.blobs.pin(sha256);
        let (_, whole) = self
            .retention
            .blobs
            .append(&sha256, 0, size, [Bytes::copy_from_slice(bytes)])
            .expect("stored");
        assert!(whole);
        let at = self.clock.wall();
        let insert = move |connection: &Connection| {
            let _pin = pin;
            artifacts::insert_blob(connection, &sha256, size, at)
        };
        self.retention.engine.write(insert).await.expect("written");
        sha256
    }

    /// Whether a blob may still be named, as a submit asks.
    async fn claim(&self, sha256: Sha256) -> bool {
        let at = self.clock.wall();
        let claim = move |connection: &Connection| artifacts::claim_blob(connection, &sha256, at);
        self.retention.engine.write(claim).await.expect("asked")
    }

    async fn submit(&self, seed: u64, bundle: Option<Sha256>) -> JobId {
        let mut job = job(seed);
        let blob = |sha256| BlobRef { sha256, size: 1 };
        job.repo = bundle.map(|sha256| RepoSource::Bundle {
            blob: blob(sha256),
            head: "a".repeat(40),
            branch: None,
            name: "r".to_owned(),
        });
        let id = job.id;
        self.retention.engine.submit(job, None).await.expect("accepted");
        id
    }

    async fn cancel(&self, job: JobId) {
        self.retention
            .engine
            .decide(Happening::CancelJob(job))
            .await
            .expect("cancelled");
    }

    /// An artifact of a job, as a result brings it.
    async fn artifact(&self, job: JobId, sha256: Sha256) -> AttemptId {
        let attempt = AttemptId::new();
        let at = self.clock.wall();
        let artifact = ArtifactRef {
            name: sha256.to_string(),
            sha256,
            size: 1,
        };
        let insert = move |connection: &Connection| {
            artifacts::insert(connection, job, &StepKey::top("a"), attempt, &artifact, at)
        };
        self.retention.engine.write(insert).await.expect("written");
        attempt
    }

    async fn jobs(&self) -> Vec<u64> {
        let list = |connection: &Connection| views::jobs(connection, &ListJobs::default());
        let (jobs, _) = self.retention.readers.query(list).await.expect("read");
        jobs.iter().map(|job| job.number).collect()
    }

    async fn last_seq(&self) -> u64 {
        self.retention
            .readers
            .query(crate::state::events::last_seq)
            .await
            .expect("read")
    }

    fn has_file(&self, sha256: &Sha256) -> bool {
        self.retention.blobs.path(sha256).exists()
    }

    /// Every blob that a row names has its row and its file.
    async fn assert_whole(&self) {
        let named = self
            .retention
            .readers
            .query(|connection| {
                let sql = "SELECT sha256 FROM artifacts UNION SELECT sha256 FROM blob_refs UNION SELECT sha256 FROM blobs";
                let mut statement = connection.prepare(sql)?;
                let rows = statement.query_map([], |row| Ok(Sha256(row.get(0)?)))?;
                let named: Vec<Sha256> = rows.collect::<Result<_, _>>()?;
                let unknown = prune::unknown_blobs(connection, &named)?;
                Ok((named, unknown))
            })
            .await
            .expect("read");
        assert_eq!(named.1, [], "rows name blobs that have none");
        for sha256 in named.0 {
            assert!(self.has_file(&sha256), "{sha256} is named and has no file");
        }
    }
}

fn job(seed: u64) -> Job {
    let mut job = Sim::new(seed).new_job("api: agentd/v1\nname: one\nsteps:\n  a: {run: [a]}\n", json!({}));
    job.id = JobId::new();
    job
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn days(jobs: u32) -> Bounds {
    Bounds {
        jobs_days: Some(jobs),
        events_days: Some(jobs),
        audit_days: None,
        bytes: None,
    }
}

#[tokio::test]
async fn an_old_job_goes_with_everything_and_its_number_is_not_given_out_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::open(folder.path(), days(2));
    let bundle = house.upload(b"bundle").await;
    let shared = house.upload(b"shared").await;
    let (old, open) = (
        house.submit(1, Some(bundle)).await,
        house.submit(2, Some(shared)).await,
    );
    house.artifact(old, shared).await;
    house.cancel(old).await;
    house.pass(47);
    assert_eq!(house.look().await, Removed::default());
    house.pass(2);
    let removed = house.look().await;
    assert_eq!((removed.jobs, removed.blobs), (1, 1), "{removed:?}");
    assert!(!house.has_file(&bundle) && house.has_file(&shared));
    assert_eq!(house.jobs().await, [2]);
    house.cancel(open).await;
    house.pass(49);
    house.look().await;
    house.look().await;
    assert_eq!(house.jobs().await, [0; 0]);
    assert_eq!(house.last_seq().await, 0, "no event is left");
    assert!(!house.has_file(&shared));
    drop(house);
    // a new start knows the last numbers although no row has them
    let house = House::open(folder.path(), days(2));
    house.submit(3, None).await;
    assert_eq!(house.jobs().await, [3]);
    assert!(
        house.last_seq().await > 4,
        "events go on behind those that were removed"
    );
}

#[tokio::test]
async fn beyond_the_bytes_the_job_that_ended_first_goes_and_no_more_than_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let bounds = Bounds {
        jobs_days: None,
        events_days: None,
        audit_days: None,
        bytes: Some(250),
    };
    let house = House::open(folder.path(), bounds);
    let mut blobs = vec![];
    for number in 0..3_u8 {
        let sha256 = house.upload(&[number; 100]).await;
        let job = house.submit(u64::from(number), Some(sha256)).await;
        blobs.push(sha256);
        house.cancel(job).await;
        house.pass(2);
    }
    let open = house.submit(9, Some(blobs[2])).await;
    let removed = house.look().await;
    assert_eq!(
        (removed.jobs, removed.blobs, removed.bytes),
        (1, 1, 100),
        "{removed:?}"
    );
    assert_eq!(
        blobs
            .iter()
            .map(|sha256| house.has_file(sha256))
            .collect::<Vec<_>>(),
        [false, true, true]
    );
    house.assert_whole().await;
    house.cancel(open).await;
}

#[tokio::test]
async fn an_announced_blob_a_held_backup_and_a_revived_job_make_it_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::open(folder.path(), days(0));
    let sha256 = house.upload(b"announced").await;
    house.pass(2);
    assert!(house.claim(sha256).await);
    assert_eq!(house.look().await.blobs, 0);
    house.pass(2);
    let kept = house.retention.keep.for_backup().await.expect("the only one");
    let mut removed = Removed::default();
    let looked = house.retention.look(&mut removed, false).await;
    assert!(matches!(looked, Err(RetentionError::Wait)), "{looked:?}");
    assert!(house.has_file(&sha256));
    drop(kept);
    let pin = house.retention.blobs.pin(sha256);
    assert_eq!(house.look().await.blobs, 0);
    drop(pin);
    assert_eq!(house.look().await.blobs, 1);
    assert!(!house.has_file(&sha256) && !house.claim(sha256).await);
}

#[tokio::test]
async fn what_a_crash_has_left_is_found_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::open(folder.path(), days(1));
    let (blobs, logs) = (&house.retention.blobs, &house.retention.logs);
    let sha256 = Sha256(sha2::Sha256::digest(b"stray").into());
    blobs
        .append(&sha256, 0, 5, [Bytes::from("stray")])
        .expect("stored");
    let half = Sha256(sha2::Sha256::digest(b"never finished").into());
    blobs.append(&half, 0, 14, [Bytes::from("never")]).expect("begun");
    let attempt = AttemptId::new();
    logs.append(attempt, 0, b"stray").expect("stored");
    let removed = house.look().await;
    assert_eq!(removed.uploads, 1);
    assert!(!house.has_file(&sha256));
    assert_eq!(logs.size(attempt).expect("known"), 0);
    assert_eq!(blobs.offset(&half).expect("known"), (0, false));
}

#[tokio::test]
async fn a_key_lives_seven_days() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::open(folder.path(), days(90));
    let key = SubmitKey {
        token: protocol::id::TokenId::new(),
        key: "k".to_owned(),
        body_sha256: [1; 32],
    };
    let engine = &house.retention.engine;
    engine.submit(job(1), Some(key.clone())).await.expect("accepted");
    house.pass(6 * 24);
    assert_eq!(house.look().await.keys, 0);
    assert!(
        engine
            .submit(job(2), Some(key.clone()))
            .await
            .expect("known")
            .existed
    );
    house.pass(25);
    assert_eq!(house.look().await.keys, 1);
    assert!(!engine.submit(job(3), Some(key)).await.expect("accepted").existed);
}

/// What may happen between two looks.
#[derive(Clone, Debug)]
enum Step {
    Upload(u8),
    Submit { bundle: Option<u8> },
    Artifact { job: usize, blob: u8 },
    Cancel(usize),
    Retry(usize),
    Hours(i64),
    Look,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..6_u8).prop_map(Step::Upload),
        3 => proptest::option::of(0..6_u8).prop_map(|bundle| Step::Submit { bundle }),
        3 => (0..8_usize, 0..6_u8).prop_map(|(job, blob)| Step::Artifact { job, blob }),
        3 => (0..8_usize).prop_map(Step::Cancel),
        1 => (0..8_usize).prop_map(Step::Retry),
        2 => (0..40_i64).prop_map(Step::Hours),
        3 => Just(Step::Look),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..30)
}

async fn walk(steps: &[Step], bounds: Bounds) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut house = House::open(folder.path(), bounds);
    let mut blobs: BTreeMap<u8, Sha256> = BTreeMap::new();
    let mut jobs: Vec<JobId> = vec![];
    let mut highest = 0;
    let mut passed = 0;
    for step in steps {
        match step {
            Step::Upload(blob) => {
                blobs.insert(*blob, house.upload(&[*blob; 50]).await);
            }
            Step::Submit { bundle } => {
                let named = bundle.and_then(|blob| blobs.get(&blob)).copied();
                if let Some(sha256) = named
                    && !house.claim(sha256).await
                {
                    continue;
                }
                jobs.push(house.submit(jobs.len() as u64, named).await);
                let number = house.jobs().await.into_iter().max().unwrap_or(0);
                assert!(number > highest, "number {number} was given out twice");
                highest = number;
            }
            Step::Artifact { job, blob } => {
                let (Some(job), Some(sha256)) = (jobs.get(*job).copied(), blobs.get(blob)) else {
                    continue;
                };
                let sha256 = *sha256;
                let open = house
                    .retention
                    .engine
                    .inspect(move |world, _| world.jobs.contains_key(&job));
                if open.await.expect("asked") && house.claim(sha256).await {
                    house.artifact(job, sha256).await;
                }
            }
            Step::Cancel(job) | Step::Retry(job) => {
                let Some(job) = jobs.get(*job).copied() else {
                    continue;
                };
                let what = match step {
                    Step::Cancel(_) => Happening::CancelJob(job),
                    _ => Happening::RetryJob(job),
                };
                // a job that is gone or has ended refuses
                let _ = house.retention.engine.decide(what).await;
            }
            Step::Hours(hours) => {
                passed += hours;
                house.pass(*hours);
            }
            Step::Look => {
                house.look().await;
            }
            Step::Restart => {
                drop(house);
                house = House::open(folder.path(), bounds);
                house.pass(passed);
            }
        }
        house.assert_whole().await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_the_order_every_named_blob_is_there(
        steps in steps(),
        age in 0..3_u32,
        bytes in proptest::option::of(0..200_u64),
    ) {
        let bounds = Bounds { jobs_days: Some(age), events_days: Some(age), audit_days: Some(age), bytes };
        runtime().block_on(walk(&steps, bounds));
    }
}
