-- name: call_state
SELECT state FROM tk.calls WHERE provider = :provider AND id = :call_id

-- name: request
SELECT r.id, c.provider, c.id, r.opened, r.outcome
FROM tk.requests r JOIN tk.calls c ON c.number = r.call
WHERE r.id = :transfer_id

-- name: drop_due
DELETE FROM tk.due WHERE transfer_id = :transfer_id
AND NOT EXISTS (SELECT 1 FROM tk.requests r WHERE r.id = :transfer_id)

-- name: call_events
SELECT e.partition, e.position, e.sequence, c.provider, c.id, e.event
FROM tk.calls c JOIN tk.events e ON e.call = c.number
WHERE c.provider = :provider AND c.id = :call_id ORDER BY e.sequence
