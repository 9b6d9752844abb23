"""The parts of the page that change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from transferkit._util.frozenmap import thaw
from transferkit._util.redaction import MASK
from transferkit.emulators import CallView, Emulator, RecordedRequest
from transferkit.emulators.page.diagram import draw
from transferkit.emulators.page.html import Html, button, element, fragment
from transferkit.emulators.page.stories import Line, lines, stories

__all__ = ["sections"]

_STORIES: Final = 12
_CALLS: Final = 50
_LINES: Final = 100
_ENDED_STATES: Final = frozenset({"disconnected", "terminated", "taken"})


def sections(emulators: Mapping[str, Emulator], *, token: str) -> dict[str, Html]:
    """All parts, by their element id; `token` is the token of the page's forms."""
    journals = {name: lines(emulator) for name, emulator in emulators.items()}
    return {
        "calls": _calls(emulators, token),
        "faults": _faults(emulators, token),
        "stories": _stories(emulators, journals),
        "wire": _wire([line for journal in journals.values() for line in journal], token),
    }


# --- calls ------------------------------------------------------------------------------------------


def _calls(emulators: Mapping[str, Emulator], token: str) -> Html:
    shown = [(emulator, call) for emulator in emulators.values() for call in emulator.calls()[-_CALLS:][::-1]]
    if not shown:
        return _empty("No calls yet. Place one above, or have your application answer an incoming one.")
    head = element(
        "tr",
        [element("th", word, scope="col") for word in ("Call", "State", "Parties", "Executed", "Actions")],
    )
    rows = [_call(emulator, call, token) for emulator, call in shown]
    return element(
        "div",
        element("table", element("thead", head), element("tbody", rows, role="rowgroup"), role="table"),
        class_="scroll",
        tabindex=0,
        role="region",
        aria_label="Calls",
    )


def _call(emulator: Emulator, call: CallView, token: str) -> Html:
    rings = call.id in emulator.ringing_targets
    fields = {"provider": emulator.name, "call_id": call.id}
    buttons = [
        button("answer", "Answer", token, key=call.id, title="the target answers", **fields)
        if rings
        else None,
        button("decline", "Decline", token, key=call.id, title="the target declines", **fields)
        if rings
        else None,
        button("hang_up", "Hang up", token, key=call.id, title="the caller hangs up", **fields)
        if call.state not in _ENDED_STATES
        else None,
    ]
    state = "target rings" if rings else call.state
    # The style sheet for narrow screens changes the display of the table, which removes the implicit roles.
    return element(
        "tr",
        element(
            "td",
            element("span", emulator.name, class_=f"provider {emulator.name}"),
            " ",
            element("code", call.id),
            element("span", " group", class_="dim") if call.group else None,
            role="cell",
        ),
        element(
            "td",
            element("span", state, class_="badge ring" if rings or call.ringing else "badge"),
            role="cell",
        ),
        element("td", [element("code", party, class_="party") for party in call.parties], role="cell"),
        element("td", call.executions, class_="number", role="cell"),
        element("td", element("div", buttons, class_="buttons"), role="cell"),
        role="row",
    )


# --- faults -----------------------------------------------------------------------------------------


def _faults(emulators: Mapping[str, Emulator], token: str) -> Html:
    on = [
        element(
            "li",
            element("span", name, class_=f"provider {name}"),
            " ",
            element("code", fault) if fault else None,
        )
        for name, emulator in emulators.items()
        for fault in (*map(str, emulator.faults.active), *_chaos(emulator))
    ]
    if not on:
        return _empty("No faults are active.")
    return fragment(
        element("ul", on, class_="plain"),
        button("clear_faults", "Switch all faults off", token, key="all"),
    )


def _chaos(emulator: Emulator) -> Iterable[str]:
    return () if emulator.faults.seed is None else (f"chaos with seed {emulator.faults.seed}",)


# --- stories ----------------------------------------------------------------------------------------


def _stories(emulators: Mapping[str, Emulator], journals: Mapping[str, list[Line]]) -> Html:
    found = [story for name, emulator in emulators.items() for story in stories(emulator, journals[name])]
    found.sort(key=lambda story: story.lines[0].at, reverse=True)
    if not found:
        return _empty("No transfers or redirects yet.")
    return fragment(
        element(
            "article",
            element(
                "h3",
                element("span", story.call.provider, class_=f"provider {story.call.provider}"),
                f" {story.kind} of ",
                element("code", story.call.id),
            ),
            element(
                "div",
                draw(story),
                class_="scroll",
                tabindex=0,
                role="region",
                aria_label=f"Sequence diagram: {story.kind} of call {story.call.id}",
            ),
            id=story.id,
        )
        for story in found[:_STORIES]
    )


# --- the wire ---------------------------------------------------------------------------------------


def _wire(journal: list[Line], token: str) -> Html:
    if not journal:
        return _empty("No requests or callbacks yet.")
    latest = sorted(journal, key=lambda line: line.at, reverse=True)[:_LINES]
    return fragment(
        button(
            "reset",
            "Delete all",
            token,
            key="all",
            title="delete all requests and callbacks, and switch all faults off",
        ),
        element("ol", [_entry(line) for line in latest], class_="plain wire"),
    )


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
    bad = not status.startswith("2")
    return element(
        "li",
        element(
            "details",
            element(
                "summary",
                element("time", f"{record.at:%H:%M:%S.%f}"[:-3], datetime=record.at.isoformat()),
                element("span", line.provider, class_=f"provider {line.provider}"),
                element("span", title, class_="way"),
                element("span", status, class_="badge bad" if bad else "badge"),
                element("span", record.fault, class_="badge broken") if record.fault else None,
                [
                    element("span", f"{event.kind} {event.detail}".strip(), class_="badge event")
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


def _empty(message: str) -> Html:
    return element("p", message, class_="dim")
