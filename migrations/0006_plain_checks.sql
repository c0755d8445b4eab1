-- The same checks, spelled without lists: SQLite builds a table of its own for each list of more than two
-- at every write of a row, which cost more than the write. What is on disk stays as it is, so that the
-- text of the tables is changed and not their rows (https://sqlite.org/lang_altertable.html, section 7).

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(replace(sql,
    'CHECK (state IN
        (''queued'', ''running'', ''waiting'', ''cancelling'', ''parked'', ''succeeded'', ''failed'', ''cancelled''))',
    'CHECK (CASE state WHEN ''queued'' THEN 1 WHEN ''running'' THEN 1 WHEN ''waiting'' THEN 1
        WHEN ''cancelling'' THEN 1 WHEN ''parked'' THEN 1 WHEN ''succeeded'' THEN 1 WHEN ''failed'' THEN 1
        WHEN ''cancelled'' THEN 1 ELSE 0 END)'),
    'CHECK ((ended_ms IS NOT NULL) = (state IN (''succeeded'', ''failed'', ''cancelled'')))',
    'CHECK ((ended_ms IS NOT NULL) = CASE state WHEN ''succeeded'' THEN 1 WHEN ''failed'' THEN 1
        WHEN ''cancelled'' THEN 1 ELSE 0 END)')
WHERE type = 'table' AND name = 'jobs';

UPDATE sqlite_schema SET sql = replace(replace(sql,
    'CHECK (state IN
        (''blocked'', ''ready'', ''retry_wait'', ''awaiting'', ''offered'', ''running'', ''cancelling'', ''parked'',
         ''succeeded'', ''failed'', ''skipped'', ''cancelled''))',
    'CHECK (CASE state WHEN ''blocked'' THEN 1 WHEN ''ready'' THEN 1 WHEN ''retry_wait'' THEN 1
        WHEN ''awaiting'' THEN 1 WHEN ''offered'' THEN 1 WHEN ''running'' THEN 1 WHEN ''cancelling'' THEN 1
        WHEN ''parked'' THEN 1 WHEN ''succeeded'' THEN 1 WHEN ''failed'' THEN 1 WHEN ''skipped'' THEN 1
        WHEN ''cancelled'' THEN 1 ELSE 0 END)'),
    'CHECK ((ended_ms IS NOT NULL) = (state IN (''succeeded'', ''failed'', ''skipped'', ''cancelled'')))',
    'CHECK ((ended_ms IS NOT NULL) = CASE state WHEN ''succeeded'' THEN 1 WHEN ''failed'' THEN 1
        WHEN ''skipped'' THEN 1 WHEN ''cancelled'' THEN 1 ELSE 0 END)')
WHERE type = 'table' AND name = 'steps';

UPDATE sqlite_schema SET sql = replace(replace(replace(sql,
    'CHECK (state IN
        (''offered'', ''running'', ''suspect'', ''cancelling'',
         ''succeeded'', ''failed'', ''timed_out'', ''cancelled'', ''rejected'', ''lost''))',
    'CHECK (CASE state WHEN ''offered'' THEN 1 WHEN ''running'' THEN 1 WHEN ''suspect'' THEN 1
        WHEN ''cancelling'' THEN 1 WHEN ''succeeded'' THEN 1 WHEN ''failed'' THEN 1 WHEN ''timed_out'' THEN 1
        WHEN ''cancelled'' THEN 1 WHEN ''rejected'' THEN 1 WHEN ''lost'' THEN 1 ELSE 0 END)'),
    'CHECK ((ended_ms IS NULL) = (state IN (''offered'', ''running'', ''suspect'', ''cancelling'')))',
    'CHECK ((ended_ms IS NULL) = CASE state WHEN ''offered'' THEN 1 WHEN ''running'' THEN 1
        WHEN ''suspect'' THEN 1 WHEN ''cancelling'' THEN 1 ELSE 0 END)'),
    'CHECK (state NOT IN (''offered'', ''running'', ''suspect'', ''cancelling'') OR due_ms IS NOT NULL)',
    'CHECK (ended_ms IS NOT NULL OR due_ms IS NOT NULL)')
WHERE type = 'table' AND name = 'attempts';

PRAGMA writable_schema = RESET;
