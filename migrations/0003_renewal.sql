-- A worker's credential (column secret) is known by the SHA-256 of its secret or of its certificate. A renewed
-- certificate stands here beside the one with which it was asked for, which lives on until it runs out.
ALTER TABLE workers ADD COLUMN renewed BLOB;

CREATE UNIQUE INDEX workers_by_renewed ON workers (renewed) WHERE renewed IS NOT NULL;
