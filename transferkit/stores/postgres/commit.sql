-- The two statements of a commit, each one call of a function. No lock is held between them, so a process that stops
-- there blocks no other one. The server keeps the plans of a function for each of its connections, also behind a proxy
-- that pools transactions; planning these statements every time would take longer than executing them.
--
-- The plans do not depend on the values. Sequential scans are off, as a plan that was made while a table was empty would
-- otherwise read all of it later.

-- name: read_needed
SELECT * FROM tk.read_needed(
    :calls_provider, :calls_call_id, :marks_provider, :marks_call_id, :marks_key, :keys_key,
    :legs_provider, :legs_call_id, :tries_number, :tries_sequence, :tries_stamp
)

-- name: write_changes
SELECT * FROM tk.write_changes(
    :stamp, :locks_number, :locks_stamp,
    :new_calls_number, :new_calls_provider, :new_calls_call_id, :new_calls_state, :new_calls_open, :new_calls_at,
    :changed_calls_number, :changed_calls_stamp, :changed_calls_state, :changed_calls_open, :changed_calls_at,
    :marks_number, :marks_key, :marks_mark,
    :requests_transfer_id, :requests_number, :requests_key, :requests_opened, :requests_outcome,
    :outcomes_transfer_id, :outcomes_outcome,
    :legs_provider, :legs_call_id, :legs_transfer_id,
    :due_transfer_id, :due_work, :due_provider, :due_at, :due_owner, :due_until,
    :ends_partition, :ends_count,
    :events_partition, :events_number, :events_sequence, :events_event, :events_later
)

-- name: create_read_needed
-- What the steps of a commit need, all as of one moment (STABLE). The columns: kind, index, number, stamp and the values
-- of that kind. The rows of kind `event` are those that an earlier try of the same commit would have written.
CREATE FUNCTION tk.read_needed(
    calls_provider text[], calls_call_id text[], marks_provider text[], marks_call_id text[], marks_key text[],
    keys_key text[], legs_provider text[], legs_call_id text[], tries_number bigint[], tries_sequence int[],
    tries_stamp bigint[]
) RETURNS TABLE (
    kind text, nth bigint, number bigint, stamp bigint, value text, provider text, call_id text, opened text,
    outcome text
) LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT 'call', a.i - 1, c.number, c.stamp, c.state, NULL, NULL, NULL, NULL
        FROM unnest(calls_provider, calls_call_id) WITH ORDINALITY AS a (provider, id, i)
        JOIN tk.calls c USING (provider, id);
    IF cardinality(marks_key) > 0 THEN
        RETURN QUERY SELECT 'mark', a.i - 1, NULL::bigint, NULL::bigint, m.mark, NULL, NULL, NULL, NULL
            FROM unnest(marks_provider, marks_call_id, marks_key) WITH ORDINALITY AS a (provider, id, key, i)
            JOIN tk.calls c USING (provider, id) JOIN tk.marks m ON m.call = c.number AND m.key = a.key;
    END IF;
    IF cardinality(keys_key) > 0 THEN
        RETURN QUERY SELECT 'key', a.i - 1, NULL::bigint, NULL::bigint, r.id, c.provider, c.id, r.opened, r.outcome
            FROM unnest(keys_key) WITH ORDINALITY AS a (key, i)
            JOIN tk.requests r ON r.idempotency_key = a.key JOIN tk.calls c ON c.number = r.call;
    END IF;
    IF cardinality(legs_call_id) > 0 THEN
        RETURN QUERY SELECT 'leg', a.i - 1, NULL::bigint, NULL::bigint, l.transfer_id, NULL, NULL, NULL, NULL
            FROM unnest(legs_provider, legs_call_id) WITH ORDINALITY AS a (provider, id, i)
            JOIN tk.legs l USING (provider, id);
    END IF;
    IF cardinality(tries_number) > 0 THEN
        RETURN QUERY SELECT 'event', NULL::bigint, NULL::bigint, e.stamp, NULL, NULL, NULL, NULL, NULL
            FROM unnest(tries_number, tries_sequence, tries_stamp) AS a (call, sequence, stamp)
            JOIN tk.events e USING (call, sequence, stamp);
    END IF;
END $$

-- name: create_write_changes
-- Everything that a commit writes, in one transaction without a wait for this process: its locks are taken and released
-- while the server executes it. It writes nothing if a call has changed since it was read. It locks the calls in the
-- order of their numbers, and the rows of every other table in the order of their keys, so that two such transactions
-- cannot deadlock. A single call that changes is locked by its update: `locks` may be empty then. Work that is due at
-- NULL is cleared. It returns whether it wrote, and the end of each partition that has grown.
CREATE FUNCTION tk.write_changes(
    new_stamp bigint, locks_number bigint[], locks_stamp bigint[],
    new_calls_number bigint[], new_calls_provider text[], new_calls_call_id text[], new_calls_state text[],
    new_calls_open bool[], new_calls_at timestamptz[],
    changed_calls_number bigint[], changed_calls_stamp bigint[], changed_calls_state text[],
    changed_calls_open bool[], changed_calls_at timestamptz[],
    marks_number bigint[], marks_key text[], marks_mark text[],
    requests_transfer_id text[], requests_number bigint[], requests_key text[], requests_opened text[],
    requests_outcome text[],
    outcomes_transfer_id text[], outcomes_outcome text[],
    legs_provider text[], legs_call_id text[], legs_transfer_id text[],
    due_transfer_id text[], due_work text[], due_provider text[], due_at timestamptz[], due_owner text[],
    due_until timestamptz[],
    ends_partition int[], ends_count int[],
    events_partition int[], events_number bigint[], events_sequence int[], events_event text[], events_later int[]
) RETURNS TABLE (written boolean, grown_partition int, grown_position bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET lock_timeout = '5s' AS $$
#variable_conflict use_column
DECLARE
    locked bigint;
    ends bigint[];
BEGIN
    -- For this transaction: its commit is flushed before it is acknowledged, whatever the defaults of the role are.
    IF current_setting('synchronous_commit') IN ('off', 'local') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    written := true;
    IF cardinality(locks_number) > 0 THEN
        PERFORM 1 FROM unnest(locks_number, locks_stamp) AS a (number, stamp)
            JOIN tk.calls c USING (number, stamp) ORDER BY c.number FOR NO KEY UPDATE OF c;
        GET DIAGNOSTICS locked = ROW_COUNT;
        written := locked = cardinality(locks_number);
    END IF;
    IF written AND cardinality(changed_calls_number) > 0 THEN
        UPDATE tk.calls c SET state = a.state, open = a.open, recorded_at = coalesce(a.at, c.recorded_at),
            stamp = new_stamp
        FROM unnest(
            changed_calls_number, changed_calls_stamp, changed_calls_state, changed_calls_open, changed_calls_at
        ) AS a (number, stamp, state, open, at)
        WHERE c.number = a.number AND c.stamp = a.stamp;
        GET DIAGNOSTICS locked = ROW_COUNT;
        written := locked = cardinality(changed_calls_number);
    END IF;
    IF NOT written THEN
        RETURN NEXT;
        RETURN;
    END IF;
    IF cardinality(new_calls_number) > 0 THEN
        INSERT INTO tk.calls (number, provider, id, state, open, created_at, recorded_at, stamp)
        SELECT a.number, a.provider, a.id, a.state, a.open, a.at, a.at, new_stamp FROM unnest(
            new_calls_number, new_calls_provider, new_calls_call_id, new_calls_state, new_calls_open, new_calls_at
        ) AS a (number, provider, id, state, open, at);
    END IF;
    IF cardinality(marks_number) > 0 THEN
        INSERT INTO tk.marks (call, key, mark)
        SELECT * FROM unnest(marks_number, marks_key, marks_mark)
        ON CONFLICT (call, key) DO UPDATE SET mark = excluded.mark;
    END IF;
    IF cardinality(requests_transfer_id) > 0 THEN
        INSERT INTO tk.requests (id, call, idempotency_key, opened, outcome)
        SELECT * FROM unnest(
            requests_transfer_id, requests_number, requests_key, requests_opened, requests_outcome
        );
    END IF;
    IF cardinality(outcomes_transfer_id) > 0 THEN
        UPDATE tk.requests r SET outcome = a.outcome
        FROM unnest(outcomes_transfer_id, outcomes_outcome) AS a (id, outcome) WHERE r.id = a.id;
        DELETE FROM tk.legs WHERE transfer_id = ANY(outcomes_transfer_id);
    END IF;
    -- Only after the legs are free that become free in the same commit.
    IF cardinality(legs_call_id) > 0 THEN
        INSERT INTO tk.legs (provider, id, transfer_id)
        SELECT * FROM unnest(legs_provider, legs_call_id, legs_transfer_id);
    END IF;
    -- One by one, so that cleared and set rows are locked in one order: a commit may set work of a request whose call it
    -- does not lock, such as that of a consultation when a step of it has ended.
    FOR i IN 1 .. cardinality(due_work) LOOP
        IF due_at[i] IS NULL THEN
            DELETE FROM tk.due WHERE transfer_id = due_transfer_id[i] AND work = due_work[i];
        ELSE
            INSERT INTO tk.due (transfer_id, work, provider, at, owner, until) VALUES (
                due_transfer_id[i], due_work[i], due_provider[i], due_at[i], due_owner[i], due_until[i]
            ) ON CONFLICT (transfer_id, work)
            DO UPDATE SET at = excluded.at, owner = excluded.owner, until = excluded.until;
        END IF;
    END LOOP;
    -- A partition's row is locked from the moment its positions are assigned until the commit.
    FOR i IN 1 .. cardinality(ends_partition) LOOP
        UPDATE tk.partitions SET position = position + ends_count[i] WHERE partition = ends_partition[i]
        RETURNING partition, position INTO grown_partition, grown_position;
        ends[grown_partition] := grown_position;
        RETURN NEXT;
    END LOOP;
    IF cardinality(events_number) > 0 THEN
        -- In the order of the array, so that `number` grows with the positions of a partition.
        INSERT INTO tk.events (partition, position, call, sequence, event, stamp)
        SELECT a.partition, ends[a.partition] - a.later, a.call, a.sequence, a.event, new_stamp
        FROM unnest(events_partition, events_number, events_sequence, events_event, events_later)
            AS a (partition, call, sequence, event, later);
    ELSE
        RETURN NEXT;
    END IF;
END $$
