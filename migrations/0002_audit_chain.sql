-- The audit log becomes tamper-evident: every committed row gets a seal, in a chain of keyed MACs. See
-- server/src/domain/chain.rs for what is sealed and server/src/store/chain.rs for how.
--
-- A row waits in audit_pending from the transaction that writes it to the one that seals it. It is queued by a
-- trigger, so that replicas of the release before queue theirs too, and one that commits late cannot be missed.

CREATE TABLE audit_pending (
    place     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    audit_id  uuid NOT NULL,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (vacuum_truncate = false);
COMMENT ON TABLE audit_pending IS 'Audit rows that have no seal yet. Nothing here is unique, and vacuum does not shorten it, so that no writer ever waits.';
CREATE INDEX audit_pending_by_row ON audit_pending (audit_id);

CREATE TABLE audit_seals (
    seq      bigint PRIMARY KEY CHECK (seq > 0),
    audit_id uuid NOT NULL UNIQUE,
    version  smallint NOT NULL,
    mac      bytea NOT NULL CHECK (length(mac) = 32)
);
COMMENT ON TABLE audit_seals IS 'The chain: one seal for each audit row, without gaps, in the order of sealing. Append-only.';
COMMENT ON COLUMN audit_seals.version IS 'How the row was turned into bytes.';
COMMENT ON COLUMN audit_seals.mac IS 'HMAC-SHA256 over the number, the MAC before and the row. The key is among the secrets.';
CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE audit_head (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq      bigint NOT NULL CHECK (seq >= 0),
    mac      bytea NOT NULL CHECK (length(mac) = 32),
    at       timestamptz NOT NULL,
    head_mac bytea NOT NULL CHECK (length(head_mac) = 32)
);
COMMENT ON TABLE audit_head IS 'Where the chain ends: one row, with a MAC of its own, so that a chain that was cut is seen to be short.';

CREATE FUNCTION queue_audit_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_pending (audit_id) VALUES (NEW.id);
    RETURN NULL;
END
$$;

-- What is there already is queued before the trigger's lock is taken, since that lock keeps writers waiting; what
-- was written meanwhile follows.
INSERT INTO audit_pending (audit_id) SELECT id FROM audit ORDER BY at, id;
CREATE TRIGGER audit_queued AFTER INSERT ON audit FOR EACH ROW EXECUTE FUNCTION queue_audit_row();
INSERT INTO audit_pending (audit_id)
SELECT a.id FROM audit a
WHERE NOT EXISTS (SELECT FROM audit_pending p WHERE p.audit_id = a.id)
ORDER BY a.at, a.id;
