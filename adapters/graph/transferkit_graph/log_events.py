"""The names of the Graph adapter's log records; see `transferkit._util.log_events`."""

from __future__ import annotations

from enum import StrEnum
from typing import final

__all__ = ["GraphLogEvent"]


@final
class GraphLogEvent(StrEnum):
    """What a record of this adapter is about."""

    NO_TOKEN = "graph_no_token"  # noqa: S105 - a record's name
