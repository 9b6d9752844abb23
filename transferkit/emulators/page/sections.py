"""The parts of the page that change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, final

from attrs import frozen

from transferkit._util.frozenmap import thaw
from transferkit._util.redaction import MASK
from transferkit.emulators import CallView, Emulator, RecordedRequest
from transferkit.emulators.page.diagram import draw
from transferkit.emulators.page.html import Html, button, element, fragment
from transferkit.emulators.page.stories import Line, Story, lines, stories

__all__ = ["Chapter", "sections"]

_STORIES: Final = 60
_OPEN: Final = 3
"""How many stories of a column are open at first; of the others only the title is."""
_CALLS: Final = 30
_LINES: Final = 300
_ENDED_STATES: Final = frozenset({"disconnected", "terminated", "taken"})
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@final
@frozen(kw_only=True)
class Chapter:
    """A heading for the stories that begin at this time or later."""

    title: str
    at: datetime


def sections(
    emulators: Mapping[str, Emulator], *, token: str, chapters: Sequence[Chapter] = ()
) -> dict[str, Html]:
    """All parts, by their element id; `token` is the token of the page's forms."""
    journals = {name: lines(emulator) for name, emulator in emulators.items()}
    return {
        "stories": _stories(emulators, journals, chapters, token),
        "faults": _faults(emulators, token),
        "calls": _calls(emulators, token),
        "wire": _wire([line for journal in journals.values() for line in journal], token),
    }


def _empty(message: str) -> Html:
    return element("p", message, class_="dim")


def _provider(name: str) -> Html:
    return element("span", name, class_="provider")


# --- stories ----------------------------------------------------------------------------------------


def _stories(
    emulators: Mapping[str, Emulator],
    journals: Mapping[str, list[Line]],
    chapters: Sequence[Chapter],
    token: str,
) -> Html:
    """The chapters, the latest first; in each one a column for every provider."""
    columns = {name: stories(journal)[:_STORIES] for name, journal in journals.items()}
    parts: list[Html] = []
    until = datetime.max.replace(tzinfo=UTC)
    for chapter in (*reversed(chapters), Chapter(title="", at=_LONG_AGO)):
        found = {
            name: [story for story in column if chapter.at <= story.at < until]
            for name, column in columns.items()
        }
        until = chapter.at
        if chapter.title or any(found.values()):
            heading = element("h3", chapter.title) if chapter.title else None
            body = [_column(emulators[name], column, token) for name, column in found.items()]
            parts.append(element("section", heading, element("div", body, class_="columns")))
    return fragment(parts) if parts else _empty("No transfers or redirects yet.")


def _column(emulator: Emulator, column: Sequence[Story], token: str) -> Html:
    calls = {call.id: call for call in emulator.calls()}
    shown = [
        _story(emulator, story, calls.get(story.call_id), token, is_open=number < _OPEN)
        for number, story in enumerate(column)
    ]
    return element("div", shown or element("p", _provider(emulator.name), " no request", class_="dim"))


def _story(emulator: Emulator, story: Story, call: CallView | None, token: str, *, is_open: bool) -> Html:
    rings = story.call_id in emulator.ringing_targets
    badge = ("target rings", "ring") if rings else (story.outcome, story.tone)
    return element(
        "details",
        element(
            "summary",
            _provider(story.provider),
            element("span", story.title, class_="title"),
            element("span", badge[0], class_=f"badge {badge[1]}"),
            id=f"{story.id}-summary",
        ),
        draw(story),
        element(
            "footer",
            element("time", f"{story.at:%H:%M:%S}", datetime=story.at.isoformat()),
            element("code", story.call_id),
            _buttons(emulator, call, token, place="story") if call and rings else None,
        ),
        id=story.id,
        class_="story",
        open=is_open,
    )


# --- calls ------------------------------------------------------------------------------------------


def _calls(emulators: Mapping[str, Emulator], token: str) -> Html:
    shown = [(emulator, call) for emulator in emulators.values() for call in emulator.calls()[-_CALLS:][::-1]]
    if not shown:
        return _empty("No calls yet. Place one above, or have your application answer an incoming one.")
    going_on: list[Html] = []
    ended: list[Html] = []
    for emulator, call in shown:
        (ended if call.state in _ENDED_STATES else going_on).append(_call(emulator, call, token))
    return fragment(
        element("ul", going_on, class_="plain rows") if going_on else _empty("All calls have ended."),
        element(
            "details",
            element("summary", f"{_count(len(ended), 'call')} ended", id="ended-summary"),
            element("ul", ended, class_="plain rows"),
            id="ended",
        )
        if ended
        else None,
    )


def _call(emulator: Emulator, call: CallView, token: str) -> Html:
    rings = call.id in emulator.ringing_targets
    executed = f"executed {call.executions} times" if call.executions > 1 else ""
    return element(
        "li",
        element(
            "div",
            _provider(emulator.name),
            element(
                "span",
                "target rings" if rings else call.state,
                class_="badge ring" if rings or call.ringing else "badge",
            ),
            element("span", "group", class_="badge") if call.group else None,
            element("span", executed, class_="badge bad") if executed else None,
            _buttons(emulator, call, token, place="call"),
            class_="row",
        ),
        element("code", call.id),
        [element("code", party, class_="dim") for party in call.parties],
    )


def _buttons(emulator: Emulator, call: CallView, token: str, *, place: str) -> Html:
    """What can be done with the call now."""
    rings = call.id in emulator.ringing_targets
    actions = [
        ("answer", "Answer", "the target answers", rings),
        ("decline", "Decline", "the target declines", rings),
        ("hang_up", "Hang up", "the caller hangs up", call.state not in _ENDED_STATES),
    ]
    return element(
        "div",
        [
            button(
                action,
                label,
                token,
                key=f"{place}-{call.id}",
                title=title,
                provider=emulator.name,
                call_id=call.id,
            )
            for action, label, title, possible in actions
            if possible
        ],
        class_="buttons",
    )


# --- faults -----------------------------------------------------------------------------------------


def _faults(emulators: Mapping[str, Emulator], token: str) -> Html:
    on = [
        element("li", _provider(name), " ", element("code", fault))
        for name, emulator in emulators.items()
        for fault in _active(emulator)
    ]
    if not on:
        return _empty("No faults are active.")
    return fragment(
        element("ul", on, class_="plain"),
        button("clear_faults", "Switch all faults off", token, key="all"),
    )


def _active(emulator: Emulator) -> Iterator[str]:
    """The active faults, equal ones counted on one line."""
    for fault, count in Counter(map(str, emulator.faults.active)).items():
        yield fault if count == 1 else f"{count} times {fault}"
    if emulator.faults.seed is not None:
        yield f"chaos with seed {emulator.faults.seed}"


# --- the wire log -----------------------------------------------------------------------------------


def _wire(journal: list[Line], token: str) -> Html:
    if not journal:
        return _empty("No requests or callbacks yet.")
    calls: dict[tuple[str, str | None], list[Line]] = {}
    for line in sorted(journal, key=lambda line: line.at)[-_LINES:]:
        calls.setdefault((line.provider, line.call_id), []).append(line)
    latest = sorted(calls.items(), key=lambda call: call[1][-1].at, reverse=True)
    title = "delete all requests and callbacks, and switch all faults off"
    return fragment(
        [_wire_of_call(provider, call_id, found) for (provider, call_id), found in latest],
        button("reset", "Delete all", token, key="all", title=title),
    )


def _wire_of_call(provider: str, call_id: str | None, found: Sequence[Line]) -> Html:
    requests = sum(isinstance(line.record, RecordedRequest) for line in found)
    count = f"{_count(requests, 'request')}, {_count(len(found) - requests, 'callback')}"
    key = f"wire-{provider}-{call_id or 'none'}"
    return element(
        "details",
        element(
            "summary",
            _provider(provider),
            element("code", call_id) if call_id else element("span", "about no call"),
            element("span", count, class_="badge"),
            id=f"{key}-summary",
        ),
        element("ol", [_entry(line) for line in found], class_="plain"),
        id=key,
        class_="log",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _entry(line: Line) -> Html:
    record = line.record
    if isinstance(record, RecordedRequest):
        title, status = f"{record.method} {record.path}", str(record.status or "no response")
        parts = [
            _headers("Request headers", record.headers),
            _json("Request body", record.body),
            _headers("Response headers", record.reply_headers),
            _json("Response body", record.reply_body),
        ]
    else:
        title = f"callback to {_without_query(record.url)}"
        status = "not delivered" if record.status is None else str(record.status)
        parts = [_headers("Callback headers", record.headers), _json("Callback body", record.body)]
    return element(
        "li",
        element(
            "details",
            element(
                "summary",
                element("time", f"{record.at:%H:%M:%S.%f}"[:-3], datetime=record.at.isoformat()),
                element("span", title, class_="way"),
                element("span", status, class_="badge" if status.startswith("2") else "badge bad"),
                element("span", record.fault, class_="badge bad") if record.fault else None,
                [
                    element("span", f"{event.kind} {event.detail}".strip(), class_="badge good")
                    for event in line.events
                ],
                id=f"{line.id}-summary",
            ),
            parts,
            id=line.id,
        ),
    )


def _headers(title: str, headers: Mapping[str, str]) -> Html | None:
    if not headers:
        return None
    pairs = [fragment(element("dt", name), element("dd", value)) for name, value in sorted(headers.items())]
    return fragment(element("h4", title), element("dl", pairs))


def _json(title: str, body: Any) -> Html | None:
    if body is None:
        return None
    shown = body if isinstance(body, str) else json.dumps(thaw(body), indent=2, ensure_ascii=False)
    return fragment(element("h4", title), element("pre", shown, tabindex=0))


def _without_query(url: str) -> str:
    """The address without its query, which may contain a secret."""
    address, mark, _ = url.partition("?")
    return f"{address}?{MASK}" if mark else address
