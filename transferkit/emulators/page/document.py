"""The whole page as it is loaded, including the parts that change later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Final

from transferkit.emulators import Emulator, FaultKind
from transferkit.emulators.page.html import Child, Html, element, fragment
from transferkit.testing.scenarios import SCENARIOS

__all__ = ["document"]

_PANELS: Final = {
    "stories": "Stories",
    "controls": "Controls",
    "calls": "Calls",
    "wire": "Wire log",
    "targets": "Magic targets",
}
_WITH_VALUES: Final = {
    FaultKind.STATUS: "status=429,retry_after=1.5",
    FaultKind.SLOW: "slow=2",
    FaultKind.SLOW_AFTER: "slow_after=2",
    FaultKind.DELAY: "delay=2",
}


def document(
    emulators: Mapping[str, Emulator],
    parts: Mapping[str, Html],
    *,
    addresses: Mapping[str, str],
    token: str,
) -> Html:
    """The page with these parts. It also works without its script, if it is reloaded."""
    controls = (_call_form(emulators, token), _fault_form(emulators, token))
    body = element(
        "body",
        element("a", "Skip to the stories", href="#stories-title", class_="skip"),
        element(
            "header",
            element("h1", "transferkit", element("span", " emulators", class_="dim")),
            element("ul", [_address(name, addresses[name]) for name in emulators], class_="plain addresses"),
            element("nav", [element("a", title, href=f"#{name}-title") for name, title in _PANELS.items()]),
            element("p", "loading…", id="connection", role="status", class_="badge"),
        ),
        element("p", "", id="message", role="status", aria_live="polite"),
        element(
            "main",
            _panel("stories", element("div", parts["stories"], id="stories")),
            element(
                "div",
                _panel("controls", controls, element("div", parts["faults"], id="faults")),
                _panel("calls", element("div", parts["calls"], id="calls")),
                _panel("wire", element("div", parts["wire"], id="wire")),
                _panel("targets", element("details", element("summary", "Show"), _targets())),
                class_="side",
            ),
        ),
        element("footer", f"transferkit {version('transferkit')}"),
        element("script", src="/page.js"),
    )
    return fragment(Html("<!doctype html>"), element("html", _head(), body, lang="en"))


def _head() -> Html:
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", "transferkit emulators"),
        element("link", rel="icon", href="data:,"),
        element("link", rel="stylesheet", href="/page.css"),
    )


def _address(name: str, address: str) -> Html:
    return element("li", element("span", name, class_=f"provider {name}"), " ", element("code", address))


def _panel(name: str, *children: Child) -> Html:
    return element(
        "section",
        element("h2", _PANELS[name], id=f"{name}-title", tabindex=-1),
        children,
        aria_labelledby=f"{name}-title",
        class_=f"panel {name}",
    )


# --- forms ------------------------------------------------------------------------------------------


def _call_form(emulators: Mapping[str, Emulator], token: str) -> Html:
    usual = next((emulator.callback_url for emulator in emulators.values() if emulator.callback_url), None)
    hint = f"callbacks go to {usual}" if usual else "needs a callback address"
    return element(
        "form",
        _token(token),
        _labelled("Provider", _select("provider", [(name, name) for name in emulators], id_="call-provider")),
        _labelled(
            "Callback address",
            element("input", name="callback_url", type="url", placeholder=usual, id="call-callback"),
        ),
        element("label", element("input", type="checkbox", name="group", id="call-group"), " group call"),
        element(
            "div",
            element("button", "Place a call", type="submit", formaction="/do/place", id="place", title=hint),
            element("button", "Ring", type="submit", formaction="/do/ring", id="ring", title=hint),
            class_="buttons",
        ),
        method="post",
        action="/do/place",
        class_="row",
    )


def _fault_form(emulators: Mapping[str, Emulator], token: str) -> Html:
    choices = [("", "all"), *((name, name) for name in emulators)]
    return element(
        "form",
        _token(token),
        _labelled("Emulator", _select("provider", choices, id_="fault-provider")),
        _labelled(
            "Fault",
            element(
                "input",
                name="fault",
                required=True,
                list="kinds",
                id="fault",
                autocomplete="off",
                placeholder="reset_after,match=transfer,times=2",
            ),
        ),
        element("datalist", [element("option", value=word) for word in _kinds()], id="kinds"),
        element("div", element("button", "Add fault", type="submit", id="add-fault"), class_="buttons"),
        method="post",
        action="/do/add_fault",
        class_="row",
    )


def _token(token: str) -> Html:
    return element("input", type="hidden", name="token", value=token)


def _labelled(label: str, control: Html) -> Html:
    return element("label", element("span", label), control)


def _select(name: str, choices: Iterable[tuple[str, str]], *, id_: str) -> Html:
    options = [element("option", label, value=value) for value, label in choices]
    return element("select", options, name=name, id=id_)


def _kinds() -> list[str]:
    return [_WITH_VALUES.get(kind, kind.value) for kind in FaultKind]


def _targets() -> Html:
    return element(
        "dl",
        [
            fragment(
                element("dt", line.name),
                element("dd", element("code", line.number.number), " or ", element("code", line.object_id)),
                element("dd", line.description, class_="dim"),
            )
            for line in SCENARIOS
        ],
    )
