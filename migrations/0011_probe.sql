-- Looks inside spaces: links and streams that belong to nobody.
ALTER TABLE links ALTER COLUMN user_id DROP NOT NULL;
ALTER TABLE links DROP CONSTRAINT links_purpose_check;
ALTER TABLE links ADD CONSTRAINT links_purpose_check CHECK (purpose IN ('interactive', 'bulk', 'private', 'probe'));
ALTER TABLE links ADD CONSTRAINT links_user_check CHECK ((user_id IS NULL) = (purpose = 'probe'));
COMMENT ON COLUMN links.user_id IS 'Nothing for a link by which the gateway looks inside.';

ALTER TABLE streams ALTER COLUMN user_id DROP NOT NULL;
COMMENT ON COLUMN streams.user_id IS 'Nothing for a stream by which the gateway looks inside.';
