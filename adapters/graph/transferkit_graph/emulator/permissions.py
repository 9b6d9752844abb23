"""Which of Graph's application permissions a request about calls needs.

learn.microsoft.com application-post-calls, call-answer, call-transfer, call-redirect, permissions-reference;
the 2018 documentation of call: transfer. Reading, rejecting, keeping alive and hanging up need none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from transferkit.identifiers import Identifier, PhoneNumber

__all__ = ["Permission", "lacking", "to_answer", "to_create", "to_send_on"]


class Permission(StrEnum):
    """An application permission of Graph's, granted by a tenant's administrator."""

    INITIATE = "Calls.Initiate.All"
    INITIATE_GROUP = "Calls.InitiateGroupCall.All"
    JOIN_GROUP = "Calls.JoinGroupCall.All"
    JOIN_GROUP_AS_GUEST = "Calls.JoinGroupCallAsGuest.All"
    ACCESS_MEDIA = "Calls.AccessMedia.All"
    AUDIO_VIDEO = "Calls.AudioVideo"
    """2018: transfers to somebody who is not on the telephone network."""
    PSTN = "Calls.PSTN"
    """2018: transfers to a phone number."""


Needs = tuple[frozenset[Permission], ...]
"""One of each of these sets."""

_JOIN = frozenset({Permission.JOIN_GROUP, Permission.JOIN_GROUP_AS_GUEST})


def lacking(needs: Needs, granted: Collection[str]) -> bool:
    """Whether something is missing."""
    return any(not any(one in granted for one in choice) for choice in needs)


def to_send_on(targets: Iterable[Identifier], *, is_2018: bool) -> Needs:
    """For a transfer or a redirect. The path of 2018 takes the permissions of its time, too."""
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
    """For a call to one or to several people, and for joining a meeting."""
    first = frozenset({Permission.INITIATE_GROUP if group else Permission.INITIATE})
    return (_JOIN if meeting else first, *_media(app_hosted=app_hosted))


def to_answer(*, group: bool, app_hosted: bool) -> Needs:
    """For answering: nothing for a call from one person whose media the service hosts."""
    return (*((_JOIN,) if group else ()), *_media(app_hosted=app_hosted))


def _media(*, app_hosted: bool) -> Needs:
    return (frozenset({Permission.ACCESS_MEDIA}),) if app_hosted else ()
