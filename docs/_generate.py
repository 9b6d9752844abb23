"""Write the reference tables that come from the code: `python docs/_generate.py FOLDER`.

Each function returns the text of one page. `conf.py` writes the pages whenever the site is built. The Python
API is not here: Sphinx autodoc reads the docstrings.
"""

# ruff: noqa: INP001 - a folder of pages, not a package
from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
import typer.main
from transferkit_acs.reasons import ACS
from transferkit_acs.settings import ApiVersion
from transferkit_asterisk.reasons import SIP_REASONS, UNPROVEN, sip_failure
from transferkit_graph.reasons import GRAPH
from transferkit_microsoft import codes as microsoft
from typer.testing import CliRunner

from transferkit import FailureReason, Secret
from transferkit.cli.app import app
from transferkit.config import (
    CallbackConfig,
    Config,
    GroupConfig,
    LifecycleConfig,
    RelayConfig,
    RetentionConfig,
)
from transferkit.emulators.operations import OPERATIONS
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.facts import RequestKind, Result
from transferkit.provider.limits import Anything, Identifiers, Limit
from transferkit.provider.registry import adapter_class, sink_class
from transferkit.stores.address import ADDRESSES
from transferkit.testing.scenarios import SCENARIOS

sys.path.insert(0, str(Path(__file__).parent))
import _consultation_cycle
import _life_cycle

__all__ = ["PAGES", "provider_table", "write"]


def write(folder: Path) -> None:
    """Write every page into `folder`, but leave the file of an unchanged page: Sphinx skips it then."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        text, path = page() + "\n", folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _page(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


# --- configuration keys -----------------------------------------------------------------------------

_TABLES: Final[Mapping[str, type[Any]]] = {
    "callbacks": CallbackConfig,
    "lifecycle": LifecycleConfig,
    "groups": GroupConfig,
    "retention": RetentionConfig,
    "relay": RelayConfig,
    **{f"relay.{name}": sink_class(name).settings_class for name in ("nats", "servicebus", "kafka")},
    **{
        f"providers.{name}": adapter_class(name).settings_class
        for name in ("acs", "graph", "asterisk", "fake")
    },
}
_TYPES: Final = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    timedelta: "seconds",
    Path: "a path",
    Secret: 'text, `{ env = "NAME" }` or `{ file = "path" }`',
}


def configuration() -> str:
    """Every configuration key, from the classes that read them."""
    head = ("key", "accepts", "default")
    top = [
        ("`provider`", "the name of a `[providers.NAME]` table", "the table, if there is only one"),
        ("`store`", ADDRESSES, f"`{attrs.fields(Config).store.default}`"),
    ]
    tables = [
        part
        for name, cls in _TABLES.items()
        for part in (f"## `[{name}]`", inspect.getdoc(cls) or "", _table(head, _keys(cls)))
    ]
    return _page(
        "# Configuration keys",
        "The configuration is a TOML file, a dict or environment variables. The name of a variable is "
        "`TRANSFERKIT_` and the key in capitals, with two underscores between table and key, for example "
        "`TRANSFERKIT_PROVIDERS__ACS__RESOURCE_ID`. Variables override the file that `TRANSFERKIT_CONFIG` "
        "names. A file that is passed by `--config` or `from_config(PATH)`, or a dict, is the whole "
        "configuration: no variable is read. Unknown keys and empty texts are errors. Durations are in "
        "seconds.",
        "## Top level",
        _table(head, top),
        *tables,
    )


def _keys(cls: type[Any]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(cls, include_extras=True)
    for key in attrs.fields(cls):
        yield f"`{key.name}`", _accepted(hints[key.name]), _default(key.default)


def _accepted(hint: Any) -> str:
    if get_origin(hint) in {Union, UnionType}:
        hint = next(option for option in get_args(hint) if option is not NoneType)
    kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if limits:
        return str(limits[0].accepts)
    if get_origin(hint) is tuple:
        return "a list of text"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(f"`{member}`" for member in kind)
    if getattr(kind, "_is_protocol", False):
        return f"a `{kind.__name__}` object, from Python only"
    return _TYPES[kind]


def _default(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.12g}"
    if value is None or value == () or value is attrs.NOTHING:
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return str(value).lower() if isinstance(value, bool) else f"`{value}`"


# --- the command line -------------------------------------------------------------------------------


def command_line() -> str:
    """The help of every command."""
    return _page(
        "# Command line",
        "It needs the extra `cli`: [Install](../how_to/install.md). `transferkit --install-completion` sets "
        "up completion for your shell.",
        "Exit codes: 0 success; 1 the outcome or a check is a failure; 2 wrong usage or configuration; 130 "
        "interrupted by Ctrl-C.",
        *_help("transferkit", typer.main.get_command(app)),
    )


def _help(name: str, command: Any) -> Iterator[str]:
    env = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    result = CliRunner().invoke(app, [*name.split()[1:], "--help"], env=env, prog_name="transferkit")
    if result.exit_code != 0:
        raise RuntimeError(f"{name} --help exits with {result.exit_code}")
    yield f"## `{name}`"
    yield "```text\n" + "\n".join(line.rstrip() for line in result.output.strip().splitlines()) + "\n```"
    if hasattr(command, "list_commands"):
        context = command.make_context(name, [], resilient_parsing=True)
        for subcommand in command.list_commands(context):
            yield from _help(f"{name} {subcommand}", command.get_command(context, subcommand))


# --- failure reasons --------------------------------------------------------------------------------

_REASONS: Final = {
    FailureReason.BUSY: "The target is in another call.",
    FailureReason.DECLINED: "The target declined the call.",
    FailureReason.NO_ANSWER: "The target rang and did not answer.",
    FailureReason.UNREACHABLE: "The target exists, but none of its endpoints could be reached.",
    FailureReason.TARGET_NOT_FOUND: "The target does not exist.",
    FailureReason.TARGET_NOT_ALLOWED: "The application may not call this target.",
    FailureReason.TENANT_MISMATCH: "The token belongs to another tenant than the call.",
    FailureReason.CALLER_LEFT: "The caller hung up first.",
    FailureReason.TARGET_LEFT: "The target's call ended after the target had answered it.",
    FailureReason.CALL_NOT_FOUND: "The provider does not know the call, or these credentials may not see it.",
    FailureReason.CALL_NOT_ESTABLISHED: "The call is in a state that does not allow this operation.",
    FailureReason.CALL_ENDED: "The call ended, and nothing proved that it was transferred.",
    FailureReason.CONFLICT: "Another operation on this call is in progress.",
    FailureReason.UNSUPPORTED: "The provider does not support this operation, or not in this form.",
    FailureReason.UNAUTHORIZED: "The provider did not accept the credentials.",
    FailureReason.FORBIDDEN: "The credentials are valid but do not allow this operation.",
    FailureReason.THROTTLED: "The provider limits the rate of requests.",
    FailureReason.TIMEOUT: "An operation at the provider took too long.",
    FailureReason.PROVIDER_ERROR: "The provider failed, or the connection to it was lost.",
    FailureReason.UNKNOWN: "The provider gave no reason, or a code that it does not publish.",
}


def failure_reasons() -> str:
    """Every failure reason, with the published codes that are mapped to it."""
    codes: dict[FailureReason, list[tuple[str, ...]]] = {reason: [] for reason in FailureReason}
    for source, code, meaning in _codes():
        codes[meaning.reason].append((source, code, meaning.advice or ""))
    head = ("source", "code / subcode", "advice")
    sections = [
        part
        for reason, rows in codes.items()
        for part in (f"## `{reason}`", _REASONS[reason], _table(head, rows) if rows else "")
    ]
    return _page(
        "# Failure reasons",
        "`reason` of a failed transfer or redirect is one of these words for every provider. `code`, "
        "`subcode` and `message` are the provider's own. `advice` says what to do, if that is known. In the "
        "tables, `*` stands for any value.",
        "* *Microsoft*: a code of the calling service, in a callback or in an HTTP error of Graph or ACS.\n"
        "* *Phone leg*: the last three digits of a subcode 540xxx (inbound) or 560xxx (outbound), or the "
        "carrier's own SIP status.\n"
        "* *Code alone*: the code of a callback that has no subcode.\n"
        "* *Asterisk*: the final SIP status of a call to the target. *Bridge* means only in mode `bridge`: "
        "as the status of a REFER it proves nothing.",
        "A code whose meaning Microsoft does not publish has the reason `unknown`, and its `advice` says so.",
        *sections,
    )


def _codes() -> Iterator[tuple[str, str, microsoft.Meaning | Result]]:
    for status in SIP_REASONS:
        source = "Asterisk, bridge" if status in UNPROVEN else "Asterisk"
        yield source, _pair(status, None), sip_failure("FAILURE", status)
    for own in (GRAPH, ACS):
        for code, meaning in own.codes.items():
            yield f"{own.name}, HTTP error", _pair(None, code), meaning
        for status, meaning in {**microsoft.HTTP_STATUSES, **own.statuses}.items():
            yield f"{own.name}, HTTP error", _pair(status, None), meaning
    for pair, meaning in microsoft.PAIRS.items():
        yield "Microsoft", _pair(*pair), meaning
    for subcode, meaning in microsoft.SUBCODES.items():
        if subcode != microsoft.TRANSFER_COMPLETED:  # a success
            yield "Microsoft", _pair(None, subcode), meaning
    for status, meaning in microsoft.SIP_STATUSES.items():
        yield "Phone leg", _pair(status, None), meaning
    for code, meaning in microsoft.CODES.items():
        yield "Code alone", f"{code} / -", meaning


def _pair(code: int | str | None, subcode: int | str | None) -> str:
    return f"{'*' if code is None else code} / {'*' if subcode is None else subcode}"


# --- capabilities -----------------------------------------------------------------------------------

_VARIANTS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "graph": {
        "global": {},
        "global, beta": {"api": "beta"},
        "global, body 2018": {"body": "2018"},
        "US government": {"cloud": "us-gov-l4"},
        "China": {"cloud": "china"},
    },
    "acs": {version.value: {"api_version": version} for version in ApiVersion},
    "asterisk": {
        "without number_uri": {},
        "with number_uri": {"number_uri": "sip:{number}@pbx.example"},
        "with number_uri, endpoint": {"number_uri": "sip:{number}@pbx.example", "endpoint": "trunk"},
    },
}
_STEPS: Final = [kind for kind in RequestKind if kind.is_step]
_NAMES: Final = {"graph": "Microsoft Graph", "acs": "Azure Communication Services", "asterisk": "Asterisk"}
_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "asterisk": {"number_uri": "sip:{number}@pbx.example", "endpoint": "trunk"}
}
"""The settings without which a provider supports less than everyone configures."""


def _capabilities(name: str, settings: Mapping[str, Any]) -> Capabilities:
    cls = adapter_class(name)
    return cls(cls.settings_class(**settings)).capabilities


def capabilities() -> str:
    """What each provider supports, by its configuration."""
    parts = [
        "# Capabilities",
        (
            "What a provider supports depends on its configuration. A request that it does not support is "
            "refused before anything is sent, and the error lists all problems. With "
            '`on_unsupported="drop"`, optional fields that are not supported are left out; `dropped` of the '
            "`requested` event lists them."
        ),
        provider_table(),
    ]
    for name, variants in _VARIANTS.items():
        supported = {variant: _capabilities(name, settings) for variant, settings in variants.items()}
        parts.append(f"## {_NAMES[name]}")
        for operation in ("transfer", "redirect"):
            limits = {variant: getattr(found, operation) or {} for variant, found in supported.items()}
            parts += [f"### {operation.capitalize()}", _fields_table(limits), _accepted_values(limits)]
        parts += ["### Call steps", _steps_table(supported), _step_fields(supported)]
    return _page(*parts)


def _steps_table(supported: Mapping[str, Capabilities]) -> str:
    """Which variants support each step."""
    rows = (
        (f"`{kind}`", *("yes" if kind in found.steps else "no" for found in supported.values()))
        for kind in _STEPS
    )
    return _table(("", *supported), rows)


def _step_fields(supported: Mapping[str, Capabilities]) -> str:
    """The fields of each step, in the variant with the most, and whether it is sent again."""
    found = max(supported.values(), key=lambda each: sum(len(step.fields) for step in each.steps.values()))
    lines = []
    for kind in _STEPS:
        support = found.steps.get(kind)
        if support is not None:
            fields = ", ".join(f"`{field}`" for field in sorted(support.fields))
            again = "sent again after a time-out" if support.repeatable_for else "sent once"
            lines.append(f"* `{kind}` ({again}): {fields}")
    return "\n".join(lines)


def _fields_table(limits: Mapping[str, Mapping[str, Limit]]) -> str:
    fields = sorted({field for offered in limits.values() for field in offered})
    rows = (
        (f"`{field}`", *("yes" if field in offered else "no" for offered in limits.values()))
        for field in fields
    )
    return _table(("", *limits), rows)


def _accepted_values(limits: Mapping[str, Mapping[str, Limit]]) -> str:
    """What each field accepts: one line for each different limit, naming the variants that have it."""
    accepted: dict[str, dict[str, list[str]]] = {}
    for variant, offered in limits.items():
        for field, limit in offered.items():
            if not isinstance(limit, Anything):
                accepted.setdefault(field, {}).setdefault(limit.accepts, []).append(variant)
    lines = []
    for field, by_text in sorted(accepted.items()):
        for text, variants in by_text.items():
            where = f" ({', '.join(variants)})" if len(by_text) > 1 else ""
            lines.append(f"* `{field}`{where}: " + text.replace("*", r"\*").replace("<", "&lt;"))
    return "\n".join(lines)


def provider_table() -> str:
    """What each provider supports with its default configuration, for README.md and the front page."""
    defaults = [_capabilities(name, _DEFAULTS.get(name, {})) for name in _NAMES]
    rows = ((feature, *(summary(found) for found in defaults)) for feature, summary in _SUMMARY.items())
    return _table(("", *_NAMES.values()), rows)


def _target_kinds(found: Capabilities) -> str:
    limit = (found.transfer or {})["to"]
    if not isinstance(limit, Identifiers):
        raise TypeError(f"expected targets to be limited by Identifiers, not by {type(limit).__name__}")
    return ", ".join(kind.kind_name for kind in limit.kinds)


def _transfer_fields(*names: str) -> Callable[[Capabilities], str]:
    return lambda found: "yes" if set(names) <= set(found.transfer or {}) else "no"


def _steps(*names: str) -> Callable[[Capabilities], str]:
    return lambda found: "yes" if {RequestKind(name) for name in names} <= set(found.steps) else "no"


def _redirect_targets(found: Capabilities) -> str:
    limit = (found.redirect or {}).get("to")
    most = limit.max_count if isinstance(limit, Identifiers) else 0
    return f"up to {most} targets" if most > 1 else f"{most or 'no'} target"


def _ring_timeout(found: Capabilities) -> str:
    limit = (found.redirect or {}).get("ring_timeout")
    return "no" if limit is None else limit.accepts


def _after_timeout(found: Capabilities) -> str:
    span = found.repeatable_for
    return "not retried" if span is None else f"retried for {span.total_seconds():g} s, executed once"


_SUMMARY: Final[Mapping[str, Callable[[Capabilities], str]]] = {
    "transfer to": _target_kinds,
    "consultative transfer (`replaces`)": _transfer_fields("replaces"),
    "transfer of one participant of a group call (`transferee`)": _transfer_fields("transferee"),
    "caller id": _transfer_fields("caller_id"),
    "SIP and VoIP headers": _transfer_fields("context.sip", "context.voip"),
    "call details for Teams": _transfer_fields("context.teams"),
    "language, region, endpoint of the target": _transfer_fields("language_id", "region", "endpoint"),
    "callback address for each transfer": _transfer_fields("callback_uri"),
    "redirect of an incoming call": _redirect_targets,
    "ring timeout of a redirect": _ring_timeout,
    "request that timed out": _after_timeout,
    "outcome of a redirect": lambda found: (
        "inferred" if found.redirect_completes_on_acceptance else "stated, or expired"
    ),
    "answer, reject, place, hang up calls": _steps("answer", "reject", "place_call", "hang_up"),
    "hold and resume": _steps("hold", "resume"),
    "join a caller with the agent of a placed call": _steps("join"),
}


# --- scenarios and the life cycle -------------------------------------------------------------------


def scenarios() -> str:
    """The targets that choose what the fake provider and the emulators do."""
    rows = (
        (f"`{line.name}`", f"`{line.number.number}`", f"`{line.object_id}`", line.description)
        for line in SCENARIOS
    )
    return _page(
        "# Scenarios",
        "The target of a transfer chooses what the fake provider and the emulators do. It is a phone "
        "number, or the object id of a Teams user or app. Any other target answers. In Python, use "
        '`transferkit.testing.scenario("busy").number`.',
        _table(("name", "phone number", "object id", "what happens"), rows),
    )


def control_api() -> str:
    """The operations with which tests control an emulator, in any language."""
    rows = (
        (
            f"`{operation.method} /_emulator/{operation.path}`",
            operation.summary,
            ", ".join(f"`{name}`" + " (required)" * (name in operation.required) for name in operation.body),
            str(operation.status.value),
        )
        for operation in OPERATIONS
    )
    return _page(
        "# Control API of the emulators",
        "Every emulator has this HTTP API at its own address, for programs on the same machine. Bodies are "
        'JSON, with `Content-Type: application/json`. An error has the body `{"error": "…"}`. The emulator '
        "serves the OpenAPI document, with every schema, at `/_emulator/openapi.json`.",
        _table(("request", "what it does", "properties of the body", "status"), rows),
    )


def life_cycle() -> str:
    """The transitions of the life cycle, found by running the life cycle machine."""
    tables = [
        part
        for kind in (RequestKind.TRANSFER, RequestKind.REDIRECT)
        for part in (f"## {kind.capitalize()}", _life_cycle.table(_life_cycle.explore(kind)))
    ]
    return _page(
        "# The life cycle",
        "```text\nrequested ──► submitted ──► started ──► accepted\n"
        "    │             │            │           │\n"
        "    └─────────────┴────────────┴───────────┴──► completed | failed | expired\n```",
        "```text\nrequested ──► ringing ──► answered ──► completing ──► completed | failed | expired\n"
        "    │             │           │             │\n"
        "    └─────────────┴───────────┴─────────────┴──► ending ──► cancelled | failed | expired\n```",
        "The second diagram is that of a consultation. While it is `ending`, the agent's call is ended and "
        "the caller is resumed.",
        "The tables come from the code: the build of this page runs the life cycle machine with every "
        "possible input until it finds no new state. The word in brackets is the `basis` of the outcome.",
        "A callback that arrives before the HTTP response proves that the provider accepted the request. "
        "The event `submitted` is then published first, and the table shows the state after it.",
        *tables,
        "## Consultation",
        _life_cycle.table(_consultation_cycle.explore_consultation()),
    )


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "capabilities.md": capabilities,
    "cli.md": command_line,
    "configuration.md": configuration,
    "control_api.md": control_api,
    "failure_reasons.md": failure_reasons,
    "life_cycle.md": life_cycle,
    "provider_table.txt": provider_table,
    "scenarios.md": scenarios,
}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
