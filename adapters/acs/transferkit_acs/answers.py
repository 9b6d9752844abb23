"""What became of a request, in the life cycle's words: by the answer, or by the error that came instead."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, final

from attrs import evolve, field, frozen
from transferkit_microsoft.codes import not_the_provider, refusal
from transferkit_microsoft.errors import is_page, read_error

from transferkit.errors import ConfigError
from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import Inspection
from transferkit.provider.facts import Result
from transferkit.provider.http import misconfigured, retry_after, unanswered, unconnected
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected, SubmitResult, Submitted
from transferkit_acs.payloads import read_json, text_of
from transferkit_acs.reasons import HTTP_CODES, HTTP_STATUSES

__all__ = ["NoReply", "Reply", "answer_of", "answer_without_reply", "inspection_of"]

NoReply = Rejected | NotSent | MaybeSent
"""What is known of a request that got no answer."""


@final
@frozen(kw_only=True)
class Reply:
    """An HTTP answer. Header names in lower case."""

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def chain_id(self) -> str | None:
        """What Microsoft's support asks for; the form of the events' `correlationId`."""
        return self.headers.get("x-microsoft-skype-chain-id")

    @property
    def json(self) -> Any:
        """The JSON value, None where there is none."""
        try:
            return read_json(self.body)
        except ValueError:
            return None

    @property
    def result(self) -> Result:
        """The provider's own words (`CommunicationErrorResponse`) and what they mean."""
        result = refusal(
            self.status,
            read_error(self.body),
            own=HTTP_CODES,
            statuses=HTTP_STATUSES,
            request_id=self.chain_id,
        )
        if self.status == HTTPStatus.PRECONDITION_FAILED:  # only repeatability's, whatever the code is
            meaning = HTTP_STATUSES[self.status]
            result = evolve(result, reason=meaning.reason, advice=meaning.advice)
        return result


def answer_of(reply: Reply, *, now: datetime) -> SubmitResult:
    """What an HTTP answer to a transfer or redirect means."""
    status, wait = reply.status, retry_after(reply.headers, now=now)
    if 300 <= status < 400 or (status < 300 and is_page(reply.body)):  # noqa: PLR2004 - redirects, success
        return MaybeSent(result=not_the_provider("ACS", status))
    if 200 <= status < 300:  # noqa: PLR2004 - the range of success
        return Submitted(correlation_id=reply.chain_id, status=status, request_id=reply.chain_id)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and wait is not None
    ):
        return NotSent(result=reply.result, retry_after=wait)
    if 400 <= status < 500 and status != HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 - the range of refusals
        return Rejected(result=reply.result)
    return MaybeSent(result=reply.result)


def answer_without_reply(error: Exception, *, left: bool) -> NoReply:
    """What an error means that came in the place of an answer, to a request that may have left or has not."""
    from transferkit_acs.auth import NoToken

    match error:
        case ConfigError():
            return misconfigured(error)
        case NoToken():
            return error.answer
    # The SDK has one error for all that happens on the way, even to a request that has left: its cause tells.
    cause = getattr(error, "inner_exception", None) or error
    if _unusable(cause):
        result = Result(
            reason=FailureReason.UNSUPPORTED,
            message=f"nothing was sent to ACS ({type(cause).__name__})",
            advice="The address cannot be used: check the endpoint of [providers.acs].",
            basis=Basis.LOCAL,
        )
        return Rejected(result=result)
    if not left or _never_connected(cause):
        return unconnected(cause, to="ACS", check="endpoint and ca_file of [providers.acs]")
    return unanswered(cause, to="ACS")


def _unusable(error: BaseException) -> bool:
    """Whether the address is none that a request can be sent to. Redirects come after one was."""
    import aiohttp

    unusable = isinstance(error, (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError))
    return unusable and not isinstance(error, aiohttp.RedirectClientError)


def _never_connected(error: BaseException) -> bool:
    """Whether no connection was made on which the request could have gone."""
    import aiohttp

    return isinstance(
        error, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, aiohttp.ConnectionTimeoutError)
    )


# `callConnectionState`, ACS REST 2026-03-12. `connecting` and `unknown` say nothing of a call in transfer.
_PRESENCES = {
    "connected": Presence.CONNECTED,
    "transferring": Presence.TRANSFERRING,
    "transferaccepted": Presence.TRANSFERRING,
    "disconnecting": Presence.GONE,
    "disconnected": Presence.GONE,
}


def inspection_of(reply: Reply) -> Inspection:
    """What an HTTP answer to a question about a call means."""
    if reply.status == HTTPStatus.OK:
        state = text_of(reply.json, "callConnectionState") or ""
        return Inspection(presence=_PRESENCES.get(state.lower(), Presence.UNKNOWN))
    gone = reply.status == HTTPStatus.NOT_FOUND
    return Inspection(presence=Presence.GONE if gone else Presence.UNKNOWN, result=reply.result)
