-- Runs of `iotpipe produce --manifest`: what is needed to compute again what each of them sent. Written once, by one run.

CREATE TABLE IF NOT EXISTS runs (
    run      BLOB NOT NULL PRIMARY KEY,
    manifest TEXT NOT NULL    -- JSON
) STRICT, WITHOUT ROWID;
