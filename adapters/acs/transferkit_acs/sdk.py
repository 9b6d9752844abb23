"""The official SDK, configured to send each request once, without redirects, and with the published body.

The life cycle decides about retries, because only it knows whether one is safe. The SDK's models lack `kind`,
write clouds in upper case, and drop Teams call details without SIP or VoIP headers (1.6.0). So the body is
written here, and the SDK's client sends it with its own headers, authentication and transport.
"""

from __future__ import annotations

from typing import Any, Final, final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from aiohttp import ClientRequest, ClientResponse, ClientSession, DummyCookieJar, TCPConnector
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
from transferkit.provider.secret import MASK
from transferkit.requests import WireRequest
from transferkit_acs.auth import placeholder
from transferkit_acs.requests import CALLS_PATH, body_of, headers_of, method_of, path_of
from transferkit_acs.settings import AcsSettings

__all__ = ["Exchange", "open_client", "query", "send", "show"]

_NOTHING: Final[SansIOHTTPPolicy[Any, Any]] = SansIOHTTPPolicy()
"""A policy that does nothing, in place of the SDK's retries and redirects."""


@final
@define
class Exchange:
    """The request and response of one call of the SDK, which gets this as the option `exchange`."""

    sent: bool = False
    """Whether a request reached the transport. A failure before that means that nothing was sent."""
    response: AsyncHttpResponse | None = None
    """The response to the last request, as soon as its headers have arrived."""

    @property
    def result(self) -> HttpResponse:
        """The response, with an empty body if it broke off."""
        if self.response is None:
            raise RuntimeError("the SDK sent nothing")
        headers = {name.lower(): value for name, value in self.response.headers.items()}
        try:
            body = self.response.content
        except Exception:  # noqa: BLE001 - the body broke off, or its encoding is wrong
            body = b""
        return HttpResponse(status=self.response.status_code, headers=headers, body=body)


@final
class _Watch(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Records requests and responses. It runs after authentication, which may send twice."""

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        context = request.context
        if "exchange" in context.options:  # the transport would receive it
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
    """The SDK's client. It connects for the first request."""
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
    """A request that is not written if its deadline has passed when the connection is made."""

    async def send(self, conn: Connection) -> ClientResponse:
        check_deadline()
        return await super().send(conn)


def _open_transport(settings: AcsSettings) -> AioHttpTransport:
    """The SDK's own transport, over a session that checks the deadline."""
    session = ClientSession(
        # The transport's option `connection_verify` makes a context, and so a connection, per request.
        connector=TCPConnector(ssl=settings.ssl_context() or True),
        request_class=_CheckedRequest,
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        # aiohttp would read the environment and ~/.netrc in a thread for each request.
        trust_env=False,
    )
    # aiohttp would send a DELETE again if the connection closes. Only the life cycle decides about that.
    session._retry_connection = False  # noqa: SLF001 - there is no public setting
    return AioHttpTransport(
        session=session,
        connection_timeout=settings.timeout,
        read_timeout=settings.timeout,
    )


def _proxies(endpoint: str) -> dict[str, str]:
    """The proxy for the endpoint in the environment (`HTTPS_PROXY`, `NO_PROXY`, …), by scheme."""
    parts = urlsplit(endpoint)
    proxy = getproxies().get(parts.scheme)
    bypassed = parts.hostname is None or proxy_bypass(parts.hostname)
    return {} if proxy is None or bypassed else {parts.scheme: proxy}


@final
class _Request(HttpRequest):
    """A request for one call, so the SDK needs no copy of it."""

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> _Request:
        return self


async def send(
    client: CallAutomationClient, submission: Submission, settings: AcsSettings, **options: Any
) -> None:
    """Send a submission with the SDK's client. Raises what the SDK raises if there is no response."""
    request = submission.request
    wire_request = _Request(
        method_of(request),
        f"{path_of(request)}?api-version={settings.api_version.value}",
        headers={"Accept": "application/json", **headers_of(submission)},
        json=body_of(submission) or None,
    )
    await _send(client, wire_request, **options)


async def query(client: CallAutomationClient, path: str, settings: AcsSettings, **options: Any) -> None:
    """Query a path below that of all calls. Raises as `send` does."""
    address = f"{CALLS_PATH}/{path}?api-version={settings.api_version.value}"
    await _send(client, _Request("GET", address, headers={"Accept": "application/json"}), **options)


async def _send(client: CallAutomationClient, request: _Request, **options: Any) -> None:
    # The SDK's own id contains the address of the network card.
    options["request_id"] = str(uuid4())
    # As a stream, so that a response whose body breaks off still counts by its status.
    sent = client._client.send_request(request, stream=True, **options)  # noqa: SLF001 - public, but for its name
    async with await sent as response:
        await response.read()


async def show(settings: AcsSettings, submission: Submission) -> WireRequest:
    """The request that `send` would send. Resolves no secret and opens no connection."""
    client = open_client(settings, settings.shown_endpoint, placeholder(settings), transport=_Nowhere())
    try:
        await send(client, submission, settings)
    except _Caught as caught:
        request = caught.request
    else:
        raise RuntimeError("the SDK sent nothing")
    finally:
        await client.close()
    headers = {
        name: f"{value.partition(' ')[0]} {MASK}" if name.lower() == "authorization" else value
        for name, value in request.headers.items()
    }
    return WireRequest(method=request.method, url=request.url, headers=headers, body=body_of(submission))


class _Caught(Exception):
    def __init__(self, request: HttpRequest) -> None:
        super().__init__("caught")
        self.request = request


@final
class _Nowhere(AsyncHttpTransport[HttpRequest, AsyncHttpResponse]):
    """A transport that raises `_Caught` with the request instead of sending it."""

    async def send(self, request: HttpRequest, **_: Any) -> AsyncHttpResponse:
        raise _Caught(request)

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""
