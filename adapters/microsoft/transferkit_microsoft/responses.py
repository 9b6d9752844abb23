"""HTTP responses of Graph and ACS, and failures to get one: which of them prove what about the request.

Both services word errors alike, and a request may be retried after the same statuses. `Service` has what
differs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, final

from attrs import evolve, field, frozen

from transferkit.events import Basis, FailureReason
from transferkit.provider.adapter import CheckResult
from transferkit.provider.facts import Result
from transferkit.provider.http import clock_skew, retry_after, unanswered, unconnected
from transferkit.provider.json import read_json
from transferkit.provider.results import MaybeSent, NotSent, Rejected, SubmitResult, Submitted
from transferkit_microsoft.codes import Meaning, refusal
from transferkit_microsoft.errors import is_page, read_error
from transferkit_microsoft.lenient_json import JsonObject

__all__ = ["HttpResponse", "NoResponse", "Service"]

NoResponse = Rejected | NotSent | MaybeSent
"""What is known of a request that got no response."""


@final
@frozen(kw_only=True)
class HttpResponse:
    """An HTTP response, header names in lower case. The body is empty if it broke off."""

    status: int
    headers: Mapping[str, str] = field(factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def json(self) -> JsonObject:
        """The JSON object in the body; empty if there is none."""
        try:
            return JsonObject(read_json(self.body))
        except (ValueError, RecursionError):
            return JsonObject(None)


@final
@frozen(kw_only=True)
class Service:
    """One of Microsoft's services: what its errors mean, and how messages name it.

    * `codes`, `statuses`: meanings for which the service's advice says more than the shared tables.
    * `decisive_statuses`: those whose meaning applies whatever code the body has.
    * `address_key`, `connection_keys`: the settings that decide on the address, and on the connection.
    * `request_id_header`, `correlation_headers`: where Microsoft's support ids are.
    """

    name: str
    codes: Mapping[int, Meaning]
    statuses: Mapping[int, Meaning]
    decisive_statuses: frozenset[int] = frozenset()
    address_key: str
    connection_keys: str
    request_id_header: str
    correlation_headers: tuple[str, ...]

    def correlation_id(self, headers: Mapping[str, str]) -> str | None:
        """The id of the call chain, in the headers of a response or a callback."""
        return next((headers[name] for name in self.correlation_headers if headers.get(name)), None)

    def result(self, response: HttpResponse) -> Result:
        """What an error response says, and what it means."""
        result = refusal(
            response.status,
            read_error(response.body),
            own=self.codes,
            statuses=self.statuses,
            request_id=response.headers.get(self.request_id_header),
        )
        if response.status in self.decisive_statuses:
            meaning = self.statuses[response.status]
            result = evolve(result, reason=meaning.reason, advice=meaning.advice)
        return result

    def submit_result(self, response: HttpResponse, *, now: datetime) -> SubmitResult:
        """What the response to a transfer or redirect proves.

        A redirect or an HTML page with a success status is not from the service, so the request may have been
        executed. 429, and 503 with `Retry-After`, were not executed (learn.microsoft.com
        graph/throttling).
        """
        status, wait = response.status, retry_after(response.headers, now=now)
        success = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        redirected = HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST
        if redirected or (success and is_page(response.body)):
            return MaybeSent(result=self._not_reached(status))
        if success:
            return Submitted(
                correlation_id=self.correlation_id(response.headers),
                status=status,
                request_id=response.headers.get(self.request_id_header),
            )
        result = self.result(response)
        unavailable = status == HTTPStatus.SERVICE_UNAVAILABLE and wait is not None
        if unavailable or status == HTTPStatus.TOO_MANY_REQUESTS:
            return NotSent(result=result, retry_after=wait)
        refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        if refused and status != HTTPStatus.REQUEST_TIMEOUT:
            return Rejected(result=result)
        return MaybeSent(result=result)

    def _not_reached(self, status: int) -> Result:
        return Result(
            code=status,
            reason=FailureReason.PROVIDER_ERROR,
            message=f"{self.name} was not reached: the response is a redirect or an HTML page",
            advice=f"Check the proxy and the configured address on the way to {self.name}.",
        )

    def failure(self, error: BaseException, *, sent: bool = True) -> NoResponse:
        """What an error proves that came instead of a response.

        With `sent` false, the request did not reach the HTTP client, so an error about an address is not
        about that of the request. Otherwise it was not sent if the client could not connect or use the
        address, and may have been executed after any other error.
        """
        redirected = isinstance(error, _classes("aiohttp", "RedirectClientError"))
        if sent and isinstance(error, _unusable()) and not redirected:
            return self.unusable_address(error)
        if not sent or isinstance(error, _unconnected()):
            return unconnected(error, to=self.name, check=self.connection_keys)
        return unanswered(error, to=self.name)

    def unusable_address(self, error: BaseException) -> Rejected:
        """The result of a request whose address `error` shows to be unusable, so nothing was sent."""
        result = Result(
            message=f"nothing was sent to {self.name} ({type(error).__name__})",
            reason=FailureReason.UNSUPPORTED,
            advice=f"The address cannot be used: check {self.address_key}.",
            basis=Basis.LOCAL,
        )
        return Rejected(result=result)

    def check_result(
        self, response: HttpResponse | NoResponse, *, refusals: Mapping[int, str], now: datetime
    ) -> CheckResult:
        """What the response to a query about an unknown call says about the credentials.

        `refusals` has the advice for statuses that mean that the credentials are not good enough.
        """
        name = f"{self.name.lower()} credentials"
        if not isinstance(response, HttpResponse):
            result = response.result
            found = result.message or str(result.reason)
            return CheckResult(
                name=name,
                ok=False,
                message=found
                if isinstance(response, Rejected)
                else f"{self.name} cannot be queried: {found}",
                advice=result.advice or f"Check {self.connection_keys}, and the network.",
            )
        words = self.result(response).message
        answer = f"{response.status}: {words}" if words else f"{response.status}"
        ok: bool | None = True
        message = "accepted"
        advice = refusals.get(response.status)
        if advice is not None:
            ok, message = False, f"{self.name} refused the credentials ({answer})"
        elif response.status in {429, *range(500, 600)}:
            ok, message = None, f"{self.name} cannot check the credentials now ({answer})"
            advice = "Try again later."
        skew = clock_skew(response.headers, now=now)
        return CheckResult(name=name, ok=ok, message=message, advice=advice, clock_skew=skew)


def _unusable() -> tuple[type[BaseException], ...]:
    """The errors of an address that no request can be sent to.

    httpx raises its `InvalidURL` for the address in a response that redirects, too, so it proves nothing.
    """
    return (
        *_classes("aiohttp", "InvalidURL", "NonHttpUrlClientError"),
        *_classes("httpx", "UnsupportedProtocol"),
    )


def _unconnected() -> tuple[type[BaseException], ...]:
    """The errors of a connection that was never made, TLS and proxy included."""
    return (
        *_classes("aiohttp", "ClientConnectorError", "ConnectionTimeoutError", "ClientHttpProxyError"),
        *_classes("httpx", "ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"),
    )


def _classes(package: str, *names: str) -> tuple[type[BaseException], ...]:
    """Exception classes of an HTTP client; none if no code has imported it."""
    module: Any = sys.modules.get(package)
    return () if module is None else tuple(getattr(module, name) for name in names)
