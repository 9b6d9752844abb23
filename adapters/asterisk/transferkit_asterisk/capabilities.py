"""What Asterisk supports with the adapter's settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from transferkit.errors import Problem
from transferkit.identifiers import Identifier, PhoneNumber, SipAddress
from transferkit.provider.capabilities import Capabilities, Support
from transferkit.provider.json import FrozenMap
from transferkit.provider.limits import Anything, Identifiers, Limit, Seconds, Text
from transferkit.requests import Request, RequestKind
from transferkit_asterisk.settings import AsteriskSettings

__all__ = ["capabilities_of", "further_problems"]

_CHANNEL: Final = Text(
    pattern=r"[A-Za-z0-9._-]{1,149}", form="the id of a channel: letters, digits, dots, hyphens, underscores"
)
_LONGEST_RING: Final = 600
_GUARDED_FOR: Final = timedelta(hours=6)
"""The guard variable lives as long as the channel, which is longer than any deadline."""


def capabilities_of(settings: AsteriskSettings) -> Capabilities:
    """The capabilities with these settings."""
    kinds: tuple[type[Identifier], ...] = (SipAddress,)
    if settings.number_uri is not None:
        kinds = (PhoneNumber, SipAddress)
    target = Identifiers(kinds=kinds)
    return Capabilities(
        transfer=FrozenMap({"call": _CHANNEL, "to": target, "replaces": _CHANNEL}),
        redirect=FrozenMap({"call": _CHANNEL, "to": target}),
        repeatable_for=_GUARDED_FOR,
        steps=_steps(settings, target),
    )


def _steps(settings: AsteriskSettings, target: Identifiers) -> dict[RequestKind, Support]:
    """The call steps.

    A call is placed under the id of the step, but an id is free again when its call has ended. A request that
    may have been executed is therefore not repeated, and the channel with that id is queried.
    """
    call: dict[str, Limit] = {"call": _CHANNEL}
    fields: dict[RequestKind, dict[str, Limit]] = {
        RequestKind.ANSWER: call,
        RequestKind.REJECT: {**call, "reason": Anything()},
        RequestKind.HOLD: call,
        RequestKind.RESUME: call,
        RequestKind.JOIN: {**call, "other": _CHANNEL, "to": target},
        RequestKind.HANG_UP: {**call, "leave": Anything()},
    }
    if settings.endpoint is not None:
        fields[RequestKind.PLACE_CALL] = {
            "to": target,
            "caller_id": Anything(),
            "ring_timeout": Seconds(1, _LONGEST_RING),
        }
    return {
        kind: Support(
            fields=FrozenMap(limits),
            repeatable_for=None if kind is RequestKind.PLACE_CALL else _GUARDED_FOR,
            completes_on_acceptance=kind in {RequestKind.HOLD, RequestKind.RESUME},
        )
        for kind, limits in fields.items()
    }


def further_problems(request: Request, settings: AsteriskSettings) -> Iterator[Problem]:
    """Yield why a phone number cannot be called, and what to configure."""
    has_number = any(isinstance(target, PhoneNumber) for target in request.targets)
    if has_number and settings.number_uri is None:
        needed = 'providers.asterisk.number_uri, such as "sip:{number}@carrier.example"'
        yield Problem("to", "a phone number has no SIP address without a template", needed)
