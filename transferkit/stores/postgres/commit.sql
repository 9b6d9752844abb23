-- The two statements of a commit. No lock is held between them, so a process that stops there blocks no other one.

-- name: read_needed
-- What the steps of a commit need, all as of one moment. The columns: kind, index, number, stamp and the values of that
-- kind. The rows of kind `event` are those that an earlier try of the same commit would have written.
SELECT 'call', a.i - 1, c.number, c.stamp, c.state, NULL, NULL, NULL, NULL
FROM unnest(:calls_provider::text[], :calls_call_id::text[]) WITH ORDINALITY AS a (provider, id, i)
JOIN tk.calls c USING (provider, id)
UNION ALL
SELECT 'mark', a.i - 1, NULL, NULL, m.mark, NULL, NULL, NULL, NULL
FROM unnest(:marks_provider::text[], :marks_call_id::text[], :marks_key::text[])
    WITH ORDINALITY AS a (provider, id, key, i)
JOIN tk.calls c USING (provider, id) JOIN tk.marks m ON m.call = c.number AND m.key = a.key
UNION ALL
SELECT 'key', a.i - 1, NULL, NULL, r.id, c.provider, c.id, r.opened, r.outcome
FROM unnest(:keys_key::text[]) WITH ORDINALITY AS a (key, i)
JOIN tk.requests r ON r.idempotency_key = a.key JOIN tk.calls c ON c.number = r.call
UNION ALL
SELECT 'leg', a.i - 1, NULL, NULL, l.transfer_id, NULL, NULL, NULL, NULL
FROM unnest(:legs_provider::text[], :legs_call_id::text[]) WITH ORDINALITY AS a (provider, id, i)
JOIN tk.legs l USING (provider, id)
UNION ALL
SELECT 'event', NULL, NULL, e.stamp, NULL, NULL, NULL, NULL, NULL
FROM unnest(:tries_number::bigint[], :tries_sequence::int[], :tries_stamp::bigint[]) AS a (call, sequence, stamp)
JOIN tk.events e USING (call, sequence, stamp)

-- name: write_changes
-- Everything that a commit writes, in one statement, which is a transaction of its own: its locks are taken and released
-- while the server executes it. It writes nothing if a call has changed since it was read. It locks the calls in the
-- order of their numbers, and the rows of every other table in the order of their keys, so that two such statements do
-- not wait for each other. It returns whether it wrote, and the end of each partition that has grown.
WITH settings AS MATERIALIZED (
    SELECT set_config('lock_timeout', '5s', true),
        set_config('idle_in_transaction_session_timeout', '1500ms', true),
        set_config('synchronous_commit', CASE current_setting('synchronous_commit')
            WHEN 'off' THEN 'on' WHEN 'local' THEN 'on' ELSE current_setting('synchronous_commit') END, true)
), locked AS MATERIALIZED (
    SELECT c.number FROM settings
    CROSS JOIN unnest(:locks_number::bigint[], :locks_stamp::bigint[]) AS a (number, stamp)
    JOIN tk.calls c USING (number, stamp) ORDER BY c.number FOR NO KEY UPDATE OF c
), fresh AS MATERIALIZED (
    SELECT (SELECT count(*) FROM locked) = :locked AS yes FROM settings
), made AS (
    INSERT INTO tk.calls (number, provider, id, state, open, created_at, recorded_at, stamp)
    SELECT a.number, a.provider, a.id, a.state, a.open, a.at, a.at, :stamp FROM fresh JOIN unnest(
        :new_calls_number::bigint[], :new_calls_provider::text[], :new_calls_call_id::text[],
        :new_calls_state::text[], :new_calls_open::bool[], :new_calls_at::timestamptz[]
    ) AS a (number, provider, id, state, open, at) ON fresh.yes
), changed AS (
    UPDATE tk.calls c SET state = a.state, open = a.open, recorded_at = coalesce(a.at, c.recorded_at), stamp = :stamp
    FROM fresh JOIN unnest(
        :changed_calls_number::bigint[], :changed_calls_state::text[], :changed_calls_open::bool[],
        :changed_calls_at::timestamptz[]
    ) AS a (number, state, open, at) ON fresh.yes WHERE c.number = a.number
), marked AS (
    INSERT INTO tk.marks (call, key, mark) SELECT a.call, a.key, a.mark
    FROM fresh JOIN unnest(:marks_number::bigint[], :marks_key::text[], :marks_mark::text[])
        AS a (call, key, mark) ON fresh.yes
    ON CONFLICT (call, key) DO UPDATE SET mark = excluded.mark
), requested AS (
    INSERT INTO tk.requests (id, call, idempotency_key, opened, outcome)
    SELECT a.id, a.call, a.key, a.opened, a.outcome FROM fresh JOIN unnest(
        :requests_transfer_id::text[], :requests_number::bigint[], :requests_key::text[], :requests_opened::text[],
        :requests_outcome::text[]
    ) AS a (id, call, key, opened, outcome) ON fresh.yes
), ended AS (
    UPDATE tk.requests r SET outcome = a.outcome
    FROM fresh JOIN unnest(:outcomes_transfer_id::text[], :outcomes_outcome::text[]) AS a (id, outcome) ON fresh.yes
    WHERE r.id = a.id
), freed AS (
    DELETE FROM tk.legs l USING fresh
    WHERE fresh.yes AND l.transfer_id = ANY(:outcomes_transfer_id::text[]) RETURNING 1
), occupied AS (
    -- Only after the legs are free that become free in the same commit.
    INSERT INTO tk.legs (provider, id, transfer_id) SELECT a.provider, a.id, a.transfer_id
    FROM fresh JOIN unnest(:legs_provider::text[], :legs_call_id::text[], :legs_transfer_id::text[])
        AS a (provider, id, transfer_id) ON fresh.yes
    WHERE (SELECT count(*) FROM freed) >= 0
), cleared AS (
    DELETE FROM tk.due d USING fresh, unnest(:cleared_transfer_id::text[], :cleared_work::text[]) AS a (id, work)
    WHERE fresh.yes AND d.transfer_id = a.id AND d.work = a.work
), due AS (
    INSERT INTO tk.due (transfer_id, work, provider, at, owner, until)
    SELECT a.transfer_id, a.work, a.provider, a.at, a.owner, a.until FROM fresh JOIN unnest(
        :due_transfer_id::text[], :due_work::text[], :due_provider::text[], :due_at::timestamptz[], :due_owner::text[],
        :due_until::timestamptz[]
    ) AS a (transfer_id, work, provider, at, owner, until) ON fresh.yes
    ON CONFLICT (transfer_id, work) DO UPDATE SET at = excluded.at, owner = excluded.owner, until = excluded.until
), added AS MATERIALIZED (
    SELECT a.*, row_number() OVER (PARTITION BY a.partition ORDER BY a.i) AS nth
    FROM unnest(:events_partition::int[], :events_number::bigint[], :events_sequence::int[], :events_event::text[])
        WITH ORDINALITY AS a (partition, call, sequence, event, i)
), places AS MATERIALIZED (
    -- A partition's row is locked from the moment its positions are assigned until the commit.
    SELECT p.partition, p.position FROM tk.partitions p
    WHERE p.partition = ANY(:events_partition::int[]) AND (SELECT yes FROM fresh)
    ORDER BY p.partition FOR NO KEY UPDATE
), appended AS (
    -- Ordered, so that `number` grows with the positions of a partition.
    INSERT INTO tk.events (partition, position, call, sequence, event, stamp)
    SELECT a.partition, p.position + a.nth, a.call, a.sequence, a.event, :stamp
    FROM added a JOIN places p USING (partition) ORDER BY a.i
), moved AS (
    UPDATE tk.partitions p SET position = l.position + a.nth
    FROM (SELECT partition, max(nth) AS nth FROM added GROUP BY partition) a JOIN places l USING (partition)
    WHERE p.partition = l.partition RETURNING p.partition, p.position
)
SELECT yes, moved.partition, moved.position FROM fresh LEFT JOIN moved ON true
