"""The grammar of SIP and SIPS URIs: RFC 3261, section 25.1, without a password and without header fields."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SIP_URI"]

_ESCAPED: Final = r"%[0-9A-Fa-f]{2}"
_USER: Final = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|{_ESCAPED})+"
_PARAMETER: Final = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|{_ESCAPED})+"
_HOSTNAME: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)*[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?"
_IPV4: Final = r"\d{1,3}(?:\.\d{1,3}){3}"
_IPV6: Final = r"\[[0-9A-Fa-f:.]+\]"

SIP_URI: Final = re.compile(
    rf"(?P<scheme>sips?):(?:(?P<user>{_USER})@)?(?P<host>{_HOSTNAME}|{_IPV4}|{_IPV6})(?::(?P<port>\d{{1,5}}))?"
    rf"(?P<parameters>(?:;{_PARAMETER}(?:={_PARAMETER})?)*)",
    re.ASCII | re.IGNORECASE,
)
"""Matches a URI that names a person, a line or a service.

A password and header fields are left out on purpose: RFC 3261, section 19.1.1, advises against the first, and
the second are instructions (such as `Replaces`), not a part of who someone is.
"""
