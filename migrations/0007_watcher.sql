-- One replica at a time does a job, and what it saw of a domain is enough for the others: the listing as a whole, when
-- it was watched without a gap, and when each run was last seen up. Replicas of the release before go on listing by
-- themselves; what they write lacks the new columns.

CREATE TABLE job_leases (
    name       text PRIMARY KEY,
    replica_id uuid NOT NULL,
    until      timestamptz NOT NULL
);
COMMENT ON TABLE job_leases IS 'Jobs that one replica does at a time. Until when, on this server''s clock; who does not renew loses it.';

ALTER TABLE domains ADD COLUMN written_at timestamptz;
COMMENT ON COLUMN domains.written_at IS 'When the newest listing was written, on this server''s clock: its age for replicas that read it from here.';

ALTER TABLE spaces ADD COLUMN status text CHECK (status IN ('InService', 'Updating', 'Deleting', 'Failed'));
ALTER TABLE spaces ADD COLUMN storage_gib integer CHECK (storage_gib >= 0);
ALTER TABLE spaces ADD COLUMN listed_app_type text CHECK (listed_app_type IN ('JupyterLab', 'CodeEditor'));
ALTER TABLE spaces ADD COLUMN listed_app_status text
    CHECK (listed_app_status IN ('Pending', 'InService', 'Deleting', 'Deleted', 'Failed'));
ALTER TABLE spaces ADD COLUMN listed_app_created_at timestamptz;
ALTER TABLE spaces ADD COLUMN listed_app_instance_type text;
ALTER TABLE spaces ADD COLUMN listed_app_image text;
ALTER TABLE spaces ADD COLUMN listed_app_image_version text;
ALTER TABLE spaces ADD CHECK ((listed_app_type IS NULL) = (listed_app_status IS NULL)
                              AND (listed_app_type IS NULL) = (listed_app_created_at IS NULL));
ALTER TABLE spaces ADD COLUMN tags jsonb;
ALTER TABLE spaces ADD COLUMN tags_read_at timestamptz;
COMMENT ON COLUMN spaces.status IS 'As the newest listing showed it. None: only a replica of an earlier release has seen it.';
COMMENT ON COLUMN spaces.storage_gib IS 'The size of its EBS volume, which costs money also while the space is stopped.';
COMMENT ON COLUMN spaces.listed_app_type IS 'The app that the newest listing showed in it; none if it showed none.';
COMMENT ON COLUMN spaces.tags IS 'Its AWS tags, where they are read at all. None: never read.';

ALTER TABLE runs ADD COLUMN storage_gib integer CHECK (storage_gib >= 0);
ALTER TABLE runs ADD COLUMN image text;
ALTER TABLE runs ADD COLUMN image_version text;
ALTER TABLE runs ADD COLUMN last_seen_up_at timestamptz;
UPDATE runs SET last_seen_up_at = began_at WHERE ended_at IS NULL;
COMMENT ON COLUMN runs.last_seen_up_at IS 'The newest listing that showed it up. What lies between it and the end is unknown where nobody watched.';
-- Every listing writes to each open run: with room on its page that touches no index.
ALTER TABLE runs SET (fillfactor = 70);

CREATE TABLE watches (
    domain   text NOT NULL REFERENCES domains (alias),
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL CHECK (ended_at >= began_at),
    PRIMARY KEY (domain, began_at)
);
COMMENT ON TABLE watches IS 'Stretches of time in which a domain was listed again and again, none longer apart than three polling intervals. What lies between two of them is unknown.';
