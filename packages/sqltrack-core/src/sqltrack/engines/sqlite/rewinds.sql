-- When runs were rewound and to which step, so that an outbox does not send rows that were logged before.
CREATE TABLE rewinds (
    run_id INTEGER NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    time TIMESTAMP WITH TIME ZONE NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (run_id, time)
);
