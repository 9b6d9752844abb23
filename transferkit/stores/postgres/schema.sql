-- Rows that are updated often leave room on their page (fillfactor): a new version stays on the page and updates no index
-- (HOT). No column that changes often is indexed, except when work is due. These tables are vacuumed by count, not by
-- share.

CREATE TABLE tk.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    partitions integer NOT NULL
);
INSERT INTO tk.meta (version, partitions) VALUES (:version, :partitions);

-- Each partition's last position. A transaction that appends to the partition has locked its row.
CREATE TABLE tk.partitions (
    partition integer PRIMARY KEY,
    position bigint NOT NULL DEFAULT 0
) WITH (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);
INSERT INTO tk.partitions (partition) SELECT generate_series(0, :partitions - 1);

-- `stamp` is a random number that says which commit wrote a row last: whether another one came in between, and whether a
-- commit without a reply was done. A counter would need a lock before the commit.
CREATE TABLE tk.calls (
    number bigint PRIMARY KEY,
    provider text NOT NULL,
    id text NOT NULL,
    state text NOT NULL,
    open boolean NOT NULL,
    created_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    stamp bigint NOT NULL,
    UNIQUE (provider, id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX calls_created ON tk.calls (created_at);

-- `number` orders events of different partitions roughly by time. It is not a cursor: a late commit shows a small number
-- late. `position` is a cursor: the partition's row is locked from its assignment until the commit.
CREATE TABLE tk.events (
    partition integer NOT NULL,
    position bigint NOT NULL,
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    call bigint NOT NULL,
    sequence integer NOT NULL,
    event text NOT NULL,
    stamp bigint NOT NULL,
    PRIMARY KEY (partition, position),
    UNIQUE (call, sequence)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE TABLE tk.marks (
    call bigint NOT NULL,
    key text NOT NULL,
    mark text NOT NULL,
    PRIMARY KEY (call, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE tk.requests (
    id text PRIMARY KEY,
    call bigint NOT NULL,
    idempotency_key text,
    opened text NOT NULL,
    outcome text
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX requests_call ON tk.requests (call);
-- Most requests have no key, and need no entry.
CREATE UNIQUE INDEX requests_key ON tk.requests (idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE tk.legs (
    provider text NOT NULL,
    id text NOT NULL,
    transfer_id text NOT NULL,
    PRIMARY KEY (provider, id)
) WITH (
    fillfactor = 90, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);
CREATE INDEX legs_transfer ON tk.legs (transfer_id);

-- The provider is the one whose adapter the work needs, if it needs one.
CREATE TABLE tk.due (
    transfer_id text NOT NULL,
    work text NOT NULL,
    provider text,
    at timestamptz NOT NULL,
    owner text,
    until timestamptz,
    free_at timestamptz NOT NULL GENERATED ALWAYS AS (greatest(at, until)) STORED,
    PRIMARY KEY (transfer_id, work)
) WITH (
    fillfactor = 80, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);
CREATE INDEX due_free ON tk.due (free_at);

CREATE TABLE tk.leases (
    name text PRIMARY KEY,
    owner text NOT NULL,
    until timestamptz NOT NULL
) WITH (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);

CREATE TABLE tk.consumer_groups (
    name text PRIMARY KEY,
    seen_at timestamptz
) WITH (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);

CREATE TABLE tk.members (
    name text NOT NULL REFERENCES tk.consumer_groups ON DELETE CASCADE,
    owner text NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (name, owner)
) WITH (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);

-- `begun` to `begun_to`: the batch that the owner handles; `attempts` are those at its first event. Events up to `alone_to`
-- are begun alone, because a batch with them failed.
CREATE TABLE tk.cursors (
    name text NOT NULL REFERENCES tk.consumer_groups ON DELETE CASCADE,
    partition integer NOT NULL,
    position bigint NOT NULL,
    epoch bigint NOT NULL DEFAULT 0,
    owner text,
    begun bigint,
    begun_to bigint,
    alone_to bigint NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    PRIMARY KEY (name, partition)
) WITH (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 5000
);

CREATE TABLE tk.parked (
    name text NOT NULL REFERENCES tk.consumer_groups ON DELETE CASCADE,
    partition integer NOT NULL,
    position bigint NOT NULL,
    event_id text NOT NULL,
    attempts integer NOT NULL,
    parked_at timestamptz NOT NULL,
    released boolean NOT NULL DEFAULT false,
    PRIMARY KEY (name, partition, position),
    UNIQUE (name, event_id),
    FOREIGN KEY (partition, position) REFERENCES tk.events ON DELETE CASCADE
);
CREATE INDEX parked_event ON tk.parked (partition, position);
