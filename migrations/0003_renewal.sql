-- A worker's credential (column secret) is known by the SHA-256 of its secret or of its certificate. A renewed
-- certificate waits here until it is used for the first time; then it takes the other one's place.
ALTER TABLE workers ADD COLUMN renewed BLOB;

CREATE UNIQUE INDEX workers_by_renewed ON workers (renewed) WHERE renewed IS NOT NULL;
