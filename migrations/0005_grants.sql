-- Grants of single spaces to single people for a time, and suspensions. Replicas of the release before heed neither:
-- they go on as they did until they are replaced.

CREATE TABLE grants (
    id             uuid PRIMARY KEY,
    user_id        uuid NOT NULL REFERENCES users (id),
    domain         text NOT NULL,
    space          text NOT NULL,
    until          timestamptz NOT NULL,
    reason         text NOT NULL CHECK (reason <> ''),
    approved_by    text NOT NULL,
    approved_by_id uuid REFERENCES users (id),
    made_at        timestamptz NOT NULL,
    ended_at       timestamptz,
    ended_by       text,
    CHECK (until > made_at),
    CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
COMMENT ON TABLE grants IS 'One space for one person for a time. A grant of the configuration file has no row.';
COMMENT ON COLUMN grants.approved_by_id IS 'The approver''s row, if they signed in; the operator''s command line knows a name only.';
COMMENT ON COLUMN grants.ended_at IS 'When somebody ended it before its time.';
CREATE INDEX grants_by_time ON grants (until);
CREATE INDEX grants_by_user ON grants (user_id);

ALTER TABLE users ADD COLUMN suspended_at timestamptz;
ALTER TABLE users ADD COLUMN suspended_by text;
ALTER TABLE users ADD COLUMN suspension_reason text;
ALTER TABLE users ADD CHECK ((suspended_at IS NULL) = (suspended_by IS NULL));
ALTER TABLE users ADD CHECK ((suspended_at IS NULL) = (suspension_reason IS NULL));
COMMENT ON COLUMN users.suspended_at IS 'Since when an admin keeps the person out. A new login does not clear it. The configuration file may do the same beside it.';
