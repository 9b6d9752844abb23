"""Several calls of `apply_all` in one transaction: read what they need, run the steps, write what follows.

Every call, leg and idempotency key falls into a partition, and whoever writes locks the rows of all
partitions concerned, in their order. So no two transactions wait for each other, what does not exist yet is
locked too, and what is read stays true until the commit. A step that raises leaves nothing behind and does
not concern the others. Two round trips do it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from attrs import define, field, frozen

from transferkit.lifecycle import CallKey, CallState, Due, Input, Opened, Requested
from transferkit.stores.contract import Applied, Step, delivery_key, needed_provider
from transferkit.stores.encoding import StateCache, to_json
from transferkit.stores.groups import partition_of
from transferkit.stores.postgres.calls import stored_transfer
from transferkit.stores.postgres.columns import array, arrays, lookup, text, written
from transferkit.stores.postgres.session import Session
from transferkit.stores.tables import Tables

__all__ = ["Batch", "Inputs", "Result"]

Inputs = Sequence[tuple[CallKey, Input]]
Result = tuple[Applied, ...] | Exception


@final
@frozen
class _Proof:
    """The first event that a transaction writes, and its place: it is there if the commit was done."""

    partition: int
    position: int
    event: str


@final
@define
class _Partition:
    """A partition's counters, and whether they moved."""

    position: int
    calls: int
    moved: bool = False


def _partitions_of(inputs: Inputs, partitions: int) -> set[int]:
    """The partitions that inputs concern: those of their calls, and of what a request needs to be free."""
    found = {partition_of(call, partitions) for call, _ in inputs}
    for opened in _opened_in(inputs):
        found.update(partition_of(leg, partitions) for leg in opened.legs)
        key = opened.request.idempotency_key
        if key is not None:
            found.add(partition_of(CallKey("", key), partitions))
    return found


def _opened_in(inputs: Inputs) -> list[Opened]:
    return [happened.opened for _, happened in inputs if isinstance(happened, Requested)]


@final
@define
class Batch:
    """Calls of `apply_all` to be done in one transaction, which may be run again where it failed.

    Whoever has the partitions' locks knows that the transaction before is over. So where a commit got no
    answer, the next run finds out: if the proof of the run before is there, that one was committed.
    """

    jobs: Sequence[tuple[Inputs, Step]]
    partitions: int
    states: StateCache
    results: list[Result] = field(factory=list)
    ends: dict[int, int] = field(factory=dict)
    """The last positions of the partitions that got events."""
    proof: _Proof | None = None
    _numbers: dict[CallKey, int] = field(factory=dict)

    async def run(self, session: Session) -> None:
        """Do it, in the transaction that is open. Raises psycopg's errors, and `StoreError`."""
        inputs = [one for job, _ in self.jobs for one in job]
        read, counters = await self._read(session, inputs)
        if self.proof and await self._is_there(session, self.proof):
            return
        new, self.results = Tables(), []
        for job, step in self.jobs:
            self.results.append(_apply_all(new, read, job, step))
        await self._write(session, read, new, counters)

    async def _is_there(self, session: Session, proof: _Proof) -> bool:
        found = await session.rows(
            "SELECT event FROM tk.events WHERE partition = %s AND position = %s",
            (proof.partition, proof.position),
        )
        return found == [(proof.event,)]

    # --- reading ------------------------------------------------------------------------------------

    async def _read(self, session: Session, inputs: Inputs) -> tuple[Tables, dict[int, _Partition]]:
        """Lock the partitions concerned, and read what the steps may ask for."""
        opened = _opened_in(inputs)
        calls = {_key(call): call for call, _ in inputs}
        legs = {_key(leg): leg for one in opened for leg in one.legs}
        keys = {lookup(key): key for one in opened if (key := one.request.idempotency_key) is not None}
        deliveries = {
            (*_key(call), lookup(delivery)): (call, delivery)
            for call, happened in inputs
            if (delivery := delivery_key(happened)) is not None
        }
        locked = await session.execute(
            "SELECT partition, position, calls FROM tk.partitions WHERE partition = ANY(%s::int[])"
            " ORDER BY partition FOR NO KEY UPDATE",
            (array(sorted(_partitions_of(inputs, self.partitions))),),
        )
        # Locked as well, and the legs with them: pruning takes no lock of a partition.
        states = await session.execute(
            "SELECT c.provider, c.id, c.number, c.state FROM tk.calls c"
            " JOIN unnest(%s::text[], %s::text[]) AS a (provider, id) USING (provider, id)"
            " FOR NO KEY UPDATE OF c",
            arrays([*{**calls, **legs}], 2),
        )
        marks = await session.execute(
            "SELECT a.provider, a.id, a.key, m.mark"
            " FROM unnest(%s::text[], %s::text[], %s::text[]) AS a (provider, id, key)"
            " JOIN tk.calls c USING (provider, id) JOIN tk.marks m ON m.call = c.number AND m.key = a.key",
            arrays(deliveries, 3),
        )
        requests = holders = None
        if keys:
            requests = await session.execute(
                "SELECT r.idempotency_key, r.id, c.provider, c.id, r.opened, r.outcome"
                " FROM tk.requests r JOIN tk.calls c ON c.number = r.call"
                " WHERE r.idempotency_key = ANY(%s::text[])",
                (array(keys),),
            )
        if legs:
            holders = await session.execute(
                "SELECT l.provider, l.id, l.transfer_id FROM tk.legs l"
                " JOIN unnest(%s::text[], %s::text[]) AS a (provider, id) USING (provider, id)",
                arrays(legs, 2),
            )

        await session.sync()
        read = Tables()
        counters = {partition: _Partition(*row) for partition, *row in await locked.fetchall()}
        self._numbers = {}
        for provider, call_id, number, stored in await states.fetchall():
            call = calls.get((provider, call_id))
            if call is not None:
                self._numbers[call] = number
                with read.reading(call):
                    read.calls[call] = self.states.read(call, stored)
        for provider, call_id, delivery, mark in await marks.fetchall():
            read.marks[deliveries[provider, call_id, delivery]] = text(mark)
        for key, *row in await requests.fetchall() if requests else ():
            with read.reading(keys[key]):
                read.keys[keys[key]] = stored_transfer(row)
        for provider, call_id, transfer_id in await holders.fetchall() if holders else ():
            read.legs[legs[provider, call_id]] = text(transfer_id)
        return read, counters

    # --- writing ------------------------------------------------------------------------------------

    async def _write(
        self, session: Session, read: Tables, new: Tables, counters: dict[int, _Partition]
    ) -> None:
        await self._write_calls(session, read, new, counters)
        await self._write_events(session, new, counters)
        if new.marks:
            await session.execute(
                "INSERT INTO tk.marks SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[])"
                " ON CONFLICT (call, key) DO UPDATE SET mark = excluded.mark",
                arrays(
                    (
                        (self._numbers[call], lookup(key), written(mark))
                        for (call, key), mark in new.marks.items()
                    ),
                    3,
                ),
            )
        await self._write_requests(session, new)
        await _write_due(session, new)
        moved = [(number, one.position, one.calls) for number, one in counters.items() if one.moved]
        if moved:
            await session.execute(
                "UPDATE tk.partitions p SET position = a.position, calls = a.calls"
                " FROM unnest(%s::int[], %s::bigint[], %s::bigint[]) AS a (partition, position, calls)"
                " WHERE p.partition = a.partition",
                arrays(moved, 3),
            )

    async def _write_calls(
        self, session: Session, read: Tables, new: Tables, counters: dict[int, _Partition]
    ) -> None:
        made: list[tuple[object, ...]] = []
        changed: list[tuple[object, ...]] = []
        for call, state in new.calls.items():
            if call not in self._numbers:
                self._numbers[call] = self._next_number(call, counters)
                made.append((*self._row(call, state), *_key(call), new.recorded_at[call]))
            elif state != read.calls[call]:
                changed.append((*self._row(call, state), new.recorded_at.get(call)))
        if made:
            await session.execute(
                "INSERT INTO tk.calls (number, state, open, provider, id, created_at, recorded_at)"
                " SELECT number, state, open, provider, id, at, at FROM unnest("
                "%s::bigint[], %s::text[], %s::bool[], %s::text[], %s::text[], %s::timestamptz[]"
                ") AS a (number, state, open, provider, id, at)",
                arrays(made, 6),
            )
        if changed:
            await session.execute(
                "UPDATE tk.calls c"
                " SET state = a.state, open = a.open, recorded_at = coalesce(a.at, c.recorded_at)"
                " FROM unnest(%s::bigint[], %s::text[], %s::bool[], %s::timestamptz[])"
                " AS a (number, state, open, at) WHERE c.number = a.number",
                arrays(changed, 4),
            )

    def _row(self, call: CallKey, state: CallState) -> tuple[object, ...]:
        return self._numbers[call], self.states.write(call, state), state.open is not None

    def _next_number(self, call: CallKey, counters: dict[int, _Partition]) -> int:
        partition = partition_of(call, self.partitions)
        counter = counters[partition]
        counter.calls, counter.moved = counter.calls + 1, True
        return counter.calls * self.partitions + partition

    async def _write_events(self, session: Session, new: Tables, counters: dict[int, _Partition]) -> None:
        self.proof, self.ends = None, {}
        rows: list[tuple[object, ...]] = []
        for call, event in new.events:
            partition = partition_of(call, self.partitions)
            counter = counters[partition]
            counter.position, counter.moved = counter.position + 1, True
            stored = to_json(event)
            rows.append((partition, counter.position, self._numbers[call], event.sequence, stored))
            self.proof = self.proof or _Proof(partition, counter.position, stored)
            self.ends[partition] = counter.position
        if rows:
            await session.execute(
                "INSERT INTO tk.events (partition, position, call, sequence, event) SELECT * FROM unnest("
                "%s::int[], %s::bigint[], %s::bigint[], %s::int[], %s::text[])",
                arrays(rows, 5),
            )

    async def _write_requests(self, session: Session, new: Tables) -> None:
        if new.opened:
            await session.execute(
                "INSERT INTO tk.requests (id, call, idempotency_key, opened)"
                " SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[])",
                arrays((self._request(*one) for one in new.opened.values()), 4),
            )
        if new.outcomes:
            outcomes = [(written(id_), to_json(outcome)) for id_, outcome in new.outcomes.items()]
            await session.execute(
                "UPDATE tk.requests r SET outcome = a.outcome"
                " FROM unnest(%s::text[], %s::text[]) AS a (id, outcome) WHERE r.id = a.id",
                arrays(outcomes, 2),
            )
            await session.execute(
                "DELETE FROM tk.legs WHERE transfer_id = ANY(%s::text[])",
                (array(id_ for id_, _ in outcomes),),
            )
        legs = [(*_key(leg), written(holder)) for leg, holder in new.legs.items() if holder is not None]
        if legs:
            await session.execute(
                "INSERT INTO tk.legs SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])",
                arrays(legs, 3),
            )

    def _request(self, call: CallKey, opened: Opened) -> tuple[object, ...]:
        key = opened.request.idempotency_key
        return written(opened.id), self._numbers[call], None if key is None else lookup(key), to_json(opened)


def _apply_all(new: Tables, read: Tables, inputs: Inputs, step: Step) -> Result:
    mine = Tables()
    seen = mine.over(new.over(read))
    try:
        applied = tuple(seen.apply(call, happened, step) for call, happened in inputs)
    except Exception as error:  # noqa: BLE001 - it is its caller's; the others go on
        return error
    new.update(mine)
    return applied


async def _write_due(session: Session, new: Tables) -> None:
    cleared = [
        (written(transfer_id), work.value) for (transfer_id, work), due in new.due.items() if due is None
    ]
    if cleared:
        await session.execute(
            "DELETE FROM tk.due d USING unnest(%s::text[], %s::text[]) AS a (transfer_id, work)"
            " WHERE d.transfer_id = a.transfer_id AND d.work = a.work",
            arrays(cleared, 2),
        )
    due = [_due_row(*one) for one in new.due.values() if one is not None]
    if due:
        await session.execute(
            "INSERT INTO tk.due (transfer_id, work, provider, at, owner, until) SELECT * FROM unnest("
            "%s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::text[], %s::timestamptz[])"
            " ON CONFLICT (transfer_id, work) DO UPDATE"
            " SET at = excluded.at, owner = excluded.owner, until = excluded.until",
            arrays(due, 6),
        )


def _due_row(call: CallKey, due: Due) -> tuple[object, ...]:
    lease, provider = due.lease, needed_provider(call, due.work)
    owner, until = (written(lease.owner), lease.until) if lease else (None, None)
    needed = None if provider is None else lookup(provider)
    return written(due.transfer_id), due.work.value, needed, due.at, owner, until


def _key(call: CallKey) -> tuple[str, str]:
    return lookup(call.provider), lookup(call.id)
