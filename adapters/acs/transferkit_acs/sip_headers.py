"""SIP headers of Call Automation: their limits, and the name of the user-to-user information (UUI).

Limits: learn.microsoft.com, "custom context". An incoming call has the UUI as `userToUser`, a request as
`User-To-User`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from transferkit_microsoft.lenient_json import normal_word

from transferkit.provider.json import FrozenMap
from transferkit.provider.limits import Headers

__all__ = ["SIP_HEADERS", "USER_TO_USER", "with_uui"]

USER_TO_USER: Final = "User-To-User"
_UUI_SPELLINGS: Final = frozenset({"usertouser", "uui"})

SIP_HEADERS: Final = Headers(
    max_count=5,
    max_name=64,
    max_value=256,
    name_pattern=r"(?i:x-ms-custom-|x-(?!ms-))[A-Za-z0-9.!%*_+~-]+",
    name_form="names that begin with X-MS-Custom- or X- (other names in X-MS- are reserved)",
    value_pattern=r"[A-Za-z0-9=;.!%*_+~-]*",
    value_form="letters, digits and = ; . ! % * _ + ~ -",
    exempt=(USER_TO_USER,),
)


def with_uui(headers: Mapping[str, str]) -> FrozenMap[str]:
    """The headers, with the UUI under the name that requests use, whatever its spelling was.

    Headers that contain the UUI twice are unchanged, because either can be meant.
    """
    spelled = [name for name in headers if normal_word(name) in _UUI_SPELLINGS]
    if len(spelled) != 1:
        return FrozenMap(headers)
    return FrozenMap({USER_TO_USER if name in spelled else name: text for name, text in headers.items()})
