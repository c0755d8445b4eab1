-- Secrets of steps. The value is sealed by the key of this installation, which is no part of the database.

CREATE TABLE secrets (
    name       TEXT PRIMARY KEY,
    sealed     BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    set_ms     INTEGER NOT NULL,
    set_by     TEXT NOT NULL,
    used_ms    INTEGER
) STRICT, WITHOUT ROWID;

-- When the attempt got its secrets: it gets them once.
ALTER TABLE attempts ADD COLUMN secrets_ms INTEGER;
