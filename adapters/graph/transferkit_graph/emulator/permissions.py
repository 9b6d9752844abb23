"""The application permissions that each request about calls needs.

learn.microsoft.com application-post-calls, call-answer, call-transfer, call-redirect, permissions-reference;
the 2018 documentation of call: transfer. Getting, rejecting, keeping alive and deleting a call need none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from transferkit.identifiers import Identifier, PhoneNumber

__all__ = ["Needs", "Permission", "are_granted", "to_answer", "to_create", "to_forward"]


class Permission(StrEnum):
    """An application permission, which a tenant's administrator grants."""

    INITIATE = "Calls.Initiate.All"
    INITIATE_GROUP = "Calls.InitiateGroupCall.All"
    JOIN_GROUP = "Calls.JoinGroupCall.All"
    JOIN_GROUP_AS_GUEST = "Calls.JoinGroupCallAsGuest.All"
    ACCESS_MEDIA = "Calls.AccessMedia.All"
    AUDIO_VIDEO = "Calls.AudioVideo"
    """2018: transfers to targets other than phone numbers."""
    PSTN = "Calls.PSTN"
    """2018: transfers to phone numbers."""


Needs = tuple[frozenset[Permission], ...]
"""One permission of each set."""

_JOIN = frozenset({Permission.JOIN_GROUP, Permission.JOIN_GROUP_AS_GUEST})


def are_granted(needs: Needs, granted: Collection[str]) -> bool:
    """Whether the granted permissions are sufficient."""
    return all(any(permission in granted for permission in choice) for choice in needs)


def to_forward(targets: Iterable[Identifier], *, is_2018: bool) -> Needs:
    """For a transfer or a redirect. The path of 2018 also accepts the permissions of 2018."""
    if not is_2018:
        return (frozenset({Permission.INITIATE}),)
    return tuple(
        frozenset(
            {
                Permission.INITIATE,
                Permission.PSTN if isinstance(target, PhoneNumber) else Permission.AUDIO_VIDEO,
            }
        )
        for target in targets
    )


def to_create(*, group: bool, meeting: bool, app_hosted: bool) -> Needs:
    """For a call to one person, a call to several people, or joining a meeting."""
    first = frozenset({Permission.INITIATE_GROUP if group else Permission.INITIATE})
    return (_JOIN if meeting else first, *_media(app_hosted=app_hosted))


def to_answer(*, group: bool, app_hosted: bool) -> Needs:
    """For answering a call; a call from one person with service-hosted media needs none."""
    return (*((_JOIN,) if group else ()), *_media(app_hosted=app_hosted))


def _media(*, app_hosted: bool) -> Needs:
    return (frozenset({Permission.ACCESS_MEDIA}),) if app_hosted else ()
