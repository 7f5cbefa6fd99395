-- Idleness: what is known of each run and where it is on the way to a stop, the looks that this rests on, holds, and
-- the stops themselves.

CREATE TABLE judgements (
    run_id    uuid PRIMARY KEY REFERENCES runs (id),
    version   bigint NOT NULL CHECK (version > 0),
    judged_at timestamptz NOT NULL,
    policy    text NOT NULL,
    verdict   jsonb NOT NULL,
    known     jsonb NOT NULL,
    stopper   jsonb NOT NULL,
    wakes_at  timestamptz
);
COMMENT ON TABLE judgements IS 'What is known of each run and where it is on the way to a stop. Any replica goes on from here; who writes names the version that it read.';
COMMENT ON COLUMN judgements.policy IS 'What the policy that counted is for.';
COMMENT ON COLUMN judgements.wakes_at IS 'When the stopper has something to do at the latest; nothing while only looks matter.';
CREATE INDEX judgements_waking ON judgements (wakes_at) WHERE wakes_at IS NOT NULL;

CREATE TABLE looks (
    run_id   uuid NOT NULL REFERENCES runs (id),
    at       timestamptz NOT NULL,
    evidence jsonb NOT NULL,
    PRIMARY KEY (run_id, at)
);
COMMENT ON TABLE looks IS 'Evidence as it was found, for explanations and for trying policies on the past.';
CREATE INDEX looks_by_time ON looks (at);

CREATE TABLE holds (
    id         uuid PRIMARY KEY,
    space_id   uuid NOT NULL REFERENCES spaces (id),
    user_id    uuid REFERENCES users (id),
    made_by    text NOT NULL,
    reason     text NOT NULL,
    made_at    timestamptz NOT NULL,
    until      timestamptz NOT NULL CHECK (until > made_at),
    ended_at   timestamptz
);
COMMENT ON TABLE holds IS 'Requests of people not to stop a space until then.';
CREATE INDEX holds_by_space ON holds (space_id, until) WHERE ended_at IS NULL;

CREATE TABLE stops (
    id        uuid PRIMARY KEY,
    run_id    uuid NOT NULL REFERENCES runs (id),
    trigger   jsonb NOT NULL,
    policy    text NOT NULL,
    dry_run   boolean NOT NULL,
    begun_at  timestamptz NOT NULL,
    stop_at   timestamptz NOT NULL,
    evidence  jsonb,
    ended_at  timestamptz,
    outcome   text CHECK (outcome IN ('stopped', 'stays', 'ended_elsewhere', 'would_have')),
    detail    jsonb,
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
COMMENT ON TABLE stops IS 'Stops of spaces, from the warning to the end, those that came to nothing and those of dry runs included.';
CREATE UNIQUE INDEX stops_under_way ON stops (run_id) WHERE ended_at IS NULL;
CREATE INDEX stops_by_run ON stops (run_id, begun_at);
CREATE INDEX stops_by_time ON stops (ended_at);
