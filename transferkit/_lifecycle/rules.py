"""What the provider and the configuration allow for one request."""

from __future__ import annotations

from datetime import timedelta
from typing import final

from attrs import frozen

from transferkit.requests import JoinSide

__all__ = ["Rules"]


@final
@frozen(kw_only=True)
class Rules:
    """What the provider and the configuration allow for one transfer. Fixed when it is requested.

    * `repeatable_for`: how long after the first attempt the provider recognizes the same request and does not
      execute it twice. None if it never does.
    * `completes_on_acceptance`: the provider sends no callback after it accepted the request, so the
      acceptance completes it.
    * `grace`: how long after the end of the call a proof may still arrive.
    * `call_alive_timeout`: how long a failure may wait for a query that shows whether the call is alive.
    * `inspect_gap`: minimum time between two queries about one transfer.
    * `max_inspections`: how many queries after the deadline may end without an answer.
    * `max_attempts`, `backoff`: how many attempts are made, and the pause before the second one.
    * `join_side`: on which of the two calls of a consultation the provider performs the join.
    """

    repeatable_for: timedelta | None = None
    completes_on_acceptance: bool = False
    grace: timedelta = timedelta(seconds=5)
    call_alive_timeout: timedelta = timedelta(seconds=2)
    inspect_gap: timedelta = timedelta(seconds=5)
    max_inspections: int = 3
    max_attempts: int = 6
    backoff: timedelta = timedelta(milliseconds=500)
    join_side: JoinSide = JoinSide.CALLER
