-- SQLTrack's tables in PostgreSQL.

-- BIGSERIAL creates the sequences experiments_id_seq and runs_id_seq. Separate statements for them would have the same
-- effect, but Citus refuses those.
CREATE TABLE experiments (
    id BIGSERIAL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    comment TEXT,
    tags JSONB,
    extras JSONB
);

CREATE TABLE experiment_links (
    from_id BIGINT NOT NULL REFERENCES experiments (id) ON UPDATE CASCADE ON DELETE CASCADE,
    kind TEXT NOT NULL,
    to_id BIGINT NOT NULL REFERENCES experiments (id) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (from_id, kind, to_id)
);

CREATE TABLE runs (
    id BIGSERIAL PRIMARY KEY,
    experiment_id BIGINT NOT NULL REFERENCES experiments (id) ON UPDATE CASCADE ON DELETE CASCADE,
    status TEXT NOT NULL DEFAULT 'PLANNED',
    time_created TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    time_started TIMESTAMP WITH TIME ZONE,
    time_updated TIMESTAMP WITH TIME ZONE,
    comment TEXT,
    tags JSONB,
    args JSONB,
    env JSONB,
    extras JSONB
);

CREATE TABLE run_links (
    from_id BIGINT NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    kind TEXT NOT NULL,
    to_id BIGINT NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    PRIMARY KEY (from_id, kind, to_id)
);

-- One row per point in time of a run. Each metric is a column, which is added when the metric is first logged.
CREATE TABLE metrics (
    run_id BIGINT NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    step BIGINT NOT NULL DEFAULT 0,
    progress DOUBLE PRECISION NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, step, progress)
);

-- Metrics that cannot be columns go to the column metrics.extras, which is added when it is first needed. While another
-- transaction blocks that, they wait here.
CREATE TABLE metrics_pending (
    run_id BIGINT NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    step BIGINT NOT NULL,
    progress DOUBLE PRECISION NOT NULL,
    extras JSONB NOT NULL,
    PRIMARY KEY (run_id, step, progress)
);

-- Users may choose ids, for example the number of a Slurm job, which does not advance the sequence. This function skips
-- ids that are in use.
CREATE FUNCTION next_unused_id(id_table REGCLASS, id_sequence REGCLASS) RETURNS BIGINT LANGUAGE plpgsql AS $$
DECLARE
    candidate BIGINT;
    in_use BOOLEAN;
BEGIN
    LOOP
        candidate := nextval(id_sequence);
        EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE id = $1)', id_table) INTO in_use USING candidate;
        EXIT WHEN NOT in_use;
    END LOOP;
    RETURN candidate;
END $$;

ALTER TABLE experiments ALTER COLUMN id SET DEFAULT next_unused_id('experiments', 'experiments_id_seq');
ALTER TABLE runs ALTER COLUMN id SET DEFAULT next_unused_id('runs', 'runs_id_seq');

CREATE INDEX experiment_links_to_id ON experiment_links (to_id, kind);
CREATE INDEX run_links_to_id ON run_links (to_id, kind);
CREATE INDEX runs_experiment_id ON runs (experiment_id);

CREATE INDEX experiments_tags ON experiments USING GIN (tags);
CREATE INDEX experiments_extras ON experiments USING GIN (extras);
CREATE INDEX runs_tags ON runs USING GIN (tags);
CREATE INDEX runs_args ON runs USING GIN (args);
CREATE INDEX runs_env ON runs USING GIN (env);
CREATE INDEX runs_extras ON runs USING GIN (extras);
