"""Events as text for people: when, what happened, what it proves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from transferkit._util.redaction import safe_id
from transferkit.events import (
    CallEnded,
    ConsultationExpired,
    ConsultationFailed,
    Event,
    Outcome,
    ProviderOther,
    RedirectExpired,
    RedirectFailed,
    RouteAttempt,
    RouteExpired,
    RouteFailed,
    StepExpired,
    StepFailed,
    StepRequested,
    StepSubmitted,
    TransferExpired,
    TransferFailed,
)

__all__ = ["COLOURS", "detail", "full_detail", "kind_text", "line_text", "timeline"]

Failed = TransferFailed | RedirectFailed | StepFailed | ConsultationFailed | RouteFailed
Expired = TransferExpired | RedirectExpired | StepExpired | ConsultationExpired | RouteExpired

_GOOD = ("completed", "cancelled", "returned")
COLOURS = {**dict.fromkeys(_GOOD, "green"), "failed": "red", "expired": "yellow"}
_MARKS = {**dict.fromkeys(_GOOD, "✔"), "failed": "✘", "expired": "?"}
_CALLER = {
    True: "the caller is still on the call",
    False: "the caller is gone",
    None: "it is not known whether the caller is still on the call",
}


def kind_text(event: Event, *, width: int = 0) -> Text:
    """The event's mark and kind, padded to `width` columns."""
    subject, _, word = event.kind.partition(".")
    of_request = subject in {"transfer", "redirect", "step", "consultation", "route"}
    mark = _MARKS.get(word, "●") if of_request else "│"
    colour = COLOURS.get(word, "default") if of_request else "bright_black"
    return Text(f"{mark} {event.kind:<{width}}", style=colour)


def line_text(event: Event, *, width: int = 0) -> Text:
    """The event's mark, kind and detail."""
    return Text.assemble(kind_text(event, width=width), " ", (detail(event), "dim"))


def timeline(events: Sequence[Event]) -> Iterator[Text]:
    """Yield the lines of one transfer's timeline; times are seconds since the first event."""
    for event in events:
        after = (event.time - events[0].time).total_seconds()
        yield Text.assemble(f"{after:9.3f} s  ", line_text(event, width=_width(events)))
        for line in _causes(event):
            yield Text(f"{'':15}{line}", style="dim")


def _width(events: Sequence[Event]) -> int:
    """The width of the longest kind of event, 20 at least."""
    return max(20, *(len(event.kind) for event in events))


def full_detail(event: Event) -> str:
    """The event's detail and, for a failure, its causes, on one line."""
    return "; ".join(part for part in (detail(event), *_causes(event)) if part)


def detail(event: Event) -> str:
    """What an event says beyond its kind. Contains no phone number and no secret."""
    parts: tuple[str | None, ...]
    match event:
        case _ if isinstance(event, Failed):
            alive = _CALLER[event.call_alive]
            parts = (_step(event), event.reason, event.basis, _codes(event), alive, *_end(event))
        case _ if isinstance(event, Expired):
            evidence, alive = f"evidence: {event.evidence}", _CALLER[event.call_alive]
            parts = (_step(event), "result not known", evidence, alive, *_end(event))
        case Outcome():
            parts = (_step(event), event.basis, _codes(event), *_end(event))
        case RouteAttempt():
            parts = (f"attempt {event.number}",)
        case StepRequested() | StepSubmitted():
            parts = (_step(event),)
        case CallEnded():
            parts = (_codes(event),)
        case ProviderOther(late_verdict=late) if late:
            parts = (f"the provider reported {late} after the outcome, which does not change",)
        case ProviderOther(name=str(name)):
            parts = (name,)
        case _:
            parts = ()
    return ", ".join(str(part) for part in parts if part)


def _causes(event: Event) -> Iterator[str]:
    """For a failure: the provider's message, what to do, and the request id to quote to the provider."""
    if isinstance(event, Failed):
        causes = {
            "provider message": event.message,
            "what to do": event.advice,
            "request id": event.request_id,
        }
        for name, text in causes.items():
            if text:
                yield f"{name}: {_plain(text)}"


def _plain(text: str) -> str:
    """A provider's text on one line, without phone numbers, secrets and control characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(safe_id(printable).split())


def _codes(event: Event) -> str:
    code, subcode = getattr(event, "code", None), getattr(event, "subcode", None)
    if code is None and subcode is None:
        return ""
    return f"code {code}" if subcode is None else f"code {code}/{subcode}"


def _step(event: Event) -> str:
    """The kind of a call step."""
    step = getattr(event, "step", None)
    return "" if step is None else str(step).replace("_", " ")


def _end(outcome: Outcome) -> Iterator[str]:
    """How long it took, which attempt of a route decided it, and what it leaves."""
    yield _elapsed(outcome)
    if number := getattr(outcome, "number", None):
        yield f"by attempt {number}"
    if getattr(outcome, "cancelled", False):
        yield "cancelled by the application"
    if getattr(outcome, "timed_out", False):
        yield "nobody decided in time"
    if getattr(outcome, "caller_held", False):
        yield "the caller is on hold"
    if left := getattr(outcome, "left", ()):
        yield f"may be left: {', '.join(safe_id(call_id) for call_id in left)}"


def _elapsed(outcome: Outcome) -> str:
    return "" if outcome.elapsed is None else f"after {outcome.elapsed.total_seconds():.1f} s"
