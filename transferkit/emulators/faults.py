"""The faults that an emulator can apply to requests and callbacks, and when it applies them.

emulator.faults.add(Fault.parse("status=429,retry_after=1.5,match=transfer"))
emulator.faults.add(Fault(kind=FaultKind.RESET_AFTER, match="transfer"))
emulator.faults.add(Fault(kind=FaultKind.DUPLICATE, probability=0.5))
emulator.faults.chaos(seed=7, rate=0.2)
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
    """The request is not executed. The response has `status`, and `Retry-After` if `retry_after` is given."""
    RESET_BEFORE = "reset_before"
    """The request is not executed, and the connection is reset."""
    RESET_AFTER = "reset_after"
    """The request is executed, then the connection is reset: the response is lost."""
    SLOW = "slow"
    """The request is executed `seconds` late."""
    SLOW_AFTER = "slow_after"
    """The request is executed; the response is `seconds` late."""
    EARLY = "early"
    """The response is sent after the first callback that the request caused."""
    DUPLICATE = "duplicate"
    """The callback is posted twice."""
    REORDER = "reorder"
    """The callback is posted after the next one."""
    DELAY = "delay"
    """The callback is posted `seconds` late; later callbacks overtake it."""
    LOSE = "lose"
    """The callback is not posted."""
    SPELLING = "spelling"
    """The callback has the provider's alternative spelling: Graph's `subCode` and codes as text."""


CALLBACK_FAULTS: Final = frozenset(
    {FaultKind.DUPLICATE, FaultKind.REORDER, FaultKind.DELAY, FaultKind.LOSE, FaultKind.SPELLING}
)
REQUEST_FAULTS: Final = frozenset(FaultKind) - CALLBACK_FAULTS


def _between(least: float, most: float) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def validate(_: Any, attribute: attrs.Attribute[Any], value: float | None) -> None:
        if value is not None and not least <= value <= most:
            raise ValueError(f"{attribute.name}: {value} is not between {least:g} and {most:g}")

    return validate


_A_DAY: Final = 86_400


@final
@frozen(kw_only=True)
class Fault:
    """One fault.

    * `match`: text that the request's path (`transfer`, `redirect`), or the callback's address or JSON, must
      contain, in upper or lower case; None matches everything.
    * `times`: how often the fault is applied; None until it is switched off.
    * `probability`: the chance that it is applied to a match.
    * `status`, `retry_after` (seconds), `seconds`: details of some kinds of fault.

    Raises `ValueError` for an impossible value.
    """

    kind: FaultKind = field(converter=FaultKind)
    match: str | None = None
    times: int | None = field(default=1, validator=_between(1, float("inf")))
    probability: float = field(default=1.0, validator=_between(0, 1))
    status: int = field(default=503, validator=_between(400, 599))
    retry_after: float | None = field(default=None, validator=_between(0, _A_DAY))
    seconds: float = field(default=1.0, validator=_between(0, _A_DAY))

    @classmethod
    def parse(cls, text: str) -> Fault:
        """A fault from its text form: `reset_after,match=transfer,times=2`, `status=429,retry_after=1.5`.

        `slow`, `slow_after` and `delay` take their seconds as `slow=3`. `times=always` means no limit, which
        is also the default with a `probability`. Raises `ValueError`.
        """
        kind, *options = (part.strip() for part in text.split(","))
        name, _, value = kind.partition("=")
        given: dict[str, Any] = {}
        if value:
            given["status" if name == FaultKind.STATUS else "seconds"] = value
        for option in options:
            key, _, value = option.partition("=")
            if key not in _PARSERS:
                raise ValueError(f"{key!r}: expected one of {', '.join(_PARSERS)}")
            given[key] = value
        if "probability" in given:
            given.setdefault("times", "always")
        if name not in set(FaultKind):
            raise ValueError(f"{name!r}: expected one of {', '.join(FaultKind)}")
        return cls(kind=FaultKind(name), **{key: _parse(key, value) for key, value in given.items()})

    def __str__(self) -> str:
        """The text form, which `parse` reads."""
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

    def matches(self, text: str) -> bool:
        """Whether the fault applies to this path or callback."""
        return self.match is None or self.match.lower() in text.lower()


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "match": str,
    "times": lambda text: None if text == "always" else int(text),
    "probability": float,
    "status": int,
    "retry_after": float,
    "seconds": float,
}


def _parse(key: str, text: str) -> Any:
    try:
        return _PARSERS[key](text)
    except ValueError:
        raise ValueError(f"{key}: expected a number, not {text!r}") from None


@final
class Faults:
    """The active faults of an emulator. The first one that matches is applied; at most one at a time."""

    def __init__(self) -> None:
        self._active: list[Fault] = []
        self._random = random.Random()  # noqa: S311 - not used for secrets
        self._rate = 0.0
        self.seed: int | None = None
        """The seed of `chaos`; None if chaos is off."""

    @property
    def active(self) -> tuple[Fault, ...]:
        """The faults that are still to be applied."""
        return tuple(self._active)

    def add(self, *faults: Fault) -> None:
        """Switch these faults on."""
        self._active.extend(faults)

    def clear(self) -> None:
        """Switch all faults off, and chaos too."""
        self._active.clear()
        self._rate, self.seed = 0.0, None

    def chaos(self, *, seed: int, rate: float = 0.1) -> None:
        """Apply a random fault to any request and any callback, with probability `rate`.

        Every decision is drawn from `random.Random(seed)`, in the order of requests and callbacks. Raises
        `ValueError` for a rate that is not between 0 and 1.
        """
        if not 0 <= rate <= 1:
            raise ValueError(f"rate: {rate} is not between 0 and 1")
        self._random = random.Random(seed)  # noqa: S311 - not used for secrets
        self._rate, self.seed = rate, seed

    def for_request(self, path: str) -> Fault | None:
        """The fault to apply to a request with this path."""
        return self._take(path, REQUEST_FAULTS)

    def for_callback(self, text: str) -> Fault | None:
        """The fault to apply to a callback; `text` is its address and its JSON."""
        return self._take(text, CALLBACK_FAULTS)

    def _take(self, text: str, kinds: frozenset[FaultKind]) -> Fault | None:
        for index, fault in enumerate(self._active):
            if fault.kind not in kinds or not fault.matches(text):
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if fault.times == 1:
                del self._active[index]
            elif fault.times is not None:
                self._active[index] = attrs.evolve(fault, times=fault.times - 1)
            return fault
        return self._random_fault(kinds) if self._rate else None

    def _random_fault(self, kinds: frozenset[FaultKind]) -> Fault | None:
        if self._random.random() >= self._rate:
            return None
        kind = self._random.choice(sorted(kinds - {FaultKind.SPELLING}))  # chaos simulates the network
        seconds = round(self._random.uniform(0, 0.2), 3)
        status = self._random.choice([429, 500, 502, 503, 504])
        has_wait = status == 429 or (status == 503 and self._random.random() < 0.5)  # noqa: PLR2004
        retry_after = round(self._random.uniform(0.05, 0.5), 3) if has_wait else None
        return Fault(kind=kind, status=status, retry_after=retry_after, seconds=seconds)
