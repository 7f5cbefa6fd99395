-- What runs where, for whoever looks after it. Replicas of the release before leave both empty.
ALTER TABLE replicas ADD COLUMN version text;
ALTER TABLE replicas ADD COLUMN draining_at timestamptz;
COMMENT ON COLUMN replicas.version IS 'The release that it runs; none: one from before this column.';
COMMENT ON COLUMN replicas.draining_at IS 'Since when it takes no new connections and waits for the open ones to end.';
