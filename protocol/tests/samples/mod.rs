//! One message of each kind with every field set, and where fields have defaults one without them.

use std::collections::BTreeMap;

use agentd_protocol::{
    artifact::{ArtifactRef, BlobRef, Sha256},
    codec::Envelope,
    documents::EditProtocol,
    duration::Millis,
    id::{AttemptId, BootId, JobId, JournalId, MessageId},
    job::{JobLink, StepKey},
    label::Labels,
    message::{
        Accept, Ack, AckVerdict, Assign, Bye, Cancel, CancelReason, Checkpoint, Drain, FromWorker, Hello,
        Lease, PROTOCOL_VERSION, Probe, Progress, Refused, Reject, RejectReason, Renew, RunningAttempt,
        Session, Signal, StepResult, Sync, ToWorker,
    },
    model::{Candidate, Price, ReachableModel},
    sandbox::SandboxLevel,
    secret::{SecretForm, SecretUse},
    spec::{
        AgentWork, Command, ModelUsed, OutputType, RepoSource, StepSpec, ToolStep, Work, WorkspaceRef,
        WorkspaceResult,
    },
    step::{ErrorClass, Outcome, StepError},
    usage::Usage,
    worker::Load,
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Name, bytes and meaning of each.
pub(crate) fn all() -> Vec<(String, Vec<u8>, Value)> {
    let to_worker = to_worker().into_iter().map(|(name, message)| {
        let (bytes, meaning) = crate::sample(&envelope(message));
        (format!("to_worker.{name}"), bytes, meaning)
    });
    let from_worker = from_worker().into_iter().map(|(name, message)| {
        let (bytes, meaning) = crate::sample(&envelope(message));
        (format!("from_worker.{name}"), bytes, meaning)
    });
    to_worker.chain(from_worker).collect()
}

fn envelope<M>(message: M) -> Envelope<M> {
    Envelope {
        v: PROTOCOL_VERSION,
        id: MessageId::from_uuid(uuid(1)),
        epoch: 1_795_529_187,
        session: Session {
            journal: JournalId::from_uuid(uuid(2)),
            start: 3,
            connection: 4,
        },
        message,
    }
}

/// The words on the wire; the match makes a new kind of message ask for its sample.
fn to_worker() -> Vec<(&'static str, ToWorker)> {
    let works = [
        ("assign.agent", agent_work()),
        (
            "assign.run",
            Work::Run(Command::Argv(vec!["cargo".into(), "test".into()])),
        ),
        (
            "assign.script",
            Work::Run(Command::Script {
                shell: "bash".into(),
                text: "echo \"$WORD\"".into(),
            }),
        ),
        ("assign.use", Work::Use(ToolStep::Verify)),
    ];
    let assigns = works.map(|(name, work)| (name, ToWorker::Assign(Box::new(assign(Some(spec(work)))))));
    let mut samples = assigns.to_vec();
    samples.extend([
        ("assign.large", ToWorker::Assign(Box::new(assign(None)))),
        (
            "cancel",
            ToWorker::Cancel(Cancel {
                attempt: attempt(1),
                why: CancelReason::Superseded,
                kill_after_ms: 5_000,
            }),
        ),
        (
            "lease",
            ToWorker::Lease(Lease {
                attempts: vec![attempt(1), attempt(2)],
            }),
        ),
        ("probe", ToWorker::Probe(Probe { attempt: attempt(1) })),
        ("ack.applied", ack(AckVerdict::Applied)),
        ("ack.superseded", ack(AckVerdict::Superseded)),
        ("ack.missing", ack(AckVerdict::Missing(vec![hash(1)]))),
        (
            "sync",
            ToWorker::Sync(Box::new(Sync {
                resume: vec![attempt(1)],
                stop: vec![attempt(2)],
                ack: vec![attempt(3)],
                want_result: vec![attempt(4)],
                log_from: vec![(attempt(1), 4096)],
                spread_ms: 250,
                log_bytes: 1 << 20,
            })),
        ),
        ("drain", ToWorker::Drain(Drain { draining: true })),
        (
            "signal",
            ToWorker::Signal(Signal {
                attempt: attempt(1),
                text: "use the other table".into(),
            }),
        ),
        (
            "refused",
            ToWorker::Refused(Refused {
                why: "agent-worker 0.0.9 is too old for agentd 0.1.0".into(),
            }),
        ),
    ]);
    for (name, message) in &samples {
        let kind = match message {
            ToWorker::Assign(_) => "assign",
            ToWorker::Cancel(_) => "cancel",
            ToWorker::Lease(_) => "lease",
            ToWorker::Probe(_) => "probe",
            ToWorker::Ack(_) => "ack",
            ToWorker::Sync(_) => "sync",
            ToWorker::Drain(_) => "drain",
            ToWorker::Signal(_) => "signal",
            ToWorker::Refused(_) => "refused",
        };
        assert!(name.starts_with(kind), "{name} is a {kind}");
    }
    samples
}

fn from_worker() -> Vec<(&'static str, FromWorker)> {
    let samples = vec![
        ("hello", FromWorker::Hello(Box::new(hello()))),
        ("accept", FromWorker::Accept(Accept { attempt: attempt(1) })),
        (
            "reject",
            FromWorker::Reject(Reject {
                attempt: attempt(1),
                why: RejectReason::Disk,
                detail: "9 MB are free, 200 MB are needed".into(),
                retry_after_ms: 60_000,
            }),
        ),
        (
            "renew",
            FromWorker::Renew(Renew {
                attempts: vec![attempt(1), attempt(2)],
                load: load(),
            }),
        ),
        (
            "progress",
            FromWorker::Progress(Progress {
                attempt: attempt(1),
                seq: 7,
                fraction: Some(0.5),
                note: "round 2 of 4".into(),
                usage: usage(),
                model: Some(model()),
            }),
        ),
        ("checkpoint", FromWorker::Checkpoint(checkpoint())),
        (
            "result.ok",
            FromWorker::Result(Box::new(result(Outcome::Ok, None))),
        ),
        (
            "result.failed",
            FromWorker::Result(Box::new(result(
                Outcome::Failed,
                Some(StepError {
                    class: ErrorClass::RateLimited,
                    message: "the provider asks to wait".into(),
                    hint: Some("add a second candidate".into()),
                    retry_after_ms: Some(30_000),
                }),
            ))),
        ),
        ("bye", FromWorker::Bye(Bye { why: "stops".into() })),
    ];
    for (name, message) in &samples {
        assert!(name.starts_with(message.kind()), "{name} is a {}", message.kind());
    }
    let kinds: std::collections::BTreeSet<_> = samples.iter().map(|(_, message)| message.kind()).collect();
    assert_eq!(kinds.len(), 8, "each kind has a sample");
    samples
}

fn assign(spec: Option<StepSpec>) -> Assign {
    Assign {
        job: JobLink {
            number: 41,
            id: JobId::from_uuid(uuid(3)),
        },
        step: key(),
        attempt: attempt(1),
        number: 2,
        spec,
        secrets: vec!["FORGE_TOKEN".into()],
        timeout_ms: 1_800_000,
        lease_ms: 45_000,
        grace_ms: 120_000,
        cancel_grace_ms: 5_000,
        artifacts: vec![artifact()],
        checkpoint: Some(checkpoint()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
    }
}

fn spec(work: Work) -> StepSpec {
    let bundled = matches!(work, Work::Use(_));
    StepSpec {
        title: "add a --json flag to list".into(),
        work,
        with: object(json!({"failing": "fix", "paths": ["src"]})),
        env: BTreeMap::from([("WORD".into(), "hello".into())]),
        outputs: BTreeMap::from([
            ("any".into(), OutputType::Any),
            ("text".into(), OutputType::String),
            ("count".into(), OutputType::Number),
            ("good".into(), OutputType::Boolean),
            ("whole".into(), OutputType::Object),
            ("many".into(), OutputType::List(Box::new(OutputType::String))),
            ("one".into(), OutputType::Enum(vec!["a".into(), "b".into()])),
            ("plan".into(), OutputType::Document("plan".into())),
            ("report".into(), OutputType::Junit("target/junit.xml".into())),
        ]),
        writes: true,
        workspace: Some(WorkspaceRef {
            source: if bundled {
                RepoSource::Bundle {
                    blob: blob(3),
                    head: "c0ffee".repeat(6),
                    branch: Some("main".into()),
                    name: "tool".into(),
                }
            } else {
                RepoSource::Url {
                    url: "https://example.org/team/tool.git".into(),
                    reference: Some("main".into()),
                }
            },
            base: Some("c0ffee".repeat(6)),
            commit: Some("decade".repeat(6)),
            bundle: Some(blob(4)),
            branch: "agentd/41".into(),
        }),
        sandbox: Some(SandboxLevel::Strong),
        network: vec!["packages".into(), "example.org:443".into()],
        secrets: vec![SecretUse {
            name: "FORGE_TOKEN".into(),
            form: SecretForm::File,
        }],
        check_limit: Millis::from_secs(90),
    }
}

fn agent_work() -> Work {
    Work::Agent(AgentWork {
        role: "architect".into(),
        prompt: "Plan the change.".into(),
        candidates: vec![Candidate {
            provider: "house".into(),
            model: "coder-7b".into(),
            window: 32_768,
            answer_tokens: Some(2_048),
            protocol: EditProtocol::SearchReplace,
            price: Price {
                input: 0.25,
                cached: 0.125,
                output: 1.5,
            },
        }],
        max_calls: 12,
    })
}

fn hello() -> Hello {
    let mut labels = Labels::default();
    labels.insert("tool", "git");
    labels.insert("tool", "cargo");
    labels.insert("arch", "aarch64");
    Hello {
        boot_id: BootId::from_uuid(uuid(5)),
        version: "0.1.0".into(),
        protocol_min: 1,
        protocol_max: 1,
        labels,
        slots: 2,
        models: vec![ReachableModel {
            provider: "ollama".into(),
            model: "coder-7b".into(),
            loaded: true,
            window: Some(32_768),
        }],
        load: load(),
        running: vec![RunningAttempt {
            attempt: attempt(1),
            for_ms: 61_000,
            last_seq: 3,
        }],
        unsent: vec![(attempt(2), Outcome::TimedOut), (attempt(3), Outcome::Killed)],
        highest_epoch: 1_795_529_186,
    }
}

fn result(outcome: Outcome, error: Option<StepError>) -> StepResult {
    StepResult {
        job: JobId::from_uuid(uuid(3)),
        step: key(),
        attempt: attempt(1),
        outcome,
        error,
        exit: Some(-9),
        outputs: object(json!({"n": 1.5, "list": [null, true, {"a": "b"}], "text": "ä\n"})),
        artifacts: vec![artifact()],
        usage: usage(),
        model: Some(model()),
        workspace: Some(workspace()),
        log_bytes: 5_000_000_000,
        log_sha256: Some(hash(6)),
        notes: vec!["ignored .mcp.json".into()],
        duration_ms: 12_345,
        model_ms: 6_789,
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        attempt: attempt(7),
        seq: 3,
        transcript: blob(5),
        workspace: Some(workspace()),
        usage: usage(),
    }
}

fn workspace() -> WorkspaceResult {
    WorkspaceResult {
        base: "c0ffee".repeat(6),
        commit: "decade".repeat(6),
        bundle: Some(blob(4)),
    }
}

fn ack(verdict: AckVerdict) -> ToWorker {
    ToWorker::Ack(Ack {
        attempt: attempt(1),
        verdict,
    })
}

fn model() -> ModelUsed {
    ModelUsed {
        provider: "house".into(),
        model: "coder-7b".into(),
        protocol: Some(EditProtocol::WholeFile),
    }
}

fn usage() -> Usage {
    Usage {
        input_tokens: 1_000,
        cached_tokens: 500,
        output_tokens: 250,
        calls: 3,
        cost_microusd: 42,
    }
}

fn load() -> Load {
    Load {
        load1: 0.25,
        memory_available: 3 << 30,
        disk_free: 40 << 30,
    }
}

fn artifact() -> ArtifactRef {
    ArtifactRef {
        name: "cycle#2/test/report.json".into(),
        sha256: hash(2),
        size: 7,
    }
}

fn key() -> StepKey {
    StepKey::top("cycle").in_round(2, "edit")
}

fn attempt(n: u128) -> AttemptId {
    AttemptId::from_uuid(uuid(0x100 + n))
}

fn blob(n: u8) -> BlobRef {
    BlobRef {
        sha256: hash(n),
        size: u64::from(n) << 20,
    }
}

fn hash(n: u8) -> Sha256 {
    Sha256([n; 32])
}

/// A version 7 id that never changes.
fn uuid(n: u128) -> Uuid {
    Uuid::from_u128(0x01a2_0de1_b1bf_729a_bbfe_0000_0000_0000 + n)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => unreachable!("only objects are given"),
    }
}
