"""The ARI requests of a submission. Pure.

All but the last one prepare: they change nothing that anyone notices, however often they are sent. The last
one executes the transfer, redirect or call step.

Paths and parameters: ARI's resource descriptions (`/ari/api-docs`), Asterisk 22. Parameters are in a JSON
body, so that no access log contains them.
"""

from __future__ import annotations

from typing import Any, Final, final
from urllib.parse import quote

from attrs import Factory, frozen

from transferkit.requests import (
    AnswerCall,
    HangUp,
    Hold,
    Join,
    PlaceCall,
    Redirect,
    RejectCall,
    RejectReason,
    Request,
    Resume,
    Transfer,
)
from transferkit_asterisk.identities import sip_uri
from transferkit_asterisk.names import (
    bridge_id,
    consult_variable,
    dial_extension,
    key_of,
    placed_channel,
    refer_extension,
    target_variable,
)
from transferkit_asterisk.settings import AsteriskSettings, Mode

__all__ = [
    "PLACED",
    "AriRequest",
    "Dialog",
    "channel_path",
    "execution",
    "get_variable",
    "preparations",
    "replaced_leg",
]

PLACED: Final = "transferkit-placed"
"""The argument of Stasis for a channel that a step placed."""

_REJECTED: Final = {
    RejectReason.NONE: "normal",  # SIP 603
    RejectReason.BUSY: "busy",  # SIP 486
    RejectReason.FORBIDDEN: "rejected",  # SIP 403
}

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
    if isinstance(request, Redirect):
        return (events,)
    if not isinstance(request, Transfer | Join):
        return ()
    key, replaced = key_of(submission_id), replaced_leg(request)
    # The caller of a consultation is on hold.
    resumed = [AriRequest("DELETE", f"{channel_path(call)}/moh")] if isinstance(request, Join) else []
    if replaced is not None and settings.mode is Mode.BRIDGE:
        bridge = {"type": "mixing", "name": call}
        return events, *resumed, AriRequest("POST", f"bridges/{bridge_id(key)}", bridge)
    prepared = [events, *resumed, _set(call, target_variable(key), _target(request, settings, dialog))]
    if replaced is not None:
        prepared.append(_set(call, consult_variable(key), replaced))
    return tuple(prepared)


def execution(  # noqa: PLR0911 - one for each kind of request
    request: Request, submission_id: str, settings: AsteriskSettings
) -> AriRequest:
    """The request that executes a transfer, redirect or call step."""
    path = channel_path(request.call.id)
    match request:
        case Transfer() | Join():
            return _handover(request, submission_id, settings)
        case Redirect():
            target = sip_uri(request.targets[0], settings)
            return AriRequest("POST", f"{path}/redirect", {"endpoint": f"PJSIP/{target}"})
        case AnswerCall():
            return AriRequest("POST", f"{path}/answer")
        case RejectCall(reason=reason):
            return AriRequest("DELETE", f"{path}?reason={_REJECTED[reason]}")
        case PlaceCall():
            return _call(request, submission_id, settings)
        case Hold():
            return AriRequest("POST", f"{path}/moh")
        case Resume():
            return AriRequest("DELETE", f"{path}/moh")
        case HangUp():
            return AriRequest("DELETE", path)
        case _:
            raise TypeError(f"{type(request).__name__} is not a request to a provider")


def replaced_leg(request: Request) -> str | None:
    """The call with the target, if the application has one."""
    match request:
        case Transfer(replaces=replaces):
            return replaces
        case Join(other=other):
            return other
        case _:
            return None


def _handover(request: Transfer | Join, submission_id: str, settings: AsteriskSettings) -> AriRequest:
    key, replaced = key_of(submission_id), replaced_leg(request)
    if settings.mode is Mode.REFER:
        extension = refer_extension(key)
    elif replaced is None:
        extension = dial_extension(key)
    else:
        channels = [request.call.id, replaced]
        return AriRequest("POST", f"bridges/{bridge_id(key)}/addChannel", {"channel": channels})
    path = channel_path(request.call.id)
    place = {"context": settings.context, "extension": extension, "priority": 1}
    return AriRequest("POST", f"{path}/continue", place)


def _call(request: PlaceCall, submission_id: str, settings: AsteriskSettings) -> AriRequest:
    """Call a target. The channel gets an id that is made from that of the step."""
    ring = request.ring_timeout
    parameters = {
        "endpoint": f"PJSIP/{settings.endpoint}/{sip_uri(request.to, settings)}",
        "app": settings.app,
        "appArgs": PLACED,
        "timeout": settings.ring_timeout if ring is None else int(ring.total_seconds()),
    }
    if request.caller_id is not None:
        parameters["callerId"] = request.caller_id.number
    return AriRequest("POST", channel_path(placed_channel(submission_id)), parameters)


def _set(call: str, variable: str, value: str) -> AriRequest:
    return AriRequest("POST", f"{channel_path(call)}/variable", {"variable": variable, "value": value})


def _target(request: Transfer | Join, settings: AsteriskSettings, dialog: Dialog | None) -> str:
    """The argument of Transfer or Dial."""
    uri = sip_uri(request.to, settings)
    if settings.mode is Mode.BRIDGE:
        left = int(request.deadline.total_seconds()) - _MARGIN_SECONDS
        return f"PJSIP/{settings.endpoint}/{uri},{max(min(settings.ring_timeout, left), 1)}"
    header = "" if dialog is None else f"?Replaces={quote(dialog.replaces, safe='')}"
    return f"<{uri}{header}>"
