-- Alerts, each as it stands after the last record that changed it: the larger last_offset wins.

CREATE TABLE IF NOT EXISTS alerts (
    day         INTEGER NOT NULL,   -- days since 1970-01-01, UTC, of raised_at
    sensor_id   BLOB    NOT NULL,
    raised_at   INTEGER NOT NULL,   -- event time, epoch milliseconds
    alert_id    BLOB    NOT NULL,
    type        TEXT    NOT NULL,
    rule        TEXT    NOT NULL,
    severity    TEXT    NOT NULL,   -- info, warning or critical
    label       TEXT,               -- the sensor's id as it was written, where that is no UUID
    value       ANY     NOT NULL,   -- what the rule judged when it raised the alert
    peak        ANY     NOT NULL,   -- the most extreme of these as last told
    cleared_at  INTEGER,            -- event time, epoch milliseconds; absent while the alert is active
    source      TEXT    NOT NULL,   -- topic/topic-id/partition
    last_offset INTEGER NOT NULL,   -- of the last record that changed it
    PRIMARY KEY (day, sensor_id, raised_at, alert_id)
) STRICT, WITHOUT ROWID;

-- Which alerts of a sensor and source are active: the larger last_offset wins.
CREATE TABLE IF NOT EXISTS active_alerts (
    sensor_id   BLOB    NOT NULL,
    source      TEXT    NOT NULL,   -- topic/topic-id/partition
    alerts      TEXT    NOT NULL,   -- JSON: raised_at in epoch milliseconds by alert_id; {} where none is
    last_offset INTEGER NOT NULL,   -- of the last record that changed an alert
    PRIMARY KEY (sensor_id, source)
) STRICT, WITHOUT ROWID;

-- For people: sqlite3 FILE "SELECT * FROM alert_log WHERE cleared_at IS NULL"
CREATE VIEW IF NOT EXISTS alert_log AS
SELECT lower(substr(hex(sensor_id), 1, 8) || '-' || substr(hex(sensor_id), 9, 4) || '-' || substr(hex(sensor_id), 13, 4)
         || '-' || substr(hex(sensor_id), 17, 4) || '-' || substr(hex(sensor_id), 21)) AS sensor,
       label, type, rule, severity,
       strftime('%Y-%m-%dT%H:%M:%fZ', raised_at / 1000.0, 'unixepoch') AS raised_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', cleared_at / 1000.0, 'unixepoch') AS cleared_at,
       value, peak
  FROM alerts;
