"""Committing together what comes while a commit is under way."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, final

from attrs import define

from transferkit.stores.contract import Applied, CommitUnknown, Step
from transferkit.stores.encoding import StateCache
from transferkit.stores.postgres.batch import Batch, Inputs, Result
from transferkit.stores.postgres.database import Database
from transferkit.stores.postgres.failures import Unavailable

__all__ = ["Commits"]

_MOST_AT_ONCE: Final = 64
_TRIES: Final = 5


@final
@define(eq=False)
class _Job:
    inputs: Inputs
    step: Step
    done: asyncio.Future[tuple[Applied, ...]]

    def finish(self, result: Result) -> None:
        """Tell the caller, if it still waits."""
        if self.done.done():
            return
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


@final
class Commits:
    """One commit at a time, for all that came during the one before.

    Under load that is several times as many as side by side, which would wait for each other's partitions. A
    caller who is cancelled detaches: its job is done all the same, wholly or not at all.
    """

    def __init__(
        self, database: Database, *, partitions: int, grown: Callable[[Mapping[int, int]], None]
    ) -> None:
        self._database = database
        self._partitions = partitions
        self._grown = grown
        self._states = StateCache()
        self._waiting: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None

    async def apply_all(self, inputs: Inputs, step: Step) -> tuple[Applied, ...]:
        """What `Store.apply_all` does."""
        if not inputs:
            return ()
        job = _Job(inputs, step, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="transferkit-postgres-commits")
        return await job.done

    async def settle(self) -> None:
        """Wait until everything that was asked for is done."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _drain(self) -> None:
        try:
            while self._waiting:
                count = min(len(self._waiting), _MOST_AT_ONCE)
                await self._do([self._waiting.popleft() for _ in range(count)])
        finally:
            self._task = None

    async def _do(self, jobs: Sequence[_Job]) -> None:
        try:
            batch = await self._commit(jobs)
        except Exception as error:  # noqa: BLE001 - it is the callers' to raise
            together = len(jobs) == 1 or isinstance(error, (CommitUnknown, Unavailable))
            for job in jobs:
                if together:
                    job.finish(error)
                else:
                    await self._do([job])  # one that PostgreSQL refuses must not take the others with it
            return
        for job, result in zip(jobs, batch.results, strict=True):
            job.finish(result)
        if batch.ends:
            self._grown(batch.ends)

    async def _commit(self, jobs: Sequence[_Job]) -> Batch:
        """Commit. Where a commit got no answer, the next try finds out whether it was done.

        Until one has, every other error leaves that open: `CommitUnknown` is raised then.
        """
        batch = Batch([(job.inputs, job.step) for job in jobs], self._partitions, self._states)
        unknown: CommitUnknown | None = None
        tries = 0
        while True:
            tries += 1
            try:
                await self._database.commit(batch.run)
            except Exception as error:
                if isinstance(error, CommitUnknown):
                    unknown = error
                elif unknown is None:
                    raise
                if not batch.can_be_looked_up or tries == _TRIES:
                    raise unknown from None
            else:
                return batch
