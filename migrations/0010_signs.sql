-- What the gateway itself sees of people at work in spaces: the newest time of each sign, over all replicas.

CREATE TABLE signs (
    space_id   uuid NOT NULL REFERENCES spaces (id),
    user_id    uuid NOT NULL REFERENCES users (id),
    sign       text NOT NULL CHECK (sign IN ('keys', 'opened', 'sent', 'received', 'screen')),
    at         timestamptz NOT NULL,
    PRIMARY KEY (space_id, user_id, sign)
);
COMMENT ON TABLE signs IS 'When each person was last seen at work in each space, by what passed through the gateway. Replicas write every few seconds.';
