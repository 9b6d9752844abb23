"""Graph's error responses.

Body and headers: learn.microsoft.com graph/errors and graph/throttling (whose example of 429 repeats the
error within `innerError`). Codes: microsoft-graph-docs issue 7080 (7505), microsoft-graph-comms-samples
issues 173 (8522), 512 (8523) and 538 (7504). Graph's codes for a second transfer and for a transfer of a
ringing call are not published; these are the codes of the calling service in Azure Communication Services.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, final

from transferkit.emulators import Reply
from transferkit.provider.json import EMPTY

__all__ = [
    "GraphError",
    "call_not_found",
    "error_reply",
    "forbidden",
    "group_call_needed",
    "group_call_needs_transferee",
    "invalid_token",
    "method_not_allowed",
    "not_established",
    "not_incoming",
    "one_on_hold",
    "participant_not_found",
    "resource_not_found",
    "service_error",
    "tenant_mismatch",
    "transfer_in_progress",
]


@final
class GraphError(Exception):
    """A request that Graph rejects."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] = EMPTY) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers


def invalid_token() -> GraphError:
    """The token is missing, unknown or expired."""
    return GraphError(401, "InvalidAuthenticationToken", "Access token is empty or invalid.")


def call_not_found() -> GraphError:
    """The call does not exist or has ended."""
    return GraphError(404, "8522", "Call not found.")


def tenant_mismatch() -> GraphError:
    """The token belongs to another tenant than the call."""
    return GraphError(403, "7505", "Request authorization tenant mismatch.")


def forbidden() -> GraphError:
    """The application does not have the permission."""
    return GraphError(403, "7504", "Insufficient enterprise tenant permissions, cannot access this API.")


def group_call_needs_transferee() -> GraphError:
    """A transfer of a participant of a group call must name the transferee."""
    return GraphError(400, "8523", "Cannot do transfer for meeting mode")


def group_call_needed() -> GraphError:
    """Participants are listed and held only in group calls (call-list-participants).

    The code is not published.
    """
    return GraphError(400, "8520", "This request does not support peer-to-peer calls.")


def participant_not_found() -> GraphError:
    """The call has no such participant. The code is not published."""
    return GraphError(404, "8558", "The participant is not on the call.")


def one_on_hold() -> GraphError:
    """Only one participant can be on hold (participant-startHoldMusic). The code is not published."""
    return GraphError(409, "8519", "Another participant is on hold.")


def transfer_in_progress() -> GraphError:
    """Another transfer of the call is in progress."""
    return GraphError(409, "8607", "Transfer operation conflict.")


def not_established() -> GraphError:
    """The call is not established yet."""
    return GraphError(400, "8501", "The call is not established.")


def not_incoming() -> GraphError:
    """The call was already answered, rejected or redirected, or is not an incoming call."""
    return GraphError(409, "8519", "The call is no longer incoming.")


def resource_not_found() -> GraphError:
    """The path is not published."""
    return GraphError(404, "ResourceNotFound", "There is no such resource.")


def method_not_allowed() -> GraphError:
    """The path is published, but not with this method."""
    return GraphError(405, "MethodNotAllowed", "The method is not allowed here.")


def service_error(status: int, retry_after: float | None) -> GraphError:
    """An error of the service with this status; `retry_after` is in seconds, with decimals."""
    headers = EMPTY if retry_after is None else {"Retry-After": f"{retry_after:.3f}"}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return GraphError(status, "TooManyRequests", "Please retry again later.", headers)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return GraphError(status, "serviceNotAvailable", "The service is not available now.", headers)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return GraphError(status, "9999", "Unknown internal server error", headers)
    if status == HTTPStatus.FORBIDDEN:
        return forbidden()
    return GraphError(status, "generalException", f"The emulator is set to respond with {status}.", headers)


def error_reply(error: GraphError, *, ids: Mapping[str, str], now: datetime) -> Reply:
    """The response to a rejected request; `ids` identify the request. Graph's date has no time zone."""
    inner: dict[str, Any] = {"date": f"{now:%Y-%m-%dT%H:%M:%S}", **ids}
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        inner |= {"code": "429", "message": "Please retry after", "status": "429"}
    body = {"error": {"code": error.code, "message": error.message, "innerError": inner}}
    return Reply(status=error.status, body=body, headers={**error.headers, **ids})
