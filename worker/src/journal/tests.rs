use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use protocol::{
    artifact::{BlobRef, Sha256},
    id::{AttemptId, JobId},
    message::{Checkpoint, StepResult},
    step::Outcome,
    usage::Usage,
};
use service::{ballast::Ballast, clock::ManualClock, tasks::Tasks};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Damage, Disk, DiskFile, Journal, LocalDisk, Opened, Record, Writer, frame};
use crate::session::Held;

const NOW: u64 = 1_800_000_000;
const DAY: u64 = 24 * 3600;

fn result(attempt: AttemptId) -> Box<StepResult> {
    Box::new(StepResult {
        job: JobId::new(),
        step: "plan".parse().expect("a key"),
        attempt,
        outcome: Outcome::Ok,
        error: None,
        exit: Some(0),
        outputs: serde_json::Map::new(),
        artifacts: vec![],
        usage: Usage::default(),
        model: None,
        workspace: None,
        log_bytes: 0,
        log_sha256: None,
        notes: vec![],
        duration_ms: 0,
        model_ms: 0,
    })
}

fn accepted(attempt: AttemptId) -> Record {
    Record::Accepted {
        attempt,
        job: JobId::new(),
        step: "plan".parse().expect("a key"),
    }
}

fn open_at(path: &Path, now: u64) -> (Journal, Opened) {
    let date = Timestamp::from_second(now as i64).expect("a date");
    let tasks = Tasks::new(CancellationToken::new());
    let clock = Arc::new(ManualClock::new(date));
    let (journal, opened, _) = Journal::open(path.to_owned(), clock, &tasks).expect("opens");
    (journal, opened)
}

async fn write_all(journal: &Journal, records: impl IntoIterator<Item = Record>) {
    for record in records {
        journal.write(record).await.expect("written");
    }
}

#[tokio::test]
async fn what_was_written_is_remembered_by_the_next_life() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let [open, unsent, acked, barred] = std::array::from_fn(|_| AttemptId::new());
    let (journal, first) = open_at(&path, NOW);
    assert_eq!((first.start, first.epoch, first.held.len()), (1, 0, 0));
    let mut records = vec![
        Record::Epoch(9),
        Record::Epoch(7),
        Record::Barred { attempt: barred },
    ];
    records.extend([open, unsent, acked].map(accepted));
    records.extend([unsent, acked].map(|attempt| Record::Result(result(attempt))));
    records.push(Record::Acked { attempt: acked });
    write_all(&journal, records).await;
    let recalled = journal.recall(acked).await.expect("reads").expect("is kept");
    assert_eq!(recalled.attempt, acked);
    assert!(journal.recall(open).await.expect("reads").is_none());
    drop(journal);

    let (journal, second) = open_at(&path, NOW + DAY / 2);
    assert_eq!((second.id, second.start, second.epoch), (first.id, 2, 9));
    assert!(second.damage.is_none());
    assert!(matches!(second.held[&open], Held::Dead { .. }));
    assert!(matches!(second.held[&unsent], Held::Unsent { .. }));
    assert_eq!(
        (&second.held[&acked], &second.held[&barred]),
        (&Held::Acked, &Held::Barred)
    );
    assert!(
        journal.recall(acked).await.expect("reads").is_some(),
        "kept for a day"
    );
    drop(journal);

    let (_journal, third) = open_at(&path, NOW + 2 * DAY);
    assert_eq!(
        third.held.keys().collect::<Vec<_>>(),
        [&unsent],
        "an unsent result is never forgotten"
    );
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_costs_only_the_record_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let attempts: Vec<AttemptId> = (0..3).map(|_| AttemptId::new()).collect();
    let (journal, first) = open_at(&path, NOW);
    write_all(
        &journal,
        attempts.iter().map(|&attempt| Record::Result(result(attempt))),
    )
    .await;
    drop(journal);
    let bytes = fs::read(&path).expect("there");
    let ends: Vec<usize> = frame::scan(&bytes)
        .records
        .iter()
        .map(|(place, _)| (place.offset + u64::from(place.len)) as usize)
        .collect();
    let torn = folder.path().join("torn");
    for cut in ends[1]..bytes.len() {
        fs::write(&torn, &bytes[..cut]).expect("written");
        let (_journal, opened) = open_at(&torn, NOW);
        let whole = ends[2..].iter().filter(|&&end| end <= cut).count();
        assert_eq!((opened.id, opened.held.len()), (first.id, whole), "cut at {cut}");
        let at_an_end = ends.contains(&cut);
        assert_eq!(opened.damage.is_none(), at_an_end, "cut at {cut}");
        assert!(matches!(opened.damage, None | Some(Damage::TornTail(_))));
    }
}

#[tokio::test]
async fn damage_in_the_middle_keeps_the_rest_and_begins_a_new_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let attempts: Vec<AttemptId> = (0..3).map(|_| AttemptId::new()).collect();
    let (journal, first) = open_at(&path, NOW);
    write_all(
        &journal,
        attempts.iter().map(|&attempt| Record::Result(result(attempt))),
    )
    .await;
    drop(journal);
    let mut bytes = fs::read(&path).expect("there");
    let (place, _) = &frame::scan(&bytes).records[3];
    bytes[place.offset as usize + 40] ^= 1;
    fs::write(&path, &bytes).expect("written");
    let (_journal, opened) = open_at(&path, NOW);
    assert_ne!(opened.id, first.id);
    assert_eq!(opened.start, 1);
    assert_eq!(opened.held.len(), 2);
    assert!(!opened.held.contains_key(&attempts[1]));
    let Some(Damage::Corrupt { lost, aside }) = opened.damage else {
        panic!("{:?}", opened.damage);
    };
    assert_eq!(lost, place.len as usize);
    assert_eq!(fs::read(aside).expect("kept aside"), bytes);
}

#[tokio::test]
async fn a_file_that_is_no_journal_is_kept_aside() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    fs::write(&path, "something else").expect("written");
    let (_journal, opened) = open_at(&path, NOW);
    assert!(
        matches!(opened.damage, Some(Damage::Corrupt { .. })),
        "{:?}",
        opened.damage
    );
    assert_eq!(opened.start, 1);
}

#[tokio::test]
async fn writes_that_wait_together_are_all_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let (journal, _) = open_at(&path, NOW);
    let writes = (0..500).map(|_| journal.write(accepted(AttemptId::new())));
    for written in futures::future::join_all(writes).await {
        written.expect("written");
    }
    drop(journal);
    let (_journal, opened) = open_at(&path, NOW);
    assert_eq!(opened.held.len(), 500);
}

#[tokio::test]
async fn the_last_finished_turn_of_an_open_attempt_is_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal");
    let [open, ended] = std::array::from_fn(|_| AttemptId::new());
    let turn = |attempt, seq| {
        Box::new(Checkpoint {
            attempt,
            seq,
            transcript: BlobRef {
                sha256: Sha256([7; 32]),
                size: 1,
            },
            workspace: None,
            usage: Usage::default(),
        })
    };
    let (journal, _) = open_at(&path, NOW);
    let mut records = vec![accepted(open), accepted(ended)];
    records.extend([(open, 1), (ended, 1), (open, 2)].map(|(of, seq)| Record::Checkpoint(turn(of, seq))));
    records.push(Record::Result(result(ended)));
    write_all(&journal, records).await;
    drop(journal);
    // the second life reads what the first one wrote, the third what the second one wrote anew
    for _ in 0..2 {
        let (journal, opened) = open_at(&path, NOW);
        let Held::Dead { checkpoint, .. } = &opened.held[&open] else {
            panic!("{:?}", opened.held);
        };
        assert_eq!(*checkpoint, Some(turn(open, 2)));
        assert!(matches!(opened.held[&ended], Held::Unsent { .. }));
        drop(journal);
    }
}

/// A disk that has room only when this file is gone.
struct FullWhile(PathBuf);

/// A file on it.
struct FileOnFull(File, PathBuf);

impl Disk for FullWhile {
    type File = FileOnFull;

    fn open(&self, path: &Path) -> io::Result<FileOnFull> {
        Ok(FileOnFull(LocalDisk.open(path)?, self.0.clone()))
    }

    fn create(&self, path: &Path) -> io::Result<FileOnFull> {
        Ok(FileOnFull(LocalDisk.create(path)?, self.0.clone()))
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.replace(from, to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.copy(from, to)
    }
}

impl DiskFile for FileOnFull {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        DiskFile::read_at(&self.0, offset, bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.1.exists() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        DiskFile::write_at(&self.0, offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
}

#[test]
fn a_result_gets_the_last_room_of_a_full_disk_and_an_acceptance_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let room = folder.path().join("ballast");
    let clock = Arc::new(ManualClock::new(
        Timestamp::from_second(NOW as i64).expect("a date"),
    ));
    let (forgotten, _) = mpsc::channel(1);
    let path = folder.path().join("journal");
    let (writer, _) = Writer::open(FullWhile(room.clone()), path.clone(), clock, forgotten).expect("opens");
    let mut writer = writer.with_ballast(Ballast::new(room.clone()));
    assert!(room.exists());
    let (ends, comes) = (AttemptId::new(), AttemptId::new());
    writer.keep(&[accepted(comes)]).expect_err("no room");
    assert!(room.exists());
    writer
        .keep(&[Record::Result(result(ends))])
        .expect("that room is for it");
    assert!(!room.exists());
    drop(writer);
    let (_, opened) = open_at(&path, NOW);
    assert!(matches!(opened.held[&ends], Held::Unsent { .. }));
    assert!(!opened.held.contains_key(&comes));
}
