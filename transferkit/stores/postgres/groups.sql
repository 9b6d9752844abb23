-- Consumer groups, where PostgreSQL's SQL differs from SQLite's.
--
-- A member's row is the lock of all partitions that it owns: a transaction that delivers to a member, acknowledges for
-- it, releases its partitions or takes them after its lease has ended locks that row first. Unowned partitions are taken
-- under the lock of the group's row. `hold` and `begin_next` wait for this process while they have locks: if it stops
-- there, the others of the group wait until the server ends its transaction.

-- name: lock_member
SELECT 1 FROM tk.members WHERE name = :group AND owner = :owner FOR NO KEY UPDATE

-- name: start_group
INSERT INTO tk.cursors (name, partition, position)
SELECT :group, p.partition, CASE WHEN :now THEN p.position ELSE 0 END FROM tk.partitions p
WHERE NOT EXISTS (SELECT 1 FROM tk.cursors WHERE name = :group)

-- name: waiting_in_log
-- The events after the cursor of one of the owner's partitions: the one whose first event is the oldest.
SELECT false, k.epoch, CASE WHEN k.begun = e.position THEN k.attempts ELSE 0 END, NULL,
    e.position <= CASE WHEN k.begun_to > k.alone_to THEN k.begun_to ELSE k.alone_to END,
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM (
    SELECT k.* FROM tk.cursors k JOIN tk.events e ON e.partition = k.partition AND e.position = (
        SELECT min(position) FROM tk.events WHERE partition = k.partition AND position > k.position
    ) WHERE k.name = :group AND k.owner = :owner ORDER BY e.number LIMIT 1
) k CROSS JOIN LATERAL (
    SELECT * FROM tk.events WHERE partition = k.partition AND position > k.position ORDER BY position LIMIT :limit
) e LEFT JOIN tk.calls c ON c.number = e.call ORDER BY e.position

-- name: groups
SELECT g.name, g.seen_at, waiting.lag,
    (SELECT count(*) FROM tk.parked p WHERE p.name = g.name),
    (SELECT count(*) FROM tk.members m WHERE m.name = g.name),
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.consumer_groups g
CROSS JOIN LATERAL (
    SELECT count(*) AS lag FROM tk.cursors k
    JOIN tk.events e ON e.partition = k.partition AND e.position > k.position WHERE k.name = g.name
) waiting
LEFT JOIN LATERAL (
    SELECT e.* FROM tk.cursors k CROSS JOIN LATERAL (
        SELECT * FROM tk.events WHERE partition = k.partition AND position > k.position ORDER BY position LIMIT 1
    ) e WHERE k.name = g.name ORDER BY e.number LIMIT 1
) e ON true
LEFT JOIN tk.calls c ON c.number = e.call
