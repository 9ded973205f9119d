-- SQLTrack's tables in SQLite.
--
-- SQLite stores any value in any column; SQLTrack reads it by the declared type: JSONB is JSON text,
-- TIMESTAMP WITH TIME ZONE is UTC text with microseconds (which sorts), INTERVAL is a number of seconds.

CREATE TABLE experiments (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    comment TEXT,
    tags JSONB,
    extras JSONB
);

CREATE TABLE experiment_links (
    from_id INTEGER NOT NULL REFERENCES experiments (id) ON UPDATE CASCADE ON DELETE CASCADE,
    kind TEXT NOT NULL,
    to_id INTEGER NOT NULL REFERENCES experiments (id) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (from_id, kind, to_id)
);

CREATE INDEX experiment_links_to_id ON experiment_links (to_id, kind);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON UPDATE CASCADE ON DELETE CASCADE,
    status TEXT NOT NULL DEFAULT 'PLANNED',
    time_created TIMESTAMP WITH TIME ZONE NOT NULL
        DEFAULT (strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now')),
    time_started TIMESTAMP WITH TIME ZONE,
    time_updated TIMESTAMP WITH TIME ZONE,
    comment TEXT,
    tags JSONB,
    args JSONB,
    env JSONB,
    extras JSONB
);

CREATE INDEX runs_experiment_id ON runs (experiment_id);

CREATE TABLE run_links (
    from_id INTEGER NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    kind TEXT NOT NULL,
    to_id INTEGER NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (from_id, kind, to_id)
);

CREATE INDEX run_links_to_id ON run_links (to_id, kind);

-- One row per point in time of a run. Each metric is a column, which is added when the metric is first logged.
CREATE TABLE metrics (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    step INTEGER NOT NULL DEFAULT 0,
    progress REAL NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, step, progress)
) WITHOUT ROWID;
