-- The origins of runs that were copied from other databases, so that a later copy finds them again.
--
-- A run is identified by its id in the database in which it was created, and by the time of its creation.

CREATE TABLE copied_runs (
    source_id INTEGER NOT NULL,
    time_created TIMESTAMP WITH TIME ZONE NOT NULL,
    run_id INTEGER NOT NULL UNIQUE REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    -- Whether the copy was complete when the run had not been changed for some time.
    settled BOOLEAN NOT NULL DEFAULT FALSE,
    PRIMARY KEY (source_id, time_created)
);
