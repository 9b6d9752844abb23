-- name: take_lease
-- Returns a row if the lease is the owner's from now on.
INSERT INTO tk.leases (name, owner, until) VALUES (:name, :owner, :until)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE leases.owner = excluded.owner OR leases.until <= :now
RETURNING 1

-- name: drop_lease
DELETE FROM tk.leases WHERE name = :name AND owner = :owner

-- name: open_transfers
SELECT DISTINCT transfer_id FROM tk.legs WHERE provider = :provider
