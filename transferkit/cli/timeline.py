"""A transfer's events as people read them: when after the request, what, and what it proves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from transferkit._util.redaction import shown_id
from transferkit.events import (
    CallEnded,
    Event,
    Outcome,
    ProviderOther,
    RedirectCompleted,
    RedirectExpired,
    RedirectFailed,
    TransferCompleted,
    TransferExpired,
    TransferFailed,
)

__all__ = ["COLOURS", "detail", "in_full", "sign", "timeline", "words"]

COLOURS = {"completed": "green", "failed": "red", "expired": "yellow"}
_MARKS = {"completed": "✔", "failed": "✘", "expired": "?"}
_CALLER = {True: "the caller is still ours", False: "the caller is gone", None: "the caller may be gone"}


def sign(event: Event, *, width: int = 0) -> Text:
    """The event's mark and its kind, on at least `width` columns."""
    subject, _, word = event.kind.partition(".")
    own = subject in {"transfer", "redirect"}
    mark = _MARKS.get(word, "●") if own else "│"
    colour = COLOURS.get(word, "default") if own else "bright_black"
    return Text(f"{mark} {event.kind:<{width}}", style=colour)


def words(event: Event, *, width: int = 0) -> Text:
    """The same, and what the event says beside its kind."""
    return Text.assemble(sign(event, width=width), " ", (detail(event), "dim"))


def timeline(events: Sequence[Event]) -> Iterator[Text]:
    """The lines of one transfer's events, counted from the first; why one failed is on lines of its own."""
    for event in events:
        after = (event.time - events[0].time).total_seconds()
        yield Text.assemble(f"{after:9.3f} s  ", words(event, width=20))
        for line in _why(event):
            yield Text(f"{'':15}{line}", style="dim")


def in_full(event: Event) -> str:
    """What an event says beside its kind and, of a failure, why: on one line."""
    return "; ".join(part for part in (detail(event), *_why(event)) if part)


def detail(event: Event) -> str:
    """What an event says beside its kind; nothing that has to stay hidden."""
    said: tuple[str | None, ...]
    match event:
        case TransferCompleted() | RedirectCompleted():
            said = (event.basis, _codes(event), _took(event))
        case TransferFailed() | RedirectFailed():
            said = (event.reason, event.basis, _codes(event), _CALLER[event.call_alive], _took(event))
        case TransferExpired() | RedirectExpired():
            said = ("not known", f"evidence: {event.evidence}", _CALLER[event.call_alive], _took(event))
        case CallEnded():
            said = (_codes(event),)
        case ProviderOther(late_verdict=late) if late:
            said = (f"the provider says {late} after the outcome, which stands",)
        case ProviderOther(name=str(name)):
            said = (name,)
        case _:
            said = ()
    return ", ".join(str(part) for part in said if part)


def _why(event: Event) -> Iterator[str]:
    """Of a failure, for whoever looks into it: the provider's words, what to do, what to quote to them."""
    if isinstance(event, TransferFailed | RedirectFailed):
        told = {
            "the provider says": event.message,
            "what to do": event.advice,
            "request id": event.request_id,
        }
        for name, text in told.items():
            if text:
                yield f"{name}: {_plain(text)}"


def _plain(text: str) -> str:
    """Somebody else's text on one line, without numbers and secrets and what a terminal would obey."""
    return " ".join(shown_id("".join(one if one.isprintable() else " " for one in text)).split())


def _codes(event: Event) -> str:
    code, subcode = getattr(event, "code", None), getattr(event, "subcode", None)
    if code is None and subcode is None:
        return ""
    return f"code {code}" if subcode is None else f"code {code}/{subcode}"


def _took(outcome: Outcome) -> str:
    return "" if outcome.elapsed is None else f"after {outcome.elapsed.total_seconds():.1f} s"
