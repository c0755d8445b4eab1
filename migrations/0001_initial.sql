-- The first shape of the database. Times are milliseconds since 1970 UTC, ids are UUIDs as 16 bytes,
-- documents are JSON text. States are spelled as in protocol::{job, step, worker}.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A workflow with its prompts as jobs have pinned it.
CREATE TABLE pinned_workflows (
    sha256 TEXT PRIMARY KEY,
    body   TEXT NOT NULL
) STRICT;

-- Workflows that people have put here by the API.
CREATE TABLE stored_workflows (
    name   TEXT PRIMARY KEY,
    text   TEXT NOT NULL,
    put_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    id               BLOB PRIMARY KEY,
    number           INTEGER NOT NULL UNIQUE,
    state            TEXT NOT NULL CHECK (state IN
        ('queued', 'running', 'waiting', 'cancelling', 'parked', 'succeeded', 'failed', 'cancelled')),
    workflow         TEXT NOT NULL,
    workflow_sha256  TEXT NOT NULL REFERENCES pinned_workflows (sha256),
    title            TEXT NOT NULL,
    priority         INTEGER NOT NULL,
    created_ms       INTEGER NOT NULL,
    started_ms       INTEGER,
    ended_ms         INTEGER,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    reason           TEXT,
    -- inputs, labels, repository, base, budget, group, usage
    body             TEXT NOT NULL,
    CHECK ((ended_ms IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled')))
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_workflow ON jobs (workflow, number);

CREATE TABLE steps (
    job        BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    position   TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN
        ('blocked', 'ready', 'retry_wait', 'awaiting', 'offered', 'running', 'cancelling', 'parked',
         'succeeded', 'failed', 'skipped', 'cancelled')),
    started_ms INTEGER,
    ended_ms   INTEGER,
    -- path, needs, budgets, outputs, workspace, error, note, usage, rounds, checkpoint
    body       TEXT NOT NULL,
    PRIMARY KEY (job, key),
    CHECK ((ended_ms IS NOT NULL) = (state IN ('succeeded', 'failed', 'skipped', 'cancelled')))
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
    id          BLOB PRIMARY KEY,
    job         BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step        TEXT NOT NULL,
    number      INTEGER NOT NULL,
    worker      BLOB NOT NULL,
    worker_name TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN
        ('offered', 'running', 'suspect', 'cancelling',
         'succeeded', 'failed', 'timed_out', 'cancelled', 'rejected', 'lost')),
    -- the next deadline and the hard limit, by the wall clock of the moment of writing
    due_ms      INTEGER,
    hard_due_ms INTEGER,
    offered_ms  INTEGER NOT NULL,
    started_ms  INTEGER,
    ended_ms    INTEGER,
    -- whether its result was applied or kept
    recorded    INTEGER NOT NULL DEFAULT 0,
    -- cancel reason, error, usage, model, exit, notes, late result
    body        TEXT NOT NULL,
    UNIQUE (job, step, number),
    CHECK ((ended_ms IS NULL) = (state IN ('offered', 'running', 'suspect', 'cancelling'))),
    CHECK (state NOT IN ('offered', 'running', 'suspect', 'cancelling') OR due_ms IS NOT NULL)
) STRICT, WITHOUT ROWID;

-- Results of attempts that the tables do not know (after a restore), or whose job has ended.
CREATE TABLE late_outcomes (
    attempt     BLOB PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    result      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id        BLOB PRIMARY KEY,
    name      TEXT NOT NULL,
    -- SHA-256 of its secret
    secret    BLOB NOT NULL UNIQUE,
    wanted    TEXT NOT NULL CHECK (wanted IN ('active', 'paused', 'draining', 'removed')),
    joined_ms INTEGER NOT NULL,
    seen_ms   INTEGER,
    -- labels, slots, models, version, load, session, boot
    body      TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX workers_by_name ON workers (name) WHERE wanted <> 'removed';

CREATE TABLE join_tokens (
    secret     BLOB PRIMARY KEY,
    expires_ms INTEGER NOT NULL,
    used_ms    INTEGER,
    worker     BLOB
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
    id         BLOB PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    secret     BLOB NOT NULL UNIQUE,
    scopes     TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    used_ms    INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    token       BLOB NOT NULL,
    key         TEXT NOT NULL,
    body_sha256 BLOB NOT NULL,
    job         BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    at_ms       INTEGER NOT NULL,
    PRIMARY KEY (token, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_by_age ON idempotency (at_ms);

CREATE TABLE blobs (
    sha256    BLOB PRIMARY KEY,
    size      INTEGER NOT NULL,
    stored_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE artifacts (
    job     BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    step    TEXT NOT NULL,
    name    TEXT NOT NULL,
    attempt BLOB NOT NULL,
    sha256  BLOB NOT NULL,
    size    INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (job, step, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX artifacts_by_blob ON artifacts (sha256);

CREATE TABLE events (
    seq     INTEGER PRIMARY KEY,
    at_ms   INTEGER NOT NULL,
    kind    TEXT NOT NULL,
    job     BLOB,
    number  INTEGER,
    step    TEXT,
    attempt BLOB,
    data    TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_job ON events (job, seq) WHERE job IS NOT NULL;

CREATE TABLE audit (
    seq    INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    who    TEXT NOT NULL,
    origin TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    result TEXT NOT NULL
) STRICT;

-- What was used per day, so that a day's sum needs no scan.
CREATE TABLE usage_days (
    day           TEXT PRIMARY KEY,
    input_tokens  INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    calls         INTEGER NOT NULL,
    cost_microusd INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
