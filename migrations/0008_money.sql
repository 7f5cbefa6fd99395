-- What spaces cost: what the time of runs was, prices, and who was told about budgets.

ALTER TABLE spaces ADD COLUMN IF NOT EXISTS storage_gib integer;
ALTER TABLE runs ADD COLUMN IF NOT EXISTS storage_gib integer;

ALTER TABLE runs ADD COLUMN judged_until timestamptz;
COMMENT ON COLUMN runs.judged_until IS 'Up to when its time is in spells. Only ever grows.';

CREATE TABLE spells (
    run_id   uuid NOT NULL REFERENCES runs (id),
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    kind     text NOT NULL CHECK (kind IN ('active', 'idle', 'unknown')),
    PRIMARY KEY (run_id, began_at),
    CHECK (began_at < ended_at)
);
COMMENT ON TABLE spells IS 'What the time of a run was, by the evidence. Spells of a run do not overlap; what none covers is unknown.';

CREATE TABLE prices (
    region     text NOT NULL,
    usage      text NOT NULL CHECK (usage IN ('JupyterLab', 'CodeEditor', 'Storage')),
    item       text NOT NULL,
    valid_from timestamptz NOT NULL,
    nano_usd   bigint CHECK (nano_usd > 0),
    currency   text NOT NULL DEFAULT 'USD' CHECK (currency = 'USD'),
    source     text NOT NULL,
    as_of      date NOT NULL,
    PRIMARY KEY (region, usage, item, valid_from)
);
COMMENT ON TABLE prices IS 'List prices of AWS. Each counts until the next of its kind; a change is a new row.';
COMMENT ON COLUMN prices.item IS 'The instance type; gp3 for storage.';
COMMENT ON COLUMN prices.nano_usd IS 'Billionths of a dollar for an hour, or for a GB and a month; none where it is unknown, which is not 0.';
COMMENT ON COLUMN prices.as_of IS 'The day for which the source last said it.';

CREATE TABLE price_readings (
    region    text PRIMARY KEY,
    due_at    timestamptz NOT NULL,
    read_at   timestamptz,
    prices    integer,
    malformed integer,
    problem   text
);
COMMENT ON TABLE price_readings IS 'When the price list of a region was read and is read again. The replica that moves due_at on reads it.';

CREATE TABLE budget_warnings (
    budget    text NOT NULL,
    month     date NOT NULL,
    percent   integer NOT NULL,
    warned_at timestamptz NOT NULL,
    PRIMARY KEY (budget, month, percent)
);
COMMENT ON TABLE budget_warnings IS 'Levels of budgets that were reached, each once a month.';
