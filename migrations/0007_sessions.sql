-- Browsers that have logged in. A session acts with its token's rights and ends with it.

CREATE TABLE sessions (
    -- SHA-256 of what the browser's cookie holds
    secret     BLOB PRIMARY KEY,
    token      BLOB NOT NULL REFERENCES tokens (id) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_by_token ON sessions (token, expires_ms);
