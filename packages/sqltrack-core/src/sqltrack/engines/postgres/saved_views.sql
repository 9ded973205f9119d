-- Views of the web page that users have saved, and states of the page that are too long for an address.

CREATE TABLE saved_views (
    id TEXT PRIMARY KEY,
    page TEXT NOT NULL,
    -- NULL for the state of an address.
    name TEXT,
    owner TEXT NOT NULL,
    -- JSON. As text, because JSONB refuses some of the characters that names of metrics may contain.
    state TEXT NOT NULL,
    time_updated TIMESTAMP WITH TIME ZONE NOT NULL
);
