-- The API: tokens by which programs act for people, and the answers that were given to requests with an idempotency key.
CREATE TABLE api_tokens (
    id           uuid PRIMARY KEY,
    user_id      uuid NOT NULL REFERENCES users (id),
    digest       bytea NOT NULL UNIQUE,
    name         text NOT NULL,
    scopes       text[] NOT NULL,
    made_at      timestamptz NOT NULL,
    made_from    inet NOT NULL,
    expires_at   timestamptz NOT NULL,
    used_at      timestamptz,
    used_from    inet,
    revoked_at   timestamptz
);
COMMENT ON TABLE api_tokens IS 'Tokens for the API. The token itself is shown once and kept nowhere: digest is its SHA-256.';
COMMENT ON COLUMN api_tokens.used_at IS 'When it was used last, to the minute.';
CREATE INDEX api_tokens_live ON api_tokens (user_id) WHERE revoked_at IS NULL;

CREATE TABLE api_answers (
    user_id      uuid NOT NULL REFERENCES users (id),
    key          text NOT NULL,
    request      bytea NOT NULL,
    began_at     timestamptz NOT NULL,
    attempt      uuid NOT NULL,
    status       smallint,
    content_type text,
    body         bytea,
    PRIMARY KEY (user_id, key),
    CHECK ((status IS NULL) = (body IS NULL))
);
COMMENT ON TABLE api_answers IS 'What was answered to requests that carried an Idempotency-Key, for a day. Without a status the first of them is still being carried out, by this attempt.';
COMMENT ON COLUMN api_answers.request IS 'SHA-256 of method, path and body: the same key with another request is a mistake.';
CREATE INDEX api_answers_by_time ON api_answers (began_at);
