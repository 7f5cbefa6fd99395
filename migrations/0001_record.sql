-- What the gateway knows and remembers. Times are UTC. Ids are UUIDs of version 7 that the gateway makes, so that
-- a change can be written twice and lands once.

CREATE TABLE replicas (
    id          uuid PRIMARY KEY,
    host        text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    renewed_at  timestamptz NOT NULL DEFAULT now(),
    lease_s     integer NOT NULL CHECK (lease_s > 0),
    released_at timestamptz,
    lapsed_at   timestamptz
);
COMMENT ON TABLE replicas IS 'Running gateway processes. Each renews its lease, on this server''s clock; who does not has crashed.';
COMMENT ON COLUMN replicas.released_at IS 'When it gave the lease up at a clean end.';
COMMENT ON COLUMN replicas.lapsed_at IS 'When another replica found the lease lapsed and closed its open rows; cleared when it renews after all.';

CREATE TABLE users (
    id         uuid PRIMARY KEY,
    subject    text NOT NULL UNIQUE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON TABLE users IS 'People. The subject is the identity provider''s stable name for them; the name is what people read.';

CREATE TABLE domains (
    alias     text PRIMARY KEY,
    synced_at timestamptz NOT NULL
);
COMMENT ON TABLE domains IS 'Configured Studio domains, each with the time of the newest complete listing that was written. The row is the lock of that writing.';

CREATE TABLE spaces (
    id            uuid PRIMARY KEY,
    arn           text NOT NULL,
    domain        text NOT NULL REFERENCES domains (alias),
    name          text NOT NULL,
    owner         text,
    sharing       text NOT NULL CHECK (sharing IN ('private', 'shared')),
    app_type      text CHECK (app_type IN ('JupyterLab', 'CodeEditor')),
    remote_access boolean NOT NULL,
    first_seen_at timestamptz NOT NULL,
    deleted_at    timestamptz
);
COMMENT ON TABLE spaces IS 'Studio spaces, each from the first listing that showed it to the first that did not. A name that is used again is a new row.';
CREATE UNIQUE INDEX spaces_live_arn ON spaces (arn) WHERE deleted_at IS NULL;
CREATE INDEX spaces_live_domain ON spaces (domain) WHERE deleted_at IS NULL;

CREATE TABLE runs (
    id             uuid PRIMARY KEY,
    space_id       uuid NOT NULL REFERENCES spaces (id),
    app_type       text NOT NULL CHECK (app_type IN ('JupyterLab', 'CodeEditor')),
    app_created_at timestamptz NOT NULL,
    instance_type  text,
    began_at       timestamptz NOT NULL,
    ended_at       timestamptz,
    UNIQUE (space_id, app_created_at)
);
COMMENT ON TABLE runs IS 'Lives of a space''s app: what costs money. The app''s creation time tells one from the next.';
COMMENT ON COLUMN runs.began_at IS 'When a listing first showed the app in service.';
COMMENT ON COLUMN runs.ended_at IS 'When a listing first showed the app gone.';
CREATE INDEX runs_open ON runs (space_id) WHERE ended_at IS NULL;
CREATE INDEX runs_by_time ON runs (began_at);

CREATE TABLE sessions (
    id                 uuid PRIMARY KEY,
    replica_id         uuid NOT NULL REFERENCES replicas (id),
    user_id            uuid NOT NULL REFERENCES users (id),
    space_id           uuid NOT NULL REFERENCES spaces (id),
    connection_id      uuid NOT NULL,
    mode               text NOT NULL CHECK (mode IN ('session', 'jump')),
    client_address     inet NOT NULL,
    client_version     text NOT NULL,
    key_fingerprint    text NOT NULL,
    started_at         timestamptz NOT NULL,
    ended_at           timestamptz,
    end_code           text CHECK (end_code IN ('client_left', 'ended_by_admin', 'stream_lost', 'space_stopped',
                                                'no_longer_allowed', 'drained', 'gateway_crashed', 'not_opened')),
    end_reason         text,
    bytes_in           bigint NOT NULL DEFAULT 0 CHECK (bytes_in >= 0),
    bytes_out          bigint NOT NULL DEFAULT 0 CHECK (bytes_out >= 0),
    end_requested_by   text,
    end_request_reason text,
    end_requested_at   timestamptz,
    CHECK ((ended_at IS NULL) = (end_code IS NULL)),
    CHECK ((ended_at IS NULL) = (end_reason IS NULL)),
    CHECK ((end_requested_at IS NULL) = (end_requested_by IS NULL)),
    CHECK ((end_requested_at IS NULL) = (end_request_reason IS NULL))
);
COMMENT ON TABLE sessions IS 'One user''s use of one space over one connection.';
COMMENT ON COLUMN sessions.end_code IS 'Why it ended, in one word. gateway_crashed was written by another replica and gives way to a truer ending.';
CREATE INDEX sessions_live ON sessions (started_at) WHERE ended_at IS NULL;
CREATE INDEX sessions_live_replica ON sessions (replica_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_crashed ON sessions (replica_id) WHERE end_code = 'gateway_crashed';
CREATE INDEX sessions_by_time ON sessions (started_at);
CREATE INDEX sessions_by_user ON sessions (user_id, started_at);
CREATE INDEX sessions_by_space ON sessions (space_id, started_at);

CREATE TABLE links (
    id         uuid PRIMARY KEY,
    replica_id uuid NOT NULL REFERENCES replicas (id),
    user_id    uuid NOT NULL REFERENCES users (id),
    space_id   uuid NOT NULL REFERENCES spaces (id),
    purpose    text NOT NULL CHECK (purpose IN ('interactive', 'bulk', 'private')),
    started_at timestamptz NOT NULL,
    ended_at   timestamptz,
    end_reason text,
    crashed    boolean NOT NULL DEFAULT false,
    CHECK (ended_at IS NOT NULL OR NOT crashed)
);
COMMENT ON TABLE links IS 'SSH client connections of the gateway to spaces.';
COMMENT ON COLUMN links.crashed IS 'Its replica''s lease lapsed: the end was written by another, and gives way to a truer one.';
CREATE INDEX links_live_replica ON links (replica_id) WHERE ended_at IS NULL;
CREATE INDEX links_crashed ON links (replica_id) WHERE crashed;
CREATE INDEX links_by_time ON links (started_at);

CREATE TABLE streams (
    id             uuid PRIMARY KEY,
    replica_id     uuid NOT NULL REFERENCES replicas (id),
    user_id        uuid NOT NULL REFERENCES users (id),
    space_id       uuid NOT NULL REFERENCES spaces (id),
    link_id        uuid,
    aws_session_id text NOT NULL,
    role_session   text NOT NULL,
    request_id     text,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    end_reason     text,
    crashed        boolean NOT NULL DEFAULT false,
    forgotten_at   timestamptz,
    CHECK (ended_at IS NOT NULL OR NOT crashed)
);
COMMENT ON TABLE streams IS 'Session Manager data channels to spaces. AWS allows ten per space and does not list them.';
COMMENT ON COLUMN streams.link_id IS 'The link it carries. No foreign key: the link''s row may have been lost in an outage, and this one is worth keeping.';
COMMENT ON COLUMN streams.crashed IS 'Its replica''s lease lapsed: AWS may keep the stream until its idle limit.';
COMMENT ON COLUMN streams.forgotten_at IS 'When AWS''s answer showed that it no longer counts there.';
CREATE INDEX streams_live_space ON streams (space_id) WHERE ended_at IS NULL;
CREATE INDEX streams_live_replica ON streams (replica_id) WHERE ended_at IS NULL;
CREATE INDEX streams_crashed ON streams (replica_id) WHERE crashed;
CREATE INDEX streams_doubtful ON streams (space_id, ended_at) WHERE crashed AND forgotten_at IS NULL;
CREATE INDEX streams_by_time ON streams (started_at);

CREATE TABLE channels (
    id          uuid PRIMARY KEY,
    replica_id  uuid NOT NULL REFERENCES replicas (id),
    session_id  uuid NOT NULL REFERENCES sessions (id),
    stream_id   uuid NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('shell', 'exec', 'sftp', 'subsystem', 'forward', 'remote_forward',
                                              'agent', 'jump')),
    detail      text,
    pty         boolean NOT NULL,
    started_at  timestamptz NOT NULL,
    ended_at    timestamptz,
    bytes_in    bigint NOT NULL DEFAULT 0 CHECK (bytes_in >= 0),
    bytes_out   bigint NOT NULL DEFAULT 0 CHECK (bytes_out >= 0),
    exit_status bigint,
    end_reason  text,
    crashed     boolean NOT NULL DEFAULT false,
    CHECK (ended_at IS NOT NULL OR NOT crashed)
);
COMMENT ON TABLE channels IS 'SSH channels inside sessions.';
COMMENT ON COLUMN channels.stream_id IS 'The stream it runs on. No foreign key, for the reason at streams.link_id.';
CREATE INDEX channels_by_session ON channels (session_id, started_at);
CREATE INDEX channels_live_replica ON channels (replica_id) WHERE ended_at IS NULL;
CREATE INDEX channels_crashed ON channels (replica_id) WHERE crashed;

CREATE TABLE audit (
    id            uuid PRIMARY KEY,
    at            timestamptz NOT NULL,
    replica_id    uuid NOT NULL,
    actor_id      uuid,
    actor_name    text NOT NULL,
    space_id      uuid,
    session_id    uuid,
    connection_id uuid,
    kind          text NOT NULL CHECK (kind <> ''),
    allowed       boolean,
    detail        jsonb NOT NULL
);
COMMENT ON TABLE audit IS 'What was decided or done, by whom, to what, and why. Append-only. No foreign keys: rows outlive what they name.';
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_by_actor ON audit (actor_id, at) WHERE actor_id IS NOT NULL;
CREATE INDEX audit_by_space ON audit (space_id, at) WHERE space_id IS NOT NULL;
CREATE INDEX audit_by_session ON audit (session_id, at) WHERE session_id IS NOT NULL;
CREATE INDEX audit_by_connection ON audit (connection_id) WHERE connection_id IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE secrets (
    name       text PRIMARY KEY,
    sealed     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE secrets IS 'Secrets that all replicas share, each encrypted with a key that is not in the database.';
