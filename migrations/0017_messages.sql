-- What admins write to the terminals of a session. The replica that was asked and the one that serves the session meet at
-- the row: one waits at it for the answer, the other takes it, shows it and writes in how many terminals.
CREATE TABLE messages (
    id          uuid PRIMARY KEY,
    session_id  uuid NOT NULL REFERENCES sessions (id),
    sent_by     text NOT NULL,
    sent_at     timestamptz NOT NULL DEFAULT now(),
    text        text NOT NULL,
    taken_at    timestamptz,
    given_up_at timestamptz,
    terminals   integer,
    waiting     integer,
    CHECK (taken_at IS NULL OR given_up_at IS NULL),
    CHECK ((terminals IS NULL) = (waiting IS NULL)),
    CHECK (terminals IS NULL OR taken_at IS NOT NULL)
);
COMMENT ON TABLE messages IS 'Messages of admins to the terminals of sessions, for a day. The audit log keeps what was written to whom.';
COMMENT ON COLUMN messages.taken_at IS 'When the replica that serves the session took it to show it.';
COMMENT ON COLUMN messages.given_up_at IS 'When whoever sent it gave up waiting for that: it is not shown any more.';
COMMENT ON COLUMN messages.terminals IS 'How many terminals have shown it; none: not known yet.';
COMMENT ON COLUMN messages.waiting IS 'How many more have it and took nothing when the others were counted.';
CREATE INDEX messages_by_session ON messages (session_id, sent_at);
CREATE INDEX messages_by_time ON messages (sent_at);
