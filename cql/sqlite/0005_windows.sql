-- Event-time windows, a row each: what the records of one source put into a window, up to last_offset. The larger
-- last_offset wins, whatever order writes come in.
-- Values are ANY, for REAL would store -0.0 as the integer 0. SQLite has no NaN: one is kept as the 8 bytes of its double.

CREATE TABLE IF NOT EXISTS window_aggregates (
    day          INTEGER NOT NULL,   -- days since 1970-01-01, UTC, of the window's start
    sensor_id    BLOB    NOT NULL,
    type         TEXT    NOT NULL,
    size_s       INTEGER NOT NULL,
    window_start INTEGER NOT NULL,   -- epoch milliseconds
    source       TEXT    NOT NULL,   -- topic/topic-id/partition; the parts of several sources are merged when they are read
    last_offset  INTEGER NOT NULL,   -- of the last record that is in it
    count        INTEGER NOT NULL,
    sum          ANY     NOT NULL,
    mean         ANY     NOT NULL,
    m2           ANY     NOT NULL,   -- sum of the squared differences from the mean
    min          ANY     NOT NULL,
    max          ANY     NOT NULL,
    first        ANY     NOT NULL,   -- value of the earliest event time
    first_at     INTEGER NOT NULL,   -- epoch milliseconds
    last         ANY     NOT NULL,   -- value of the latest event time
    last_at      INTEGER NOT NULL,   -- epoch milliseconds
    PRIMARY KEY (day, sensor_id, type, size_s, window_start, source)
) STRICT, WITHOUT ROWID;

-- For people: sqlite3 FILE "SELECT * FROM windows WHERE type = 'temperature' AND size_s = 60 LIMIT 10"
CREATE VIEW IF NOT EXISTS windows AS
SELECT lower(substr(hex(sensor_id), 1, 8) || '-' || substr(hex(sensor_id), 9, 4) || '-' || substr(hex(sensor_id), 13, 4)
         || '-' || substr(hex(sensor_id), 17, 4) || '-' || substr(hex(sensor_id), 21)) AS sensor,
       type, size_s,
       strftime('%Y-%m-%dT%H:%M:%fZ', window_start / 1000.0, 'unixepoch') AS window_start,
       source, count,
       iif(typeof(sum)  = 'blob', 'NaN', sum)  AS sum,
       iif(typeof(mean) = 'blob', 'NaN', mean) AS mean,
       iif(typeof(m2)   = 'blob', 'NaN', m2 / count) AS variance,
       min, max, first, last
  FROM window_aggregates;
