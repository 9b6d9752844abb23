-- Reading and writing calls, requests, due work and the log, where SQLite's SQL differs from PostgreSQL's.

-- name: ended_requests
SELECT r.id, c.provider, c.id, r.opened, r.outcome
FROM tk.requests r JOIN tk.calls c ON c.number = r.call
WHERE r.id IN (SELECT value FROM json_each(:transfer_ids)) AND r.outcome IS NOT NULL

-- name: lease_due
UPDATE tk.due SET owner = :owner, until = :until
WHERE number IN (
    SELECT number FROM tk.due
    WHERE free_at <= :now AND work IN (SELECT value FROM json_each(:works))
    AND (:any_provider OR provider IS NULL OR provider IN (SELECT value FROM json_each(:providers)))
    ORDER BY free_at LIMIT :limit
) RETURNING transfer_id, work, at

-- name: next_due
SELECT free_at FROM tk.due
WHERE work IN (SELECT value FROM json_each(:works))
AND (:any_provider OR provider IS NULL OR provider IN (SELECT value FROM json_each(:providers)))
ORDER BY free_at LIMIT 1

-- name: last_numbers
-- The number of the last call, and the position of the last event that was written.
SELECT coalesce((SELECT max(number) FROM tk.calls), 0),
       max(pruned, coalesce((SELECT max(position) FROM tk.events), 0)) FROM tk.meta

-- name: end_of_log
-- The position of the last event that was written, even if it is deleted by now.
SELECT max(pruned, coalesce((SELECT max(position) FROM tk.events), 0)) FROM tk.meta

-- name: read_log
SELECT e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.events e LEFT JOIN tk.calls c ON c.number = e.call
WHERE e.position > json_extract(:after, '$[0]') ORDER BY e.position LIMIT :limit

-- What the steps of a commit need. The columns: kind, index, number, stamp and the values of that kind.

-- name: read_call
SELECT 'call', :i, number, 0, state FROM tk.calls WHERE provider = :provider AND id = :call_id

-- name: read_mark
SELECT 'mark', :i, NULL, NULL, m.mark FROM tk.marks m JOIN tk.calls c ON c.number = m.call
WHERE c.provider = :provider AND c.id = :call_id AND m.key = :key

-- name: read_key
SELECT 'key', :i, NULL, NULL, r.id, c.provider, c.id, r.opened, r.outcome
FROM tk.requests r JOIN tk.calls c ON c.number = r.call WHERE r.idempotency_key = :key

-- name: read_leg
SELECT 'leg', :i, NULL, NULL, transfer_id FROM tk.legs WHERE provider = :provider AND id = :call_id

-- What a commit writes, one table after the other.

-- name: write_new_calls
INSERT INTO tk.calls (number, provider, id, state, open, recorded_at)
VALUES (:number, :provider, :call_id, :state, :open, :at)

-- name: write_changed_calls
UPDATE tk.calls SET state = :state, open = :open, recorded_at = coalesce(:at, recorded_at) WHERE number = :number

-- name: write_marks
INSERT INTO tk.marks (call, key, mark) VALUES (:number, :key, :mark)
ON CONFLICT (call, key) DO UPDATE SET mark = excluded.mark

-- name: write_requests
INSERT INTO tk.requests (id, call, idempotency_key, opened, outcome)
VALUES (:transfer_id, :number, :key, :opened, :outcome)

-- name: write_outcomes
UPDATE tk.requests SET outcome = :outcome WHERE id = :transfer_id

-- name: free_legs
DELETE FROM tk.legs WHERE transfer_id = :transfer_id

-- name: write_legs
INSERT INTO tk.legs (provider, id, transfer_id) VALUES (:provider, :call_id, :transfer_id)

-- name: write_cleared
DELETE FROM tk.due WHERE transfer_id = :transfer_id AND work = :work

-- name: write_due
INSERT INTO tk.due (transfer_id, work, provider, at, owner, until)
VALUES (:transfer_id, :work, :provider, :at, :owner, :until)
ON CONFLICT (transfer_id, work) DO UPDATE SET at = excluded.at, owner = excluded.owner, until = excluded.until

-- name: write_events
INSERT INTO tk.events (position, partition, call, sequence, event)
VALUES (:position, :partition, :number, :sequence, :event)

-- Retention

-- name: prepare_prune
-- No position is used again, not even if the newest events are deleted.
UPDATE tk.meta SET pruned = max(pruned, coalesce((SELECT max(position) FROM tk.events), 0))

-- name: prune
DELETE FROM tk.calls WHERE number IN (
    WITH passed AS (
        SELECT k.partition, min(k.position) AS position
        FROM tk.cursors k JOIN tk.consumer_groups g USING (name)
        WHERE g.seen_at >= :idle_since GROUP BY k.partition
    )
    SELECT c.number FROM tk.calls c
    JOIN tk.events last ON last.position = (SELECT max(position) FROM tk.events WHERE call = c.number)
    LEFT JOIN passed ON passed.partition = last.partition
    WHERE c.open = 0 AND c.recorded_at < :before
    AND (passed.position IS NULL OR passed.position >= last.position)
    AND NOT EXISTS (SELECT 1 FROM tk.legs l WHERE l.provider = c.provider AND l.id = c.id)
    AND NOT EXISTS (
        SELECT 1 FROM tk.events e JOIN tk.parked p USING (position) JOIN tk.consumer_groups g USING (name)
        WHERE e.call = c.number AND g.seen_at >= :idle_since
    )
    LIMIT :limit
) RETURNING number
