"""What an emulator does wrong on purpose, and when.

    emulator.faults.add(Fault.parse("status=429,retry_after=1.5,match=transfer"))
    emulator.faults.add(Fault(kind=FaultKind.RESET_AFTER, match="transfer"))
    emulator.faults.add(Fault(kind=FaultKind.DUPLICATE, probability=0.5))
    emulator.faults.chaos(seed=7, rate=0.2)

Request faults are done to a request of a client, callback faults to a callback of the emulator.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final, final

import attrs
from attrs import field, frozen

__all__ = ["CALLBACK_FAULTS", "REQUEST_FAULTS", "Fault", "FaultKind", "Faults"]


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"
    """The request is answered with `status` and not executed; with `retry_after` where that is given."""
    RESET_BEFORE = "reset_before"
    """The connection is reset, the request is not executed."""
    RESET_AFTER = "reset_after"
    """The request is executed, then the connection is reset: the answer is lost."""
    SLOW = "slow"
    """`seconds` pass before the request is executed."""
    SLOW_AFTER = "slow_after"
    """The request is executed; `seconds` pass before the answer."""
    EARLY = "early"
    """The request is answered only after the first callback that it caused was posted."""
    DUPLICATE = "duplicate"
    """The callback is posted twice."""
    REORDER = "reorder"
    """The callback is posted after the one that follows it."""
    DELAY = "delay"
    """The callback is posted `seconds` late; others overtake it."""
    LOSE = "lose"
    """The callback is never posted."""
    SPELLING = "spelling"
    """The callback has the provider's other spellings: Graph's `subCode` and codes as text."""


CALLBACK_FAULTS: Final = frozenset(
    {FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.DELAY, FaultKind.LOSE, FaultKind.SPELLING}
)
REQUEST_FAULTS: Final = frozenset(FaultKind) - CALLBACK_FAULTS


def _status(_: Fault, __: Any, value: int) -> None:
    if not 400 <= value <= 599:  # noqa: PLR2004 - the error statuses of HTTP
        raise ValueError(f"status: {value} is no error status (400 to 599)")


def _not_negative(_: Fault, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 <= value < float("inf"):
        raise ValueError(f"{attribute.name}: {value} is no number of seconds")


def _probability(_: Fault, __: Any, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"probability: {value} is not between 0 and 1")


def _times(_: Fault, __: Any, value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"times: {value} is less than once")


@final
@frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, `times` times; None is always, until it is cleared.

    `match` is a part of the request's path (`transfer`, `redirect`), or of the callback's address or JSON;
    the capitals do not matter; without it, everything is meant. `retry_after` and `seconds` are seconds.
    Raises `ValueError`.
    """

    kind: FaultKind = field(converter=FaultKind)
    match: str | None = None
    times: int | None = field(default=1, validator=_times)
    probability: float = field(default=1.0, validator=_probability)
    status: int = field(default=503, validator=_status)
    retry_after: float | None = field(default=None, validator=_not_negative)
    seconds: float = field(default=1.0, validator=_not_negative)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault as people type it: `reset_after,match=transfer,times=2`, `status=429,retry_after=1.5`.

        `slow` and `delay` take their seconds the same way (`slow=3`), `times=always` means what it says, and
        a `probability` means always, too, unless `times` is given. Raises `ValueError`.
        """
        word, *options = (part.strip() for part in text.split(","))
        name, _, value = word.partition("=")
        given: dict[str, Any] = {}
        if value:
            given["status" if name == FaultKind.STATUS else "seconds"] = value
        for option in options:
            key, _, value = option.partition("=")
            if key not in _READERS:
                raise ValueError(f"{key!r}: expected one of {', '.join(_READERS)}")
            given[key] = value
        if "probability" in given:
            given.setdefault("times", "always")
        if name not in set(FaultKind):
            raise ValueError(f"{name!r}: expected one of {', '.join(FaultKind)}")
        return cls(kind=FaultKind(name), **{key: _read(key, value) for key, value in given.items()})

    def __str__(self) -> str:
        """As `parse` reads it."""
        value = {
            FaultKind.STATUS: f"={self.status}",
            FaultKind.SLOW: f"={self.seconds:g}",
            FaultKind.SLOW_AFTER: f"={self.seconds:g}",
            FaultKind.DELAY: f"={self.seconds:g}",
        }
        parts = [f"{self.kind}{value.get(self.kind, '')}"]
        if self.retry_after is not None:
            parts.append(f"retry_after={self.retry_after:g}")
        if self.match is not None:
            parts.append(f"match={self.match}")
        if self.probability < 1:
            parts.append(f"probability={self.probability:g}")
        if self.times != 1:
            parts.append(f"times={self.times or 'always'}")
        return ",".join(parts)

    def fits(self, text: str) -> bool:
        """Whether it is meant for this path or callback."""
        return self.match is None or self.match.lower() in text.lower()


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "match": str,
    "times": lambda text: None if text == "always" else int(text),
    "probability": float,
    "status": int,
    "retry_after": float,
    "seconds": float,
}


def _read(key: str, text: str) -> Any:
    try:
        return _READERS[key](text)
    except ValueError:
        raise ValueError(f"{key}: {text!r} is no number") from None


@final
class Faults:
    """The faults that are switched on. The one added first is tried first; each happening takes one fault."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._random = random.Random()  # noqa: S311 - nothing is kept secret by it
        self._rate = 0.0
        self.seed: int | None = None
        """Of the chaos that is on, None where none is."""

    @property
    def active(self) -> tuple[Fault, ...]:
        """What is still to go wrong."""
        return tuple(self._active)

    def add(self, *faults: Fault) -> None:
        """Switch these on."""
        self._active.extend(faults)

    def clear(self) -> None:
        """Let nothing go wrong any longer; ends the chaos, too."""
        self._active.clear()
        self._rate, self.seed = 0.0, None

    def chaos(self, *, seed: int, rate: float = 0.1) -> None:
        """Let any request and any callback go wrong, with that probability.

        Every decision is drawn from `random.Random(seed)`, in the order in which requests and callbacks come.
        Raises `ValueError` for a rate that is no probability.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate: {rate} is not between 0 and 1")
        self._random = random.Random(seed)  # noqa: S311 - it is to be repeated, not to be secret
        self._rate, self.seed = rate, seed

    def for_request(self, path: str) -> Fault | None:
        """What goes wrong with this request."""
        return self._take(path, REQUEST_FAULTS)

    def for_callback(self, text: str) -> Fault | None:
        """What goes wrong with this callback, whose address and JSON the text is."""
        return self._take(text, CALLBACK_FAULTS)

    def _take(self, text: str, kinds: frozenset[FaultKind]) -> Fault | None:
        for index, fault in enumerate(self._active):
            if fault.kind not in kinds or not fault.fits(text):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if fault.times == 1:
                del self._active[index]
            elif fault.times is not None:
                self._active[index] = attrs.evolve(fault, times=fault.times - 1)
            return fault
        return self._drawn(kinds) if self._rate else None

    def _drawn(self, kinds: frozenset[FaultKind]) -> Fault | None:
        if self._random.random() >= self._rate:
            return None
        kind = self._random.choice(sorted(kinds - {FaultKind.SPELLING}))  # chaos is the network's
        seconds = round(self._random.uniform(0, 0.2), 3)
        status = self._random.choice([429, 500, 502, 503, 504])
        waits = status in {429, 503} and self._random.random() < 0.5  # noqa: PLR2004 - as often as not
        return Fault(
            kind=kind,
            status=status,
            retry_after=round(self._random.uniform(0.05, 0.5), 3) if waits or status == 429 else None,  # noqa: PLR2004
            seconds=seconds,
        )
