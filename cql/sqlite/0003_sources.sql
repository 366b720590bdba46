-- The ledger of sources (topic/topic-id/partition): from which offset on a source was stored, how far that is
-- acknowledged, and under which processing configuration.

CREATE TABLE IF NOT EXISTS sources (
    source      TEXT    NOT NULL PRIMARY KEY,
    topic       TEXT    NOT NULL,
    topic_id    TEXT    NOT NULL,
    partition   INTEGER NOT NULL,
    from_offset INTEGER NOT NULL,
    acked_to    INTEGER NOT NULL,
    processing  TEXT    NOT NULL    -- JSON
) STRICT, WITHOUT ROWID;
