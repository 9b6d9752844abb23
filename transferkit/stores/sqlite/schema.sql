-- Text to look up by is ANY: see `columns.stored`. Times are microseconds since 1970.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    partitions INTEGER NOT NULL,
    -- The highest position at the last pruning: no position is used again. AUTOINCREMENT would write one more page
    -- in every commit.
    pruned INTEGER NOT NULL
) STRICT;
INSERT INTO meta (one, partitions, pruned) VALUES (1, :partitions, 0);

CREATE TABLE calls (
    number INTEGER PRIMARY KEY,
    provider ANY NOT NULL,
    id ANY NOT NULL,
    state TEXT NOT NULL,
    open INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    UNIQUE (provider, id)
) STRICT;
CREATE INDEX calls_over ON calls (recorded_at) WHERE open = 0;

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    partition INTEGER NOT NULL,
    call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    event TEXT NOT NULL,
    -- The order of events over all partitions, under the name that it has in PostgreSQL.
    number INTEGER NOT NULL AS (position) VIRTUAL,
    UNIQUE (call, sequence)
) STRICT;
CREATE INDEX events_partition ON events (partition, position);

CREATE TABLE marks (
    call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
    key ANY NOT NULL,
    mark ANY NOT NULL,
    PRIMARY KEY (call, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
    id ANY PRIMARY KEY NOT NULL,
    call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
    idempotency_key ANY,
    opened TEXT NOT NULL,
    outcome TEXT
) STRICT;
CREATE INDEX requests_call ON requests (call);
-- Most requests have no key, and need no entry.
CREATE UNIQUE INDEX requests_key ON requests (idempotency_key) WHERE idempotency_key IS NOT NULL;

CREATE TABLE legs (
    provider ANY NOT NULL,
    id ANY NOT NULL,
    transfer_id ANY NOT NULL,
    PRIMARY KEY (provider, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX legs_transfer ON legs (transfer_id);

CREATE TABLE due (
    -- In the order of insertion, which is roughly that of the times: a lease of many rows changes few pages.
    number INTEGER PRIMARY KEY,
    transfer_id ANY NOT NULL,
    work TEXT NOT NULL,
    -- The provider whose adapter the work needs, if it needs one.
    provider ANY,
    at INTEGER NOT NULL,
    owner ANY,
    until INTEGER,
    free_at INTEGER NOT NULL AS (max(at, coalesce(until, at))) STORED,
    UNIQUE (transfer_id, work)
) STRICT;
CREATE INDEX due_free ON due (free_at, provider);

CREATE TABLE leases (
    name ANY PRIMARY KEY NOT NULL,
    owner ANY NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE consumer_groups (
    name ANY PRIMARY KEY NOT NULL,
    seen_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE members (
    name ANY NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
    owner ANY NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (name, owner)
) STRICT, WITHOUT ROWID;

-- `begun` to `begun_to`: the batch that the owner handles; `attempts` are those at its first event. Events up to `alone_to`
-- are begun alone, because a batch with them failed.
CREATE TABLE cursors (
    name ANY NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL,
    epoch INTEGER NOT NULL DEFAULT 0,
    owner ANY,
    begun INTEGER,
    begun_to INTEGER,
    alone_to INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (name, partition)
) STRICT, WITHOUT ROWID;

CREATE TABLE parked (
    name ANY NOT NULL REFERENCES consumer_groups ON DELETE CASCADE,
    partition INTEGER NOT NULL,
    position INTEGER NOT NULL REFERENCES events ON DELETE CASCADE,
    event_id ANY NOT NULL,
    attempts INTEGER NOT NULL,
    parked_at INTEGER NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (name, position),
    UNIQUE (name, event_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX parked_position ON parked (position);
