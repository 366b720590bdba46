-- Records that were never processed because somebody said to go on without them (--on-data-loss continue), in words.

CREATE TABLE IF NOT EXISTS source_holes (
    source TEXT NOT NULL,
    hole   TEXT NOT NULL,
    PRIMARY KEY (source, hole)
) STRICT, WITHOUT ROWID;
