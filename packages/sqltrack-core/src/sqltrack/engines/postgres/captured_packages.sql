-- Lists of installed packages, which the runs of an environment share. `extras` of a run has the hash under
-- `capture.packages`.

CREATE TABLE captured_packages (
    hash TEXT PRIMARY KEY,
    -- Versions by name.
    packages JSONB NOT NULL
);
