-- Approvals: a browser confirms whose key it is that an SSH client shows.

CREATE TABLE approvals (
    id             text PRIMARY KEY,
    code           bytea NOT NULL,
    state          text NOT NULL DEFAULT 'pending'
                   CHECK (state IN ('pending', 'approved', 'denied', 'void', 'expired', 'left', 'used')),
    replica_id     uuid NOT NULL,
    connection_id  uuid NOT NULL,
    login          text NOT NULL,
    fingerprint    text,
    public_key     text,
    client_address inet NOT NULL,
    client_version text NOT NULL,
    asked_at       timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    wrong_codes    integer NOT NULL DEFAULT 0,
    decided_by     uuid REFERENCES users (id),
    decided_at     timestamptz,
    trusted_until  timestamptz,
    CHECK ((fingerprint IS NULL) = (public_key IS NULL)),
    CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CHECK (state NOT IN ('approved', 'used') OR (decided_by IS NOT NULL AND trusted_until IS NOT NULL))
);
COMMENT ON TABLE approvals IS 'What SSH clients asked people to approve in a browser. A row is used once and forgotten after a day; the audit log keeps what was decided.';
COMMENT ON COLUMN approvals.id IS 'What stands in the address of the page; it is no secret.';
COMMENT ON COLUMN approvals.code IS 'HMAC-SHA256 of the code, under a key that is kept encrypted.';
COMMENT ON COLUMN approvals.fingerprint IS 'The key that an approval binds; none for a client without keys, which is let in once.';
COMMENT ON COLUMN approvals.expires_at IS 'Until when it can be approved, and once it is, until when the client must have signed.';
CREATE INDEX approvals_by_time ON approvals (expires_at);
