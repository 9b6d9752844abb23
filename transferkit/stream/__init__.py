"""Reading the one event stream: a live tail, consumer groups, and waiting for outcomes."""

from transferkit.stream.contract import EventStream
from transferkit.stream.group import GroupStream
from transferkit.stream.outcomes import OutcomeWatch
from transferkit.stream.tail import LiveTail

__all__ = ["EventStream", "GroupStream", "LiveTail", "OutcomeWatch"]
