"""Identifiers as SIP addresses in Asterisk's arguments, and what a channel says about people."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from transferkit.identifiers import Identifier, PhoneNumber, SipAddress, parse_identifier
from transferkit_asterisk.settings import AsteriskSettings

__all__ = ["party", "sip_uri"]

_KEPT: Final = "-_.+~*=;:@/%[]"
"""What stays as it is in a SIP address. Asterisk gives a comma, an ampersand, a question mark and brackets a
meaning of their own in the arguments of its applications, so they are written as escapes, which mean the
same."""


def sip_uri(target: Identifier, settings: AsteriskSettings) -> str:
    """The SIP address of a target. Raises `TypeError` for another kind."""
    match target:
        case PhoneNumber(number=number) if settings.number_uri is not None:
            uri = settings.number_uri.replace("{number}", number)
            uri = uri.replace("{digits}", number.removeprefix("+"))
        case SipAddress(uri=uri):
            pass
        case _:
            raise TypeError(f"Asterisk has no address for a {target.kind_name}")
    return quote(uri, safe=_KEPT)


def party(number: object) -> Identifier | None:
    """Who has this number, as a channel states it; None if the channel does not say."""
    if not isinstance(number, str) or not number:
        return None
    if re.fullmatch(r"\+?\d+", number, re.ASCII):
        return PhoneNumber(number)
    return parse_identifier(number)
