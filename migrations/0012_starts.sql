-- Starts that people asked for on a page: how far the newest of each space is, on whichever replica.
CREATE TABLE starts (
    space_id      uuid PRIMARY KEY REFERENCES spaces (id),
    id            uuid NOT NULL,
    asked_by      text NOT NULL,
    asked_at      timestamptz NOT NULL,
    instance_type text,
    step          text NOT NULL,
    ended_at      timestamptz,
    problem       text,
    CHECK (problem IS NULL OR ended_at IS NOT NULL)
);
COMMENT ON TABLE starts IS 'The newest start of each space that somebody asked for on a page. A later one takes the place of an earlier one.';
COMMENT ON COLUMN starts.problem IS 'Why it failed, in the words that the person reads.';
