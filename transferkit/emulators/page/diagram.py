"""The sequence diagram of a transfer, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from attrs import frozen

from transferkit.emulators import RecordedRequest, SentCallback
from transferkit.emulators.page.html import Html, element, fragment
from transferkit.emulators.page.stories import Line, Story
from transferkit.provider.facts import Signal

__all__ = ["draw"]

_APPLICATION: Final = 90
_PROVIDER: Final = 390
_TARGET: Final = 640
_WIDTH: Final = 730
_FIRST: Final = 72
_STEP: Final = 44
_LONGEST: Final = 44

_RINGS: Final = "rings"


@final
@frozen(kw_only=True)
class _Arrow:
    """One arrow: `kind` is a class of the style sheet, `after` the time in seconds since the start."""

    start: int
    end: int
    label: str
    note: str = ""
    kind: str = "plain"
    after: float | None = None


def draw(story: Story) -> Html:
    """The diagram, with a description for screen readers."""
    arrows = list(_arrows(story))
    height = _FIRST + _STEP * len(arrows) + 12
    lanes = ((_APPLICATION, "application"), (_PROVIDER, story.call.provider), (_TARGET, "target"))
    title = f"{story.kind} of call {story.call.id} on {story.call.provider}"
    return element(
        "svg",
        element("title", title, id=f"{story.id}-title"),
        element("desc", "; ".join(_description(arrow) for arrow in arrows), id=f"{story.id}-desc"),
        [_draw_lane(x, name, height) for x, name in lanes],
        [_draw_arrow(arrow, _FIRST + _STEP * index) for index, arrow in enumerate(arrows)],
        viewBox=f"0 0 {_WIDTH} {height}",
        role="img",
        aria_labelledby=f"{story.id}-title {story.id}-desc",
        class_="diagram",
    )


def _arrows(story: Story) -> Iterator[_Arrow]:
    start = story.lines[0].at
    ringing = False
    for line in story.lines:
        after = (line.at - start).total_seconds()
        if isinstance(line.record, RecordedRequest):
            yield _request_arrow(line, line.record, after)
            if line.requested and line.executed and not ringing:
                ringing = True
                yield _Arrow(start=_PROVIDER, end=_TARGET, label=_RINGS, kind="inferred")
            continue
        signals = {event.signal for event in line.events}
        if ringing and signals & {Signal.SUCCEEDED, Signal.FAILED}:
            ringing = False
            label = "answers" if Signal.SUCCEEDED in signals else _failure(line)
            yield _Arrow(start=_TARGET, end=_PROVIDER, label=label, kind="inferred")
        yield _callback_arrow(line, line.record, after)


def _request_arrow(line: Line, request: RecordedRequest, after: float) -> _Arrow:
    broken = request.status == 0
    response = "no response" if broken else str(request.status)
    return _Arrow(
        start=_APPLICATION,
        end=_PROVIDER,
        label=f"{request.method} {line.requested or 'call'}",
        note=f"{response}{_fault(request.fault)}",
        kind="broken" if broken or request.fault or not line.executed else "plain",
        after=after,
    )


def _callback_arrow(line: Line, callback: SentCallback, after: float) -> _Arrow:
    response = "not delivered" if callback.status is None else str(callback.status)
    signals = {event.signal for event in line.events}
    kind = "good" if Signal.SUCCEEDED in signals else "bad" if Signal.FAILED in signals else "plain"
    return _Arrow(
        start=_PROVIDER,
        end=_APPLICATION,
        label=", ".join(event.kind for event in line.events) or "callback",
        note=f"{response}{_fault(callback.fault)}",
        kind="broken" if callback.status is None else kind,
        after=after,
    )


def _failure(line: Line) -> str:
    return next((event.detail for event in line.events if event.signal is Signal.FAILED), "") or "fails"


def _fault(fault: str | None) -> str:
    return f" ({fault})" if fault else ""


def _description(arrow: _Arrow) -> str:
    names = {_APPLICATION: "application", _PROVIDER: "provider", _TARGET: "target"}
    note = f", {arrow.note}" if arrow.note else ""
    return f"{names[arrow.start]} to {names[arrow.end]}: {arrow.label}{note}"


def _draw_lane(x: int, name: str, height: int) -> Html:
    return fragment(
        element("line", x1=x, y1=36, x2=x, y2=height - 4, class_="lane"),
        element("rect", x=x - 62, y=6, width=124, height=30, rx=6, class_="head"),
        element("text", name, x=x, y=26, class_="name"),
    )


def _draw_arrow(arrow: _Arrow, y: int) -> Html:
    to_the_right = arrow.end > arrow.start
    tip = arrow.end - 1 if to_the_right else arrow.end + 1
    back = tip - 8 if to_the_right else tip + 8
    middle = (arrow.start + arrow.end) / 2
    return element(
        "g",
        element("line", x1=arrow.start, y1=y, x2=tip, y2=y),
        element("path", d=f"M{tip} {y} L{back} {y - 4} L{back} {y + 4} Z"),
        element("text", _short(arrow.label), x=middle, y=y - 6, class_="label"),
        element("text", _short(arrow.note), x=middle, y=y + 14, class_="note") if arrow.note else None,
        element("text", f"{arrow.after:.3f} s", x=4, y=y + 4, class_="after")
        if arrow.after is not None
        else None,
        class_=f"arrow {arrow.kind}",
    )


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"
