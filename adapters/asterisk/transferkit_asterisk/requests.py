"""The ARI requests of a submission. Pure.

All but the last one prepare: they change nothing that anyone notices, however often they are sent. The last
one executes the transfer or redirect.

Paths and parameters: ARI's resource descriptions (`/ari/api-docs`), Asterisk 22. Parameters are in a JSON
body, so that no access log contains them.
"""

from __future__ import annotations

from typing import Any, Final, final
from urllib.parse import quote

from attrs import Factory, frozen

from transferkit.requests import Redirect, Request, Transfer
from transferkit_asterisk.identities import sip_uri
from transferkit_asterisk.names import (
    bridge_id,
    consult_variable,
    dial_extension,
    key_of,
    refer_extension,
    target_variable,
)
from transferkit_asterisk.settings import AsteriskSettings, Mode

__all__ = [
    "AriRequest",
    "Dialog",
    "channel_path",
    "execution",
    "get_variable",
    "preparations",
]

_MARGIN_SECONDS: Final = 5
"""A target stops to ring so long before the deadline, so that the result arrives in time."""


@final
@frozen
class AriRequest:
    """One request to ARI. `path` is below the base URL."""

    method: str
    path: str
    body: dict[str, Any] = Factory(dict)


@final
@frozen
class Dialog:
    """The SIP dialog of a consultation leg, from Asterisk's point of view."""

    call_id: str
    local_tag: str
    remote_tag: str

    @property
    def replaces(self) -> str:
        """The value of a Replaces header (RFC 3891) for the one who takes the leg's place.

        Its tags are those that the target knows: to-tag is the target's own.
        """
        return f"{self.call_id};to-tag={self.remote_tag};from-tag={self.local_tag}"


def channel_path(call_id: str) -> str:
    """The path of a channel."""
    return f"channels/{quote(call_id, safe='')}"


def get_variable(call_id: str, variable: str) -> AriRequest:
    """Read a channel variable or function."""
    return AriRequest("GET", f"{channel_path(call_id)}/variable?variable={quote(variable, safe='')}")


def preparations(
    request: Request, submission_id: str, settings: AsteriskSettings, dialog: Dialog | None
) -> tuple[AriRequest, ...]:
    """The requests that prepare the execution."""
    call = request.call.id
    events = AriRequest(
        "POST", f"applications/{settings.app}/subscription", {"eventSource": f"channel:{call}"}
    )
    if not isinstance(request, Transfer):
        return (events,)
    key = key_of(submission_id)
    if request.replaces is not None and settings.mode is Mode.BRIDGE:
        bridge = {"type": "mixing", "name": call}
        return events, AriRequest("POST", f"bridges/{bridge_id(key)}", bridge)
    prepared = [events, _set(call, target_variable(key), _target(request, settings, dialog))]
    if request.replaces is not None:
        prepared.append(_set(call, consult_variable(key), request.replaces))
    return tuple(prepared)


def execution(request: Request, submission_id: str, settings: AsteriskSettings) -> AriRequest:
    """The request that executes the transfer or redirect."""
    path = channel_path(request.call.id)
    if isinstance(request, Redirect):
        target = sip_uri(request.targets[0], settings)
        return AriRequest("POST", f"{path}/redirect", {"endpoint": f"PJSIP/{target}"})
    if not isinstance(request, Transfer):
        raise TypeError(f"{type(request).__name__} is not supported")
    key = key_of(submission_id)
    if settings.mode is Mode.REFER:
        extension = refer_extension(key)
    elif request.replaces is None:
        extension = dial_extension(key)
    else:
        channels = [request.call.id, request.replaces]
        return AriRequest("POST", f"bridges/{bridge_id(key)}/addChannel", {"channel": channels})
    place = {"context": settings.context, "extension": extension, "priority": 1}
    return AriRequest("POST", f"{path}/continue", place)


def _set(call: str, variable: str, value: str) -> AriRequest:
    return AriRequest("POST", f"{channel_path(call)}/variable", {"variable": variable, "value": value})


def _target(request: Transfer, settings: AsteriskSettings, dialog: Dialog | None) -> str:
    """The argument of Transfer or Dial."""
    uri = sip_uri(request.to, settings)
    if settings.mode is Mode.BRIDGE:
        left = int(request.deadline.total_seconds()) - _MARGIN_SECONDS
        return f"PJSIP/{settings.endpoint}/{uri},{max(min(settings.ring_timeout, left), 1)}"
    header = "" if dialog is None else f"?Replaces={quote(dialog.replaces, safe='')}"
    return f"<{uri}{header}>"
