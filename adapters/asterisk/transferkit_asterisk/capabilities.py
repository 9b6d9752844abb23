"""What Asterisk supports with the adapter's settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from transferkit.errors import Problem
from transferkit.identifiers import Identifier, PhoneNumber, SipAddress
from transferkit.provider.capabilities import Capabilities
from transferkit.provider.json import FrozenMap
from transferkit.provider.limits import Identifiers, Text
from transferkit.requests import Request
from transferkit_asterisk.settings import AsteriskSettings

__all__ = ["capabilities_of", "further_problems"]

_CHANNEL: Final = Text(
    pattern=r"[A-Za-z0-9._-]{1,149}", form="the id of a channel: letters, digits, dots, hyphens, underscores"
)
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
    )


def further_problems(request: Request, settings: AsteriskSettings) -> Iterator[Problem]:
    """Yield why a phone number cannot be called, and what to configure."""
    has_number = any(isinstance(target, PhoneNumber) for target in request.targets)
    if has_number and settings.number_uri is None:
        needed = 'providers.asterisk.number_uri, such as "sip:{number}@carrier.example"'
        yield Problem("to", "a phone number has no SIP address without a template", needed)
