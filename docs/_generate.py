"""Writes the pages that are made from the code itself, each time the site is built: nothing to keep true.

Each function gives one page's text. `python docs/_generate.py FOLDER` writes them; so does `conf.py`.
"""

# ruff: noqa: INP001 - a folder of pages, no package
from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import attrs
from transferkit_acs import reasons as acs
from transferkit_acs.settings import ApiVersion
from transferkit_graph import reasons as graph
from transferkit_microsoft import codes as microsoft

import transferkit
import transferkit.provider.capabilities
import transferkit.provider.deadline
import transferkit.provider.http
import transferkit.provider.json
import transferkit.provider.secret
import transferkit.testing
from transferkit import Event, FailureReason, Secret
from transferkit.config import CallbackConfig, Config, GroupConfig, LifecycleConfig, RetentionConfig
from transferkit.events import event_class
from transferkit.provider.capabilities import Anything, Capabilities, Kinds, Limit
from transferkit.provider.facts import RequestKind
from transferkit.provider.registry import adapter_class
from transferkit.testing.scenarios import SCENARIOS

sys.path.insert(0, str(Path(__file__).parent))
import _life_cycle

__all__ = ["PAGES", "provider_table", "write"]


def write(folder: Path) -> None:
    """Write every page into `folder`; one that would not change is left alone, so that builds stay quick."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        text, path = page() + "\n", folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("\n", " ") for cell in line) + " |" for line in lines)


def _doc(thing: object) -> str:
    return inspect.getdoc(thing) or ""


def _title(cls: object) -> tuple[str, str]:
    """The first paragraph of a docstring, and the others."""
    first, _, rest = _doc(cls).partition("\n\n")
    return first.replace("\n", " "), rest


# --- configuration keys -----------------------------------------------------------------------------

_TABLES: Final[Mapping[str, type[Any]]] = {
    "callbacks": CallbackConfig,
    "lifecycle": LifecycleConfig,
    "groups": GroupConfig,
    "retention": RetentionConfig,
}
_PROVIDERS: Final = ("acs", "graph", "fake")
_WORDS: Final = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    timedelta: "seconds",
    Path: "a path",
    Secret: 'text, `{ env = "NAME" }` or `{ file = "path" }`',
}


def configuration() -> str:
    """Every key of the configuration, from the classes that read it."""
    tables = {**_TABLES, **{f"providers.{name}": adapter_class(name).settings_class for name in _PROVIDERS}}
    parts = [
        "# Configuration keys",
        (
            "A TOML file, a dict, or variables: `TRANSFERKIT_` and the key in capitals, tables joined by "
            "two underscores "
            "(`TRANSFERKIT_PROVIDERS__ACS__RESOURCE_ID`). Variables win over the file that "
            "`TRANSFERKIT_CONFIG` names. "
            "A file that `--config` or `from_config(PATH)` names, or a dict, is the whole configuration: no "
            "variable is read beside it. "
            "Unknown keys and empty texts are refused. Spans are in seconds."
        ),
        "## At the top",
        _table(("key", "accepts", "default"), _top()),
    ]
    for name, cls in tables.items():
        parts += [f"## `[{name}]`", _doc(cls), _table(("key", "accepts", "default"), _keys(cls))]
    return "\n\n".join(part for part in parts if part)


def _top() -> Iterator[tuple[str, ...]]:
    from transferkit.stores.address import ADDRESSES

    yield "`provider`", "the name of a `[providers.NAME]` table", "the only one there is"
    yield "`store`", ADDRESSES, f"`{attrs.fields(Config).store.default}`"


def _keys(cls: type[Any]) -> Iterator[tuple[str, ...]]:
    hints = get_type_hints(cls, include_extras=True)
    for key in attrs.fields(cls):
        yield f"`{key.name}`", _accepts(hints[key.name]), _default(key.default)


def _accepts(hint: Any) -> str:
    if get_origin(hint) in {Union, UnionType}:
        hint = next(option for option in get_args(hint) if option is not NoneType)
    kind, *limits = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if limits:  # the words that a problem says, too
        return str(limits[0].accepts)
    if get_origin(hint) is tuple:
        return "a list of text"
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return ", ".join(f"`{member}`" for member in kind)
    return _WORDS[kind]


def _default(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.12g}"
    if value is None or value == () or value is attrs.NOTHING:
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return str(value).lower() if isinstance(value, bool) else f"`{value}`"


# --- the command line -------------------------------------------------------------------------------


def commands() -> str:
    """Every command's own help."""
    import typer.main

    from transferkit.cli.app import app

    command: Any = typer.main.get_command(app)
    parts = [
        "# The command line",
        (
            "`pip install 'transferkit[cli]'`; `transferkit --install-completion` sets up completion for "
            "your shell. "
            "Exit code 0 is success, 1 that the outcome or a check failed, 2 that usage or configuration "
            "is wrong, 130 that Ctrl-C ended it."
        ),
        *_helps("transferkit", command),
    ]
    return "\n\n".join(parts)


def _helps(name: str, command: Any) -> Iterator[str]:
    from typer.testing import CliRunner

    from transferkit.cli.app import app

    wide = {"COLUMNS": "100", "TERMINAL_WIDTH": "100", "NO_COLOR": "1", "TERM": "dumb"}
    shown = CliRunner().invoke(app, [*name.split()[1:], "--help"], env=wide, prog_name="transferkit")
    if shown.exit_code != 0:
        raise RuntimeError(f"{name} --help exits with {shown.exit_code}")
    yield f"## `{name}`"
    yield "```text\n" + "\n".join(line.rstrip() for line in shown.output.strip().splitlines()) + "\n```"
    if hasattr(command, "list_commands"):
        context = command.make_context(name, [], resilient_parsing=True)
        for word in command.list_commands(context):
            yield from _helps(f"{name} {word}", command.get_command(context, word))


# --- events -----------------------------------------------------------------------------------------

_KINDS: Final = tuple(
    f"{family}.{word}"
    for family, words in {
        "call": "incoming connected ended participants",
        "transfer": "requested submitted started accepted completed failed expired",
        "redirect": "requested submitted completed failed expired",
        "provider": "other",
    }.items()
    for word in words.split()
)


def events() -> str:
    """Every kind of event, what it proves, and its fields."""
    common = {one.name for one in attrs.fields(Event)}
    parts = [
        "# Events, and what each proves",
        (
            "The kinds are a closed set. A transfer has `requested`, then at most one each of "
            "`submitted`, `started` and "
            "`accepted` in this order, then exactly one of `completed`, `failed` and `expired`, and "
            "nothing after it."
        ),
        "Every event has " + ", ".join(f"`{name}`" for name in sorted(common)) + ". " + _title(Event)[1],
    ]
    for kind in _KINDS:
        cls = event_class(kind)
        own = [one.name for one in attrs.fields(cls) if one.name not in common]
        parts += [f"## `{kind}`", f"`transferkit.{cls.__name__}`", _doc(cls)]
        inherited = [_doc(base) for base in cls.__mro__[1:] if base.__name__ in {"_Requested", "_Failed"}]
        parts += [*inherited, "Fields: " + ", ".join(f"`{name}`" for name in own) + "." if own else ""]
    parts += ["## Words in them"]
    for words in (transferkit.Basis, transferkit.Evidence, transferkit.LateVerdict):
        parts += [f"### `{words.__name__}`", _doc(words), "\n".join(f"* `{word}`" for word in words)]
    return "\n\n".join(part for part in parts if part)


# --- failure reasons --------------------------------------------------------------------------------

_REASONS: Final = {
    FailureReason.BUSY: "The target is in another call.",
    FailureReason.DECLINED: "The target said no.",
    FailureReason.NO_ANSWER: "The target rang, and nobody picked up.",
    FailureReason.UNREACHABLE: "The target exists, but none of its endpoints could be reached or connected.",
    FailureReason.TARGET_NOT_FOUND: "There is no such target.",
    FailureReason.TARGET_NOT_ALLOWED: "The target may not be called from here.",
    FailureReason.TENANT_MISMATCH: "The token is of another tenant than the call.",
    FailureReason.CALLER_LEFT: "The caller hung up first.",
    FailureReason.CALL_NOT_FOUND: "The provider knows no such call, or not for these credentials.",
    FailureReason.CALL_NOT_ESTABLISHED: "The call is in no state in which this can be asked for.",
    FailureReason.CALL_ENDED: "The call ended, and nothing proved a transfer.",
    FailureReason.CONFLICT: "Another operation on this call is under way.",
    FailureReason.UNSUPPORTED: "The provider does not do this, or not in this form.",
    FailureReason.UNAUTHORIZED: "The credentials were not accepted.",
    FailureReason.FORBIDDEN: "The credentials are good, but do not allow this.",
    FailureReason.THROTTLED: "The provider wants to be asked less often.",
    FailureReason.TIMEOUT: "Something at the provider took too long.",
    FailureReason.PROVIDER_ERROR: "The provider failed, or a connection to it was lost.",
    FailureReason.UNKNOWN: "The provider does not say why, or with a code that it does not publish.",
}


def failure_reasons() -> str:
    """Every reason, and the published codes that lead there."""
    found: dict[FailureReason, list[tuple[str, ...]]] = {reason: [] for reason in FailureReason}
    for where, code, meaning in _codes():
        found[meaning.reason].append((where, code, meaning.advice or ""))
    parts = [
        "# Failure reasons",
        (
            "`TransferFailed.reason` and `RedirectFailed.reason` are the same words whoever carries the "
            "call; `code`, `subcode` "
            "and `message` are the provider's own, `advice` says what to do where that is known. `*` "
            "stands for any."
        ),
    ]
    parts.append(
        "*Microsoft, any* is the calling service's code in a callback or an HTTP error of Graph or ACS. "
        "*Phone leg* is the last three digits of a subcode 540xxx (inbound) or 560xxx (outbound), or the "
        "carrier's own status. *Code alone* is a callback's code with no subcode. A code that Microsoft "
        "publishes no meaning for has the reason `unknown`, and its `advice` says so."
    )
    for reason in FailureReason:
        parts += [f"## `{reason}`", _REASONS[reason]]
        parts += [_table(("from", "code / subcode", "advice"), iter(found[reason]))] if found[reason] else []
    return "\n\n".join(parts)


def _codes() -> Iterator[tuple[str, str, microsoft.Meaning]]:
    for name, own in (("Graph", graph), ("ACS", acs)):
        for code, meaning in own.HTTP_CODES.items():
            yield f"{name}, HTTP error", _pair(None, code), meaning
        for status, meaning in own.HTTP_STATUSES.items():
            yield f"{name}, HTTP error", _pair(status, None), meaning
    for pair, meaning in microsoft.PAIRS.items():
        yield "Microsoft, any", _pair(*pair), meaning
    for subcode, meaning in microsoft.SUBCODES.items():
        if subcode != microsoft.TRANSFER_COMPLETED:  # a success
            yield "Microsoft, any", _pair(None, subcode), meaning
    for status, meaning in microsoft.SIP_STATUSES.items():
        yield "Phone leg", _pair(status, None), meaning
    for code, meaning in microsoft.CODES.items():
        yield "Code alone", f"{code} / -", meaning


def _pair(code: int | None, subcode: int | None) -> str:
    return f"{'*' if code is None else code} / {'*' if subcode is None else subcode}"


# --- capabilities -----------------------------------------------------------------------------------

_FORMS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "graph": {
        "global": {},
        "global, beta": {"api": "beta"},
        "global, body 2018": {"body": "2018"},
        "US government": {"cloud": "us-gov-l4"},
        "China": {"cloud": "china"},
    },
    "acs": {version.value: {"api_version": version} for version in ApiVersion},
}
_NAMES: Final = {"graph": "Microsoft Graph", "acs": "Azure Communication Services"}


def _capabilities(name: str, settings: Mapping[str, Any]) -> Capabilities:
    cls = adapter_class(name)
    return cls(cls.settings_class(**settings)).capabilities


def capabilities() -> str:
    """What each provider carries, as configured."""
    parts = [
        "# Capabilities",
        (
            "What a provider can carry, by how it is configured. A request with anything else is refused "
            "before it is sent, "
            'all problems at once; `on_unsupported="drop"` leaves optional fields out instead, and '
            "`requested.dropped` lists "
            "them."
        ),
        provider_table(),
    ]
    for name, forms in _FORMS.items():
        parts.append(f"## {_NAMES[name]}")
        known = {form: _capabilities(name, settings) for form, settings in forms.items()}
        for operation in ("transfer", "redirect"):
            limits = {form: getattr(found, operation) for form, found in known.items()}
            parts += [f"### {operation.capitalize()}", _matrix(limits), *_details(limits)]
    return "\n\n".join(parts)


def _matrix(limits: Mapping[str, Mapping[str, Limit] | None]) -> str:
    fields = sorted({field for offered in limits.values() for field in offered or ()})
    rows = ((f"`{name}`", *(_mark(offered, name) for offered in limits.values())) for name in fields)
    return _table(("", *limits), rows)


def _mark(offered: Mapping[str, Limit] | None, name: str) -> str:
    return "yes" if name in (offered or {}) else "no"


def _details(limits: Mapping[str, Mapping[str, Limit] | None]) -> Iterator[str]:
    """What is accepted in each field, said once where all forms agree."""
    accepted: dict[str, dict[str, list[str]]] = {}
    for form, offered in limits.items():
        for name, limit in (offered or {}).items():
            if not isinstance(limit, Anything):
                accepted.setdefault(name, {}).setdefault(limit.accepts, []).append(form)
    lines = []
    for name, words in sorted(accepted.items()):
        for accepts, forms in words.items():
            where = f" ({', '.join(forms)})" if len(words) > 1 else ""
            lines.append(f"* `{name}`{where}: {_safe(accepts)}")
    yield "\n".join(lines)


def _safe(text: str) -> str:
    return text.replace("*", r"\*").replace("<", "&lt;")


def provider_table() -> str:
    """The table of README.md: what works on which provider, as each is configured unless told otherwise."""
    both = [_capabilities(name, {}) for name in _NAMES]
    rows = ((what, *(say(found) for found in both)) for what, say in _SUMMARY.items())
    return _table(("", *_NAMES.values()), rows)


def _kinds(found: Capabilities) -> str:
    limit = (found.transfer or {})["to"]
    if not isinstance(limit, Kinds):
        raise TypeError(f"a target is limited by kinds, not by a {type(limit).__name__}")
    return ", ".join(kind.kind_name for kind in limit.kinds)


def _transfers(*names: str) -> Callable[[Capabilities], str]:
    return lambda found: "yes" if set(names) <= set(found.transfer or {}) else "no"


def _redirects(found: Capabilities) -> str:
    limit = (found.redirect or {}).get("to")
    most = limit.most if isinstance(limit, Kinds) else 0
    return f"up to {most} targets" if most > 1 else f"{most or 'no'} target"


def _ring_timeout(found: Capabilities) -> str:
    limit = (found.redirect or {}).get("ring_timeout")
    return "no" if limit is None else limit.accepts


def _repeats(found: Capabilities) -> str:
    span = found.repeatable_for
    return "never sent again" if span is None else f"sent again for {span.total_seconds():g} s, executed once"


_SUMMARY: Final[Mapping[str, Callable[[Capabilities], str]]] = {
    "transfer to": _kinds,
    "consultative transfer (`replaces`)": _transfers("replaces"),
    "out of a group call (`transferee`)": _transfers("transferee"),
    "caller id": _transfers("caller_id"),
    "SIP and VoIP headers": _transfers("context.sip", "context.voip"),
    "call details for Teams": _transfers("context.teams"),
    "language, region, endpoint of the target": _transfers("language_id", "region", "endpoint"),
    "callbacks to an address of the transfer's own": _transfers("callback_uri"),
    "redirect of an incoming call": _redirects,
    "ring timeout of a redirect": _ring_timeout,
    "after a time-out": _repeats,
    "a redirect's outcome": lambda found: (
        "inferred" if found.redirect_is_handed_over else "stated, or expired"
    ),
}


# --- scenarios, the life cycle, the API ---------------------------------------------------------------


def scenarios() -> str:
    """The magic targets."""
    rows = (
        (f"`{line.name}`", f"`{line.number.number}`", f"`{line.object_id}`", line.description)
        for line in SCENARIOS
    )
    return "\n\n".join(
        [
            "# Scenarios",
            (
                "What the fake provider and both emulators do is chosen by the target: a phone number, "
                "or an object id of a Teams "
                "user or app. Any other target picks up. In Python: "
                '`transferkit.testing.scenario("busy").number`.'
            ),
            _table(("name", "phone number", "object id", "what happens"), rows),
        ]
    )


def life_cycle() -> str:
    """The state diagrams."""
    parts = [
        "# The life cycle",
        (
            "Drawn from the machine itself: its one function, `step`, is asked what follows from "
            "everything that can happen, "
            "until nothing new is found. An arrow that is not here was never found. Dashed arrows are "
            "conclusions of transferkit "
            "(`basis` inferred); the others are the provider's statements, or may be. "
            "`local` is a failure on this side."
        ),
        (
            "A callback that comes before the provider's answer proves that the request was taken: then "
            "`submitted` is "
            "emitted first, and the arrow leads past it."
        ),
    ]
    for kind in RequestKind:
        found = _life_cycle.explore(kind)
        picture = _life_cycle.svg(found, title=f"The life cycle of a {kind}")
        parts += [f"## A {kind}", f"```{{raw}} html\n{picture}\n```", _life_cycle.table(found)]
    return "\n\n".join(parts)


_GROUPS: Final = {
    "Clients": ("client", "blocking", "callbacks", "stream"),
    "Requests": ("requests", "identifiers"),
    "Events": ("events",),
    "Errors": ("errors",),
    "Configuration": ("config", "secret"),
    "Stores and groups": ("stores",),
    "For adapters": ("adapter", "signals"),
}

_FOR_ADAPTERS: Final = {
    "transferkit.provider.capabilities": transferkit.provider.capabilities.__all__,
    "transferkit.provider.results": (
        "SubmitResult",
        "Submitted",
        "Rejected",
        "NotSent",
        "MaybeSent",
        "Presence",
    ),
    "transferkit.provider.deadline": transferkit.provider.deadline.__all__,
    "transferkit.provider.http": transferkit.provider.http.__all__,
    "transferkit.provider.json": transferkit.provider.json.__all__,
    "transferkit.provider.secret": [name for name in transferkit.provider.secret.__all__ if name != "Secret"],
}


def api() -> str:
    """Every public name, for autodoc, in the order of a reader's interest."""
    homes = dict(sorted(_homes().items()))
    everywhere = tuple(home for group in _GROUPS.values() for home in group)
    if left := sorted(name for name, home in homes.items() if not home.startswith(everywhere)):
        raise RuntimeError(f"docs/_generate.py: no group of the API page has {', '.join(left)}")
    parts = [*_heading("API", "="), "Everything here is importable from ``transferkit``."]
    for title, group in _GROUPS.items():
        parts += _heading(title, "-")
        parts += [_entry("transferkit", name) for name, home in homes.items() if home.startswith(group)]
    for module, names in _FOR_ADAPTERS.items():
        parts += _heading(f"For adapters: {module}", "-")
        parts += [f"Importable from ``{module}``.", *(_entry(module, name) for name in names)]
    parts += _heading("For tests", "-")
    parts += ["Importable from ``transferkit.testing``."]
    parts += [_entry("transferkit.testing", name) for name in transferkit.testing.__all__]
    return "\n\n".join(parts)


def _homes() -> Mapping[str, str]:
    stub = ast.parse(Path(transferkit.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def _heading(title: str, line: str) -> list[str]:
    return [f"{title}\n{line * len(title)}"]


def _entry(module: str, name: str) -> str:
    thing = getattr(sys.modules[module], name)
    if not isinstance(thing, type):
        return f".. auto{'function' if inspect.isfunction(thing) else 'data'}:: {module}.{name}"
    if issubclass(thing, BaseException):
        return f".. autoexception:: {module}.{name}\n   :show-inheritance:"
    values = "\n   :undoc-members:" if issubclass(thing, StrEnum) else ""
    return f".. autoclass:: {module}.{name}\n   :members:{values}"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "api.rst": api,
    "capabilities.md": capabilities,
    "cli.md": commands,
    "configuration.md": configuration,
    "events.md": events,
    "failure_reasons.md": failure_reasons,
    "life_cycle.md": life_cycle,
    "scenarios.md": scenarios,
}


if __name__ == "__main__":
    write(Path(sys.argv[1]))
