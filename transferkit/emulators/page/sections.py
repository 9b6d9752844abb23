"""The parts of the page. Each is rendered anew when something happened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from transferkit._util.frozenmap import thaw
from transferkit._util.redaction import MASK
from transferkit.emulators import CallView, Emulator, RecordedRequest
from transferkit.emulators.page.diagram import draw
from transferkit.emulators.page.html import Html, button, element, fragment
from transferkit.emulators.page.storytelling import Line, lines, stories

__all__ = ["sections"]

_STORIES: Final = 12
_CALLS: Final = 50
_LINES: Final = 100
_OVER: Final = frozenset({"disconnected", "terminated", "taken"})


def sections(emulators: Mapping[str, Emulator], *, token: str) -> dict[str, Html]:
    """Every part by the id of its place on the page; `token` proves that a form is this page's own."""
    told = {name: lines(emulator) for name, emulator in emulators.items()}
    return {
        "calls": _calls(emulators, token),
        "faults": _faults(emulators, token),
        "stories": _stories(emulators, told),
        "wire": _wire([line for of_one in told.values() for line in of_one], token),
    }


# --- calls ------------------------------------------------------------------------------------------


def _calls(emulators: Mapping[str, Emulator], token: str) -> Html:
    shown = [(emulator, call) for emulator in emulators.values() for call in emulator.calls()[-_CALLS:][::-1]]
    if not shown:
        return _nothing("No call yet. Place one above, or let your application answer one that rings.")
    head = element(
        "tr", [element("th", word, scope="col") for word in ("Call", "State", "Parties", "Executed", "Do")]
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
    about = {"provider": emulator.name, "call_id": call.id}
    buttons = [
        button("answer", "Answer", token, key=call.id, said="the target picks up", **about)
        if rings
        else None,
        button("decline", "Decline", token, key=call.id, said="the target declines", **about)
        if rings
        else None,
        button("hang_up", "Hang up", token, key=call.id, said="the caller hangs up", **about)
        if call.state not in _OVER
        else None,
    ]
    state = "target rings" if rings else call.state
    # The roles say again what the elements mean, as a narrow screen's style sheet takes it from them.
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
        return _nothing("Nothing goes wrong on purpose.")
    return fragment(
        element("ul", on, class_="plain"),
        button("mend", "Mend everything", token, key="mend", said="switch all faults off"),
    )


def _chaos(emulator: Emulator) -> Iterable[str]:
    return () if emulator.faults.seed is None else (f"chaos of seed {emulator.faults.seed}",)


# --- stories ----------------------------------------------------------------------------------------


def _stories(emulators: Mapping[str, Emulator], told: Mapping[str, list[Line]]) -> Html:
    found = [story for name, emulator in emulators.items() for story in stories(emulator, told[name])]
    found.sort(key=lambda story: story.lines[0].at, reverse=True)
    if not found:
        return _nothing("No transfer or redirect yet.")
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


def _wire(told: list[Line], token: str) -> Html:
    if not told:
        return _nothing("Nothing was said yet.")
    latest = sorted(told, key=lambda line: line.at, reverse=True)[:_LINES]
    return fragment(
        button("reset", "Forget everything", token, key="all", said="forget all requests and callbacks"),
        element("ol", [_entry(line) for line in latest], class_="plain wire"),
    )


def _entry(line: Line) -> Html:
    what = line.what
    if isinstance(what, RecordedRequest):
        way, status = f"{what.method} {what.path}", str(what.status or "no answer")
        parts = [
            _headers("Request headers", what.headers),
            _json("Request body", what.body),
            _headers("Answer headers", what.reply_headers),
            _json("Answer body", what.reply_body),
        ]
    else:
        way = f"callback to {_without_query(what.url)}"
        status = "not delivered" if what.status is None else str(what.status)
        parts = [_headers("Callback headers", what.headers), _json("Callback body", what.body)]
    bad = not status.startswith("2")
    return element(
        "li",
        element(
            "details",
            element(
                "summary",
                element("time", f"{what.at:%H:%M:%S.%f}"[:-3], datetime=what.at.isoformat()),
                element("span", line.provider, class_=f"provider {line.provider}"),
                element("span", way, class_="way"),
                element("span", status, class_="badge bad" if bad else "badge"),
                element("span", what.fault, class_="badge broken") if what.fault else None,
                [
                    element("span", f"{heard.kind} {heard.detail}".strip(), class_="badge event")
                    for heard in line.heard
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
    """The address; what follows the question mark may be a secret."""
    address, mark, _ = url.partition("?")
    return f"{address}?{MASK}" if mark else address


def _nothing(message: str) -> Html:
    return element("p", message, class_="dim")
