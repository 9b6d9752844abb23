"""Reading the event stream: a live tail, consumer groups, and waiting for outcomes."""

from transferkit.streams.contract import EventStream
from transferkit.streams.group import GroupStream
from transferkit.streams.outcomes import OutcomeWatch
from transferkit.streams.processor import Handler, Processor
from transferkit.streams.tail import LiveTail

__all__ = ["EventStream", "GroupStream", "Handler", "LiveTail", "OutcomeWatch", "Processor"]
