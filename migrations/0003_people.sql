-- Sign-in by OpenID Connect: people whom a provider vouches for, their logins and their keys.

ALTER TABLE users ADD COLUMN provider text NOT NULL DEFAULT 'local';
ALTER TABLE users ADD COLUMN email text;
ALTER TABLE users ADD COLUMN groups text[] NOT NULL DEFAULT '{}';
ALTER TABLE users ADD COLUMN standing_until timestamptz;
ALTER TABLE users ADD COLUMN standing_ended_at timestamptz;
ALTER TABLE users ADD COLUMN standing_end text CHECK (standing_end IN ('refused', 'left_group'));
ALTER TABLE users ADD CHECK ((standing_ended_at IS NULL) = (standing_end IS NULL));
ALTER TABLE users DROP CONSTRAINT users_subject_key;
ALTER TABLE users ADD UNIQUE (provider, subject);
COMMENT ON COLUMN users.provider IS 'The alias of the identity provider that vouches for the person; local for people of the configuration file.';
COMMENT ON COLUMN users.groups IS 'As the provider last told them, without its alias.';
COMMENT ON COLUMN users.standing_until IS 'Until when the newest login vouches for the person.';
COMMENT ON COLUMN users.standing_ended_at IS 'When the provider withdrew its word. A new login clears it.';

CREATE TABLE sign_ins (
    state      bytea PRIMARY KEY,
    browser    bytea NOT NULL,
    provider   text NOT NULL,
    nonce      bytea NOT NULL,
    verifier   bytea NOT NULL,
    return_to  text NOT NULL,
    began_at   timestamptz NOT NULL
);
COMMENT ON TABLE sign_ins IS 'Sign-ins on their way to a provider and back. State and browser are SHA-256 digests, nonce and verifier are encrypted; a row is used once.';
CREATE INDEX sign_ins_by_time ON sign_ins (began_at);

CREATE TABLE logins (
    id            uuid PRIMARY KEY,
    user_id       uuid NOT NULL REFERENCES users (id),
    cookie        bytea NOT NULL UNIQUE,
    began_at      timestamptz NOT NULL,
    seen_at       timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    address       inet NOT NULL,
    user_agent    text NOT NULL,
    id_token      bytea NOT NULL,
    refresh_token bytea,
    refreshed_at  timestamptz NOT NULL,
    ended_at      timestamptz,
    end_reason    text,
    CHECK ((ended_at IS NULL) = (end_reason IS NULL))
);
COMMENT ON TABLE logins IS 'Web sign-ins. The cookie is a SHA-256 digest; tokens are encrypted.';
CREATE INDEX logins_live ON logins (user_id) WHERE ended_at IS NULL;

CREATE TABLE keys (
    id          uuid PRIMARY KEY,
    user_id     uuid NOT NULL REFERENCES users (id),
    fingerprint text NOT NULL,
    public_key  text NOT NULL,
    name        text NOT NULL,
    added_at    timestamptz NOT NULL,
    added_from  inet NOT NULL,
    expires_at  timestamptz,
    removed_at  timestamptz
);
COMMENT ON TABLE keys IS 'SSH keys that people added. A key belongs to one person at a time.';
CREATE UNIQUE INDEX keys_live ON keys (fingerprint) WHERE removed_at IS NULL;
CREATE INDEX keys_by_user ON keys (user_id);

CREATE TABLE people_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL
);
COMMENT ON TABLE people_version IS 'Grows with every change of users, their standing or their keys, in the transaction of the change: replicas look at it to know when to read them again.';
INSERT INTO people_version (version) VALUES (0);
