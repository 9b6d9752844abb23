"""The forms of ids of Microsoft's calling service, and the ids of a request that do not have them.

Call ids of Graph and call connection ids of ACS are GUIDs in every published sample and recording; Graph's
older notifications write them without dashes. Teams users and apps are GUIDs of Entra.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from transferkit.errors import Problem
from transferkit.identifiers import Identifier, TeamsApp, TeamsExtensionUser, TeamsUser
from transferkit.requests import Redirect, Request

__all__ = ["GUID", "GUID_FORM", "identifiers_of", "wrong_ids"]

GUID: Final = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
GUID_FORM: Final = "a GUID such as 411f0b00-0000-4000-8000-123456789abc"


def identifiers_of(request: Request) -> Iterator[tuple[str, Identifier | None]]:
    """The identifiers in a request, each with the name of its field."""
    if isinstance(request, Redirect):
        yield from ((f"to[{index}]", identifier) for index, identifier in enumerate(request.to))
    else:
        for name in ("to", "transferee", "participant", "caller_id"):
            yield name, getattr(request, name, None)


def wrong_ids(where: str, identifier: Identifier | None) -> Iterator[Problem]:
    """A problem for each part of a Teams identifier that is not a GUID. `where` names the field."""
    for what, id_ in _guids(identifier):
        if not re.fullmatch(GUID, id_):
            yield Problem(where, f"the {what} is not a GUID", f"{GUID_FORM}, not a name or an address")


def _guids(identifier: Identifier | None) -> tuple[tuple[str, str], ...]:
    match identifier:
        case TeamsUser(id=user, anonymous=False):
            return (("Teams user's object id", user),)
        case TeamsApp(id=app):
            return (("Teams app's id", app),)
        case TeamsExtensionUser(user_id=user, tenant_id=tenant, resource_id=resource):
            return (
                ("Teams user's object id", user),
                ("tenant id", tenant),
                ("resource id", resource),
            )
        case _:
            return ()
