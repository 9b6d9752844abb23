"""The official SDK, as it is used here: one try for each call, no redirects, the published body.

Tries are counted and spaced by the life cycle, which alone knows whether another is safe. The SDK's models
lack `kind`, write clouds in upper case, and drop Teams call details that stand alone: so a submission is
written here, and the SDK's client sends it. Its headers, authentication, transport and errors stay.
"""

from __future__ import annotations

from typing import Any, Final, final
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from aiohttp import ClientRequest, ClientResponse, ClientSession, DummyCookieJar
from aiohttp.connector import Connection
from attrs import define
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.pipeline.transport import AioHttpTransport, AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest
from transferkit_microsoft.responses import HttpResponse

from transferkit.provider.adapter import Submission
from transferkit.provider.deadline import check_deadline
from transferkit.requests import Transfer, WireRequest
from transferkit_acs.auth import placeholder
from transferkit_acs.requests import body_of, headers_of
from transferkit_acs.settings import AcsSettings

__all__ = ["Exchange", "open_client", "send", "show"]

_MASK = "***"
_NOTHING: Final[SansIOHTTPPolicy[Any, Any]] = SansIOHTTPPolicy()
"""A policy that does nothing, in the place of one that would do something again or elsewhere."""


@final
@define
class Exchange:
    """What passed in one call of the SDK, which is given it as the option `exchange`."""

    sent: bool = False
    """Whether a request reached the transport. A failure before that means that nothing was sent."""
    response: AsyncHttpResponse | None = None
    """The response to the last request, as soon as its headers have arrived."""

    @property
    def result(self) -> HttpResponse:
        """The response, with an empty body if it broke off."""
        if self.response is None:
            raise RuntimeError("the SDK sent nothing")  # pragma: no cover - it sends or raises
        headers = {name.lower(): value for name, value in self.response.headers.items()}
        try:
            body = self.response.content
        except Exception:  # noqa: BLE001 - not all of it came, or it is not encoded as it says
            body = b""
        return HttpResponse(status=self.response.status_code, headers=headers, body=body)


@final
class _Watch(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Notes what passes. It stands behind authentication, which may ask for a token, and ask twice."""

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        context = request.context
        if "exchange" in context.options:  # the transport would be given it
            context["exchange"] = context.options.pop("exchange")
        exchange: Exchange | None = context.get("exchange")
        if exchange is not None:
            exchange.sent, exchange.response = True, None

    def on_response(
        self,
        request: PipelineRequest[HttpRequest],
        response: PipelineResponse[HttpRequest, AsyncHttpResponse],
    ) -> None:
        exchange: Exchange | None = request.context.get("exchange")
        if exchange is not None:
            exchange.response = response.http_response


def open_client(
    settings: AcsSettings,
    endpoint: str,
    credential: AzureKeyCredential | AsyncTokenCredential,
    *,
    transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
) -> CallAutomationClient:
    """The SDK's client. It connects when first used."""
    return CallAutomationClient(
        endpoint,
        credential,
        api_version=settings.api_version.value,
        retry_policy=_NOTHING,
        redirect_policy=_NOTHING,
        custom_hook_policy=_Watch(),
        transport=transport or _open_transport(settings),
        proxies=_proxies(endpoint),
    )


class _CheckedRequest(ClientRequest):
    """Not written if its deadline has passed when the connection is there."""

    async def send(self, conn: Connection) -> ClientResponse:
        check_deadline()
        return await super().send(conn)


def _open_transport(settings: AcsSettings) -> AioHttpTransport:
    """The SDK's own transport, over a session that checks the deadline."""
    session = ClientSession(
        request_class=_CheckedRequest,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        # aiohttp would read the environment and ~/.netrc for each request, in a thread each.
        trust_env=False,
    )
    return AioHttpTransport(
        session=session,
        connection_timeout=settings.timeout,
        read_timeout=settings.timeout,
        connection_verify=str(settings.ca_file) if settings.ca_file else True,
    )


def _proxies(endpoint: str) -> dict[str, str]:
    """The proxy that the environment (`HTTPS_PROXY`, `NO_PROXY`, …) has for the endpoint, by scheme."""
    parts = urlsplit(endpoint)
    proxy = getproxies().get(parts.scheme)
    bypassed = parts.hostname is None or proxy_bypass(parts.hostname)
    return {} if proxy is None or bypassed else {parts.scheme: proxy}


@final
class _Request(HttpRequest):
    """Made for one call: the SDK, which changes it, needs no copy of its own."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> _Request:
        return self


async def send(
    client: CallAutomationClient, submission: Submission, settings: AcsSettings, **options: Any
) -> None:
    """Have the SDK's client send a submission. Raises what the SDK raises where no answer comes."""
    request = submission.request
    if isinstance(request, Transfer):
        operation = f"/{quote(request.call.id, safe='')}:transferToParticipant"
    else:
        operation = ":redirect"
    made = _Request(
        "POST",
        f"/calling/callConnections{operation}?api-version={settings.api_version.value}",
        headers={"Accept": "application/json", **headers_of(submission)},
        json=body_of(submission),
    )
    # The SDK would make an id of the network card's address and the time, which takes far longer.
    options["request_id"] = str(uuid4())
    # As a stream, so that an answer whose body breaks off is still the answer that its headers say.
    sent = client._client.send_request(made, stream=True, **options)  # noqa: SLF001 - public, but for its name
    async with await sent as response:
        await response.read()


async def show(settings: AcsSettings, submission: Submission) -> WireRequest:
    """The request that `send` would make, caught before it leaves. Resolves no secret, connects nowhere."""
    client = open_client(settings, settings.shown_endpoint, placeholder(settings), transport=_Nowhere())
    try:
        await send(client, submission, settings)
    except _Caught as caught:
        request = caught.request
    else:
        raise RuntimeError("the SDK sent nothing")  # pragma: no cover - it sends or raises
    finally:
        await client.close()
    headers = {
        name: f"{value.partition(' ')[0]} {_MASK}" if name.lower() == "authorization" else value
        for name, value in request.headers.items()
    }
    return WireRequest(method=request.method, url=request.url, headers=headers, body=body_of(submission))


class _Caught(Exception):
    def __init__(self, request: HttpRequest) -> None:
        super().__init__("caught")
        self.request = request


@final
class _Nowhere(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """A transport that takes hold of the request instead of sending it."""

    async def send(self, request: HttpRequest, **_: Any) -> AsyncHttpResponse:
        raise _Caught(request)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""
