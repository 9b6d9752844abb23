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
UPDATE tk.cursors SET attempts = attempts - 1
WHERE name = :group AND partition = :partition AND begun = :position AND owner = :owner AND epoch = :epoch

-- name: uncount_released_attempt
UPDATE tk.parked SET attempts = 0
WHERE name = :group AND partition = :partition AND position = :position AND released AND EXISTS (
    SELECT 1 FROM tk.cursors WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch
)

-- name: waiting_released
-- The columns of `waiting` for events that were parked and released. An event whose call is missing, as in a damaged
-- file, is delivered too: it must not stop its partition.
SELECT true, k.epoch, p.attempts, p.event_id,
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.parked p
JOIN tk.cursors k ON k.name = p.name AND k.partition = p.partition
JOIN tk.events e ON e.partition = p.partition AND e.position = p.position
LEFT JOIN tk.calls c ON c.number = e.call
WHERE p.name = :group AND p.released AND k.owner = :owner ORDER BY e.number

-- name: waiting_in_log
-- The oldest of the first events after the cursors of the owner's partitions.
SELECT false, k.epoch, CASE WHEN k.begun = e.position THEN k.attempts ELSE 0 END, NULL,
    e.partition, e.position, e.sequence, coalesce(c.provider, ''), coalesce(c.id, ''), e.event
FROM tk.cursors k
JOIN tk.events e ON e.partition = k.partition AND e.position = (
    SELECT min(position) FROM tk.events WHERE partition = k.partition AND position > k.position
)
LEFT JOIN tk.calls c ON c.number = e.call
WHERE k.name = :group AND k.owner = :owner ORDER BY e.number LIMIT 1

-- name: count_attempt
UPDATE tk.cursors SET begun = :position, attempts = :attempt WHERE name = :group AND partition = :partition

-- name: count_released_attempt
UPDATE tk.parked SET attempts = :attempt
WHERE name = :group AND partition = :partition AND position = :position

-- name: park
INSERT INTO tk.parked (name, partition, position, event_id, attempts, parked_at)
VALUES (:group, :partition, :position, :event_id, :attempts, :now)

-- name: pass_parked
UPDATE tk.cursors SET position = :position, begun = NULL, attempts = 0
WHERE name = :group AND partition = :partition

-- name: park_again
UPDATE tk.parked SET released = false, parked_at = :now
WHERE name = :group AND partition = :partition AND position = :position

-- name: acknowledge
UPDATE tk.cursors SET position = begun, begun = NULL, attempts = 0
WHERE name = :group AND partition = :partition AND owner = :owner AND epoch = :epoch AND begun = :position

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
