-- Which migrations the file has had. Runs first and every time, so it is not in its own ledger.

CREATE TABLE IF NOT EXISTS schema_migrations (
    number     INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,      -- of the migration's text as it stands in the program
    applied_at TEXT NOT NULL       -- ISO 8601, UTC
) STRICT;
