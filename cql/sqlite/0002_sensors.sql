-- The directory: every sensor ever seen. Each field has the event time beside it that it speaks of: the newest wins,
-- whatever order sightings come in.

CREATE TABLE IF NOT EXISTS sensors (
    sensor_id   BLOB    NOT NULL PRIMARY KEY,
    label       TEXT,                -- the id as it was written, where that is no UUID
    status      TEXT,
    status_at   INTEGER,             -- epoch milliseconds
    latitude    ANY,                 -- ANY, for REAL would store -0.0 as the integer 0
    longitude   ANY,
    location_at INTEGER,             -- epoch milliseconds
    first_day   INTEGER NOT NULL,    -- days since 1970-01-01, UTC
    last_day    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The newest value of each kind of a sensor.
CREATE TABLE IF NOT EXISTS sensor_last_values (
    sensor_id    BLOB    NOT NULL,
    type         TEXT    NOT NULL,
    reading_time INTEGER NOT NULL,   -- epoch milliseconds
    reading      ANY     NOT NULL,
    PRIMARY KEY (sensor_id, type)
) STRICT, WITHOUT ROWID;

-- For people.
CREATE VIEW IF NOT EXISTS sensor_directory AS
SELECT lower(substr(hex(sensor_id), 1, 8) || '-' || substr(hex(sensor_id), 9, 4) || '-' || substr(hex(sensor_id), 13, 4)
         || '-' || substr(hex(sensor_id), 17, 4) || '-' || substr(hex(sensor_id), 21)) AS sensor,
       label, status, latitude, longitude,
       date(first_day * 86400, 'unixepoch') AS first_day,
       date(last_day * 86400, 'unixepoch') AS last_day,
       (SELECT group_concat(type || '=' || reading, ' ') FROM sensor_last_values AS newest
         WHERE newest.sensor_id = sensors.sensor_id) AS last_values
  FROM sensors;
