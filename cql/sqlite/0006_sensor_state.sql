-- What a consumer must know of a sensor and source to go on where another stopped, in the program's own encoding. The
-- larger last_offset wins.

CREATE TABLE IF NOT EXISTS sensor_state (
    sensor_id   BLOB    NOT NULL,
    source      TEXT    NOT NULL,    -- topic/topic-id/partition
    state       BLOB    NOT NULL,
    last_offset INTEGER NOT NULL,    -- of the last record that is in it
    PRIMARY KEY (sensor_id, source)
) STRICT, WITHOUT ROWID;
