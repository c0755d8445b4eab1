-- The audit log becomes a chain: each row's hash is over the one before and its own fields, and rows are only
-- added. What is kept long enough goes from the front, after the hash of the last row that goes is kept.

-- Filled for earlier rows when the database is opened.
ALTER TABLE audit ADD COLUMN hash BLOB;
-- How many such things happened; refusals are gathered.
ALTER TABLE audit ADD COLUMN times INTEGER NOT NULL DEFAULT 1;

CREATE TRIGGER audit_has_hashes BEFORE INSERT ON audit WHEN NEW.hash IS NULL
BEGIN SELECT RAISE (ABORT, 'a row of the audit log has its hash'); END;

CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit WHEN OLD.hash IS NOT NULL
BEGIN SELECT RAISE (ABORT, 'the audit log is only added to'); END;

-- The value is `<seq>:<hash>` of the last row that retention removed.
CREATE TRIGGER audit_goes_from_the_front BEFORE DELETE ON audit
WHEN OLD.seq > coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'audit_anchor'), 0)
BEGIN SELECT RAISE (ABORT, 'the audit log is only added to'); END;
