-- What retention asks: who holds a blob, and which job has ended first.

-- Blobs that documents name: the bodies of a job, its steps and attempts (owner: the job), and a kept result
-- of an unknown attempt (owner: that attempt). Blobs of artifacts are found by their own rows.
CREATE TABLE blob_refs (
    owner  BLOB NOT NULL,
    sha256 BLOB NOT NULL,
    PRIMARY KEY (owner, sha256)
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_refs_by_blob ON blob_refs (sha256);

INSERT OR IGNORE INTO blob_refs
WITH documents (owner, body) AS (
    SELECT id, body FROM jobs
    UNION ALL SELECT job, body FROM steps
    UNION ALL SELECT job, body FROM attempts
    UNION ALL SELECT attempt, result FROM late_outcomes
)
SELECT owner, unhex(value) FROM documents, json_tree(body)
WHERE type = 'text' AND length(value) = 64 AND value NOT GLOB '*[^0-9a-f]*';

CREATE INDEX jobs_by_end ON jobs (ended_ms, number) WHERE ended_ms IS NOT NULL;

-- A key goes with its job: without this each removal of a job would read all keys.
CREATE INDEX idempotency_by_job ON idempotency (job);
