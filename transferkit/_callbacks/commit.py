"""Committing the facts of one callback in one transaction."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from typing import final

from attrs import frozen

from transferkit._callbacks.refusals import fact_fields
from transferkit._lifecycle import CallKey, Input, Observed, PlacedCallObserved
from transferkit._telemetry import Telemetry
from transferkit._util.log_events import LogEvent
from transferkit._util.redaction import redact
from transferkit.errors import StoreError
from transferkit.events import Event
from transferkit.provider.clock import Clock
from transferkit.provider.facts import Fact
from transferkit.stores import Applied
from transferkit.stores.unreadable import UnreadableRow

__all__ = ["CommitInputs", "Committed", "commit_facts"]

_log = logging.getLogger("transferkit.callbacks")

_RETRY_PAUSES = (0.05, 0.2)
"""Seconds before each further attempt to commit: most providers do not send a callback again."""
_RETRY_WITHIN = timedelta(seconds=1)
"""A commit that took longer to fail is not retried, because the provider waits for the response."""

CommitInputs = Callable[[list[tuple[CallKey, Input]]], Awaitable[tuple[Applied, ...]]]


@final
@frozen
class Committed:
    """The result of a commit.

    * `events`: the events that the facts became.
    * `news`: the inputs that were not repetitions.
    * `unreadable`: set if the state of a call cannot be read; the facts of that call were not committed.
    """

    events: tuple[Event, ...] = ()
    news: tuple[tuple[CallKey, Input], ...] = ()
    unreadable: UnreadableRow | None = None


def _inputs(fact: Fact, at: datetime) -> Iterator[tuple[CallKey, Input]]:
    """The inputs that a fact becomes: to its call, and to the step that placed the call."""
    provider, call_id = fact.event.provider, fact.event.call_id
    yield CallKey(provider, call_id), Observed(at=at, fact=fact)
    if fact.placed_by not in {None, call_id}:
        yield CallKey(provider, str(fact.placed_by)), PlacedCallObserved(at=at, fact=fact)


async def commit_facts(
    facts: list[Fact], *, commit: CommitInputs, clock: Clock, telemetry: Telemetry
) -> Committed:
    """Commit facts in one transaction; a failed transaction is retried for about a second.

    Raises `StoreError` if nothing is committed.
    """
    began, pauses, unreadable = clock.now(), iter(_RETRY_PAUSES), None
    inputs = [item for fact in facts for item in _inputs(fact, began)]
    while inputs:
        try:
            applied = await commit(inputs)
        except UnreadableRow as error:
            readable = [(call, observed) for call, observed in inputs if call != error.call]
            if len(readable) == len(inputs):
                raise
            inputs, unreadable = readable, error
        except StoreError as error:
            pause = next(pauses, None)
            if pause is None or clock.now() - began > _RETRY_WITHIN:
                raise
            telemetry.commit_retried()
            _log.warning(
                "commit failed, trying again: %s",
                redact(str(error)),
                extra={"event": LogEvent.COMMIT_RETRIED, **fact_fields(facts)},
            )
            await asyncio.sleep(pause)
        else:
            results = list(zip(inputs, applied, strict=True))
            return Committed(
                events=tuple(event for _, result in results for event in result.events),
                news=tuple(observed for observed, result in results if not result.duplicate),
                unreadable=unreadable,
            )
    return Committed(unreadable=unreadable)
