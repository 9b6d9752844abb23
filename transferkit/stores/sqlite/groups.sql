-- Consumer groups, where SQLite's SQL differs from PostgreSQL's.

-- name: lock_member
-- A transaction that writes has locked the whole file.
SELECT 1

-- name: start_group
WITH RECURSIVE partitions (partition) AS (
    SELECT 0 UNION ALL
    SELECT partition + 1 FROM partitions WHERE partition + 1 < (SELECT partitions FROM tk.meta)
)
INSERT INTO tk.cursors (name, partition, position)
SELECT :group, partition, CASE WHEN :now THEN max(pruned, coalesce((SELECT max(position) FROM tk.events), 0)) ELSE 0 END
FROM partitions, tk.meta
WHERE NOT EXISTS (SELECT 1 FROM tk.cursors WHERE name = :group)

-- name: waiting_in_log
-- The events after the cursor of one of the owner's partitions: the one whose first event is the oldest.
SELECT false, k.epoch, CASE WHEN k.begun = e.position THEN k.attempts ELSE 0 END, NULL,
    e.position <= CASE WHEN k.begun_to > k.alone_to THEN k.begun_to ELSE k.alone_to END,
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM (
    SELECT k.* FROM tk.cursors k JOIN tk.events e ON e.position = (
        SELECT min(position) FROM tk.events WHERE partition = k.partition AND position > k.position
    ) WHERE k.name = :group AND k.owner = :owner ORDER BY e.position LIMIT 1
) k JOIN tk.events e ON e.position IN (
    SELECT position FROM tk.events WHERE partition = k.partition AND position > k.position
    ORDER BY position LIMIT :limit
) LEFT JOIN tk.calls c ON c.number = e.call ORDER BY e.position

-- name: groups
WITH waiting AS (
    SELECT k.name, count(*) AS lag, min(e.position) AS position
    FROM tk.cursors k CROSS JOIN tk.events e ON e.partition = k.partition AND e.position > k.position
    GROUP BY k.name
)
SELECT g.name, g.seen_at, coalesce(w.lag, 0),
    (SELECT count(*) FROM tk.parked p WHERE p.name = g.name),
    (SELECT count(*) FROM tk.members m WHERE m.name = g.name),
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.consumer_groups g
LEFT JOIN waiting w ON w.name = g.name
LEFT JOIN tk.events e ON e.position = w.position
LEFT JOIN tk.calls c ON c.number = e.call
