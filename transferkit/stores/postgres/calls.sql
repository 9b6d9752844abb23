-- Calls, requests, due work and the log, where PostgreSQL's SQL differs from SQLite's.

-- name: settings
-- For one transaction only, so that a proxy does not pass them to other clients: how long to wait for a lock, how long
-- a process may stop while it has one, and that a commit is flushed before it is acknowledged, whatever the defaults
-- of the role are.
SELECT set_config('lock_timeout', '5s', true),
    set_config('idle_in_transaction_session_timeout', '1500ms', true),
    set_config('synchronous_commit', CASE WHEN NOT :durable THEN 'off'
        WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'
        ELSE current_setting('synchronous_commit') END, true)

-- name: lock_schema
-- Another process may create the tables for a while.
SELECT set_config('lock_timeout', '60s', true), pg_advisory_xact_lock(hashtextextended('transferkit tk.', 0))

-- name: clock
SELECT clock_timestamp()

-- name: find_tables
SELECT 1 FROM pg_tables WHERE schemaname = :schema AND tablename = 'meta'

-- name: read_meta
SELECT version, partitions FROM tk.meta

-- name: ended_requests
SELECT r.id, c.provider, c.id, r.opened, r.outcome
FROM tk.requests r JOIN tk.calls c ON c.number = r.call
WHERE r.id = ANY(:transfer_ids::text[]) AND r.outcome IS NOT NULL

-- name: lease_due
-- One statement, so that no lock waits for this process. Rows that another process is leasing are skipped. CASE, as
-- the planner assumes that half of the rows fulfil it: then it reads them in the order of the index, also if its
-- statistics are old or missing, and does not sort all that is due.
WITH free AS MATERIALIZED (
    SELECT transfer_id, work FROM tk.due
    WHERE free_at <= :now AND CASE WHEN work = ANY(:works::text[])
    THEN :any_provider OR provider IS NULL OR provider = ANY(:providers::text[]) END
    ORDER BY free_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
UPDATE tk.due d SET owner = :owner, until = :until FROM free
WHERE d.transfer_id = free.transfer_id AND d.work = free.work
RETURNING d.transfer_id, d.work, d.at

-- name: next_due
SELECT free_at FROM tk.due
WHERE CASE WHEN work = ANY(:works::text[])
THEN :any_provider OR provider IS NULL OR provider = ANY(:providers::text[]) END
ORDER BY free_at LIMIT 1

-- name: end_of_log
SELECT position FROM tk.partitions ORDER BY partition

-- name: read_log
-- Each partition in the order of its commits; older events of different partitions first.
SELECT e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM unnest(:after::bigint[]) WITH ORDINALITY AS a (position, nth) CROSS JOIN LATERAL (
    SELECT * FROM tk.events WHERE partition = a.nth - 1 AND position > a.position ORDER BY position LIMIT :limit
) e LEFT JOIN tk.calls c ON c.number = e.call ORDER BY e.number LIMIT :limit

-- name: notify
SELECT pg_notify(:channel, :message)

-- name: table_figures
SELECT relname, n_live_tup, n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables
WHERE schemaname = :schema ORDER BY 4 DESC, 1

-- Retention

-- name: prepare_prune
-- Locks finished calls that nothing else has locked. Their numbers are passed to the next statement by the server, so
-- that no lock waits for this process. A call's `created_at` never changes, so that its index costs nothing later.
SELECT set_config('transferkit.pruned', array_agg(number)::text, true) FROM (
    SELECT c.number FROM tk.calls c
    WHERE c.created_at < :before AND c.recorded_at < :before AND NOT c.open
    AND NOT EXISTS (SELECT 1 FROM tk.legs l WHERE l.provider = c.provider AND l.id = c.id)
    AND EXISTS (SELECT 1 FROM tk.events e WHERE e.call = c.number)
    AND NOT EXISTS (
        SELECT 1 FROM tk.events e
        JOIN tk.cursors k ON k.partition = e.partition AND k.position < e.position
        JOIN tk.consumer_groups g ON g.name = k.name AND g.seen_at >= :idle_since WHERE e.call = c.number
    ) AND NOT EXISTS (
        SELECT 1 FROM tk.events e JOIN tk.parked p USING (partition, position)
        JOIN tk.consumer_groups g ON g.name = p.name AND g.seen_at >= :idle_since WHERE e.call = c.number
    )
    ORDER BY c.created_at LIMIT :limit FOR UPDATE OF c SKIP LOCKED
) locked

-- name: prune
-- Checks the calls again, now that they are locked and nothing can be added to them. No partition's row is touched.
WITH deleted AS (
    DELETE FROM tk.calls c
    WHERE c.number = ANY(nullif(current_setting('transferkit.pruned'), '')::bigint[])
    AND c.recorded_at < :before AND NOT c.open
    AND NOT EXISTS (SELECT 1 FROM tk.legs l WHERE l.provider = c.provider AND l.id = c.id)
    AND NOT EXISTS (
        SELECT 1 FROM tk.events e
        JOIN tk.cursors k ON k.partition = e.partition AND k.position < e.position
        JOIN tk.consumer_groups g ON g.name = k.name AND g.seen_at >= :idle_since WHERE e.call = c.number
    ) AND NOT EXISTS (
        SELECT 1 FROM tk.events e JOIN tk.parked p USING (partition, position)
        JOIN tk.consumer_groups g ON g.name = p.name AND g.seen_at >= :idle_since WHERE e.call = c.number
    ) RETURNING number
),
events AS (DELETE FROM tk.events WHERE call IN (SELECT number FROM deleted)),
marks AS (DELETE FROM tk.marks WHERE call IN (SELECT number FROM deleted)),
requests AS (DELETE FROM tk.requests WHERE call IN (SELECT number FROM deleted))
SELECT number FROM deleted
