-- When runs were rewound and to which step, so that an outbox does not send rows that were logged before.
CREATE TABLE rewinds (
    run_id BIGINT NOT NULL REFERENCES runs (id) ON UPDATE CASCADE ON DELETE CASCADE,
    time TIMESTAMP WITH TIME ZONE NOT NULL,
    step BIGINT NOT NULL,
    PRIMARY KEY (run_id, time)
);
