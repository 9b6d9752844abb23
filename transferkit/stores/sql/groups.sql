-- name: open_group
INSERT INTO tk.consumer_groups (name) VALUES (:group) ON CONFLICT DO NOTHING

-- name: remove_group
DELETE FROM tk.consumer_groups WHERE name = :group RETURNING 1

-- name: see_group
UPDATE tk.consumer_groups SET seen_at = :now WHERE name = :group RETURNING 1

-- name: renew_member
INSERT INTO tk.members (name, owner, until) SELECT name, :owner, :until FROM tk.consumer_groups WHERE name = :group
ON CONFLICT (name, owner) DO UPDATE SET until = excluded.until

-- name: remove_expired_members
DELETE FROM tk.members WHERE name = :group AND until <= :now AND owner <> :owner

-- name: release_partitions_without_member
UPDATE tk.cursors SET owner = NULL
WHERE name = :group AND owner NOT IN (SELECT owner FROM tk.members WHERE name = :group)

-- name: members
SELECT owner FROM tk.members WHERE name = :group

-- name: partition_owners
SELECT owner FROM tk.cursors WHERE name = :group ORDER BY partition

-- name: release_partition
UPDATE tk.cursors SET owner = NULL WHERE name = :group AND partition = :partition

-- name: take_partition
UPDATE tk.cursors SET owner = :owner, epoch = epoch + 1 WHERE name = :group AND partition = :partition

-- name: remove_member
DELETE FROM tk.members WHERE name = :group AND owner = :owner

-- name: release_own_partitions
UPDATE tk.cursors SET owner = NULL WHERE name = :group AND owner = :owner

-- name: uncount_attempt
UPDATE tk.cursors SET attempts = attempts - 1, begun_to = CASE WHEN attempts > 1 THEN begun END
WHERE name = :group AND partition = :partition AND begun = :position AND owner = :owner AND epoch = :epoch

-- name: uncount_released_attempt
UPDATE tk.parked SET attempts = 0
WHERE name = :group AND partition = :partition AND position = :position AND released AND EXISTS (
    SELECT 1 FROM tk.cursors WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch
)

-- name: waiting_released
-- The columns of `waiting` for events that were parked and released. An event whose call is missing, as in a damaged
-- file, is delivered too: it must not stop its partition.
SELECT true, k.epoch, p.attempts, p.event_id, true,
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.parked p
JOIN tk.cursors k ON k.name = p.name AND k.partition = p.partition
JOIN tk.events e ON e.partition = p.partition AND e.position = p.position
LEFT JOIN tk.calls c ON c.number = e.call
WHERE p.name = :group AND p.released AND k.owner = :owner ORDER BY e.number

-- name: count_attempt
-- A batch that was begun before and not acknowledged has failed: its events are begun alone from now on.
UPDATE tk.cursors SET begun = :position, begun_to = :last, attempts = :attempt,
    alone_to = CASE WHEN begun_to > alone_to THEN begun_to ELSE alone_to END
WHERE name = :group AND partition = :partition

-- name: count_released_attempt
UPDATE tk.parked SET attempts = :attempt
WHERE name = :group AND partition = :partition AND position = :position

-- name: park
INSERT INTO tk.parked (name, partition, position, event_id, attempts, parked_at)
VALUES (:group, :partition, :position, :event_id, :attempts, :now)

-- name: pass_parked
UPDATE tk.cursors SET position = :position, begun = NULL, begun_to = NULL, attempts = 0,
    alone_to = CASE WHEN begun_to > alone_to THEN begun_to ELSE alone_to END
WHERE name = :group AND partition = :partition

-- name: park_again
UPDATE tk.parked SET released = false, parked_at = :now
WHERE name = :group AND partition = :partition AND position = :position

-- name: acknowledge
UPDATE tk.cursors SET position = :position, begun = NULL, begun_to = NULL, attempts = 0
WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch
AND begun <= :position AND begun_to >= :position

-- name: begin_received
UPDATE tk.cursors SET begun = :position, begun_to = :position, attempts = :attempt
WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch
AND begun IS NULL AND position < :position

-- name: is_acknowledged
SELECT 1 FROM tk.cursors
WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch AND position >= :position

-- name: acknowledge_released
DELETE FROM tk.parked
WHERE name = :group AND partition = :partition AND position = :position AND released AND EXISTS (
    SELECT 1 FROM tk.cursors WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch
)

-- name: is_released_acknowledged
SELECT 1 FROM tk.cursors
WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch AND NOT EXISTS (
    SELECT 1 FROM tk.parked WHERE name = :group AND partition = :partition AND position = :position
)

-- name: parked
SELECT p.event_id, p.attempts, p.parked_at, p.released,
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.parked p
JOIN tk.events e ON e.partition = p.partition AND e.position = p.position
LEFT JOIN tk.calls c ON c.number = e.call
WHERE p.name = :group ORDER BY e.number

-- name: release
UPDATE tk.parked SET released = true, attempts = 0
WHERE name = :group AND event_id = :event_id AND NOT released

-- name: is_parked
SELECT 1 FROM tk.parked WHERE name = :group AND event_id = :event_id
