-- The tables of SQLTrack in DuckDB.
--
-- DuckDB updates a row with a changed unique column by deleting it and inserting another, which a reference to the row
-- forbids. So no table refers to experiments, whose names may change.

CREATE SEQUENCE experiments_id_seq;
CREATE SEQUENCE runs_id_seq;

CREATE TABLE experiments (
    id BIGINT PRIMARY KEY DEFAULT nextval('experiments_id_seq'),
    name VARCHAR NOT NULL UNIQUE,
    comment VARCHAR,
    tags JSON,
    extras JSON
);

CREATE TABLE experiment_links (
    from_id BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    to_id BIGINT NOT NULL,
    PRIMARY KEY (from_id, kind, to_id)
);

CREATE TABLE runs (
    id BIGINT PRIMARY KEY DEFAULT nextval('runs_id_seq'),
    experiment_id BIGINT NOT NULL,
    status VARCHAR NOT NULL DEFAULT 'PLANNED',
    time_created TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    time_started TIMESTAMP WITH TIME ZONE,
    time_updated TIMESTAMP WITH TIME ZONE,
    comment VARCHAR,
    tags JSON,
    args JSON,
    env JSON,
    extras JSON
);

CREATE TABLE run_links (
    from_id BIGINT NOT NULL REFERENCES runs (id),
    kind VARCHAR NOT NULL,
    to_id BIGINT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (from_id, kind, to_id)
);

-- One row per point in time of a run; every metric is a column, added when it is first logged.
CREATE TABLE metrics (
    run_id BIGINT NOT NULL REFERENCES runs (id),
    step BIGINT NOT NULL DEFAULT 0,
    progress DOUBLE NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, step, progress)
);
