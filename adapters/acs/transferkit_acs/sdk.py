"""The official SDK's authentication over azure-core's transport: each request is sent once, no redirects.

The life cycle decides about retries, because only it knows whether one is safe. So azure-core's pipeline has
only the policies that a request needs, and none that repeats, redirects or logs it. The SDK's models lack
`kind`, write clouds in upper case, and drop Teams call details without SIP or VoIP headers (1.6.0). So the
body is written here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from aiohttp import ClientRequest, ClientResponse, ClientSession, DummyCookieJar, TCPConnector
from aiohttp.connector import Connection
from attrs import define
from azure.communication.callautomation import __version__ as sdk_version
from azure.communication.callautomation._shared.auth_policy_utils import get_authentication_policy
from azure.core.credentials import AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline import AsyncPipeline, PipelineRequest, PipelineResponse
from azure.core.pipeline.policies import AsyncHTTPPolicy, UserAgentPolicy
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

__all__ = ["Exchange", "SdkClient", "show"]

_SDK_MONIKER: Final = f"communication-callautomation/{sdk_version}"


@final
@define
class Exchange:
    """The request and response of one call of the SDK."""

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
class _Watch(AsyncHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Records requests and responses. It runs after authentication, which may send twice."""

    async def send(
        self, request: PipelineRequest[HttpRequest]
    ) -> PipelineResponse[HttpRequest, AsyncHttpResponse]:
        context = request.context
        if "exchange" in context.options:  # the transport would receive it
            context["exchange"] = context.options.pop("exchange")
        exchange: Exchange = context["exchange"]
        exchange.sent, exchange.response = True, None
        response = await self.next.send(request)
        exchange.response = response.http_response
        return response


@final
class SdkClient:
    """Sends requests to one resource. It connects for the first request.

    `endpoint` has no slash at its end.
    """

    def __init__(
        self,
        settings: AcsSettings,
        endpoint: str,
        credential: AzureKeyCredential | AsyncTokenCredential,
        *,
        transport: AsyncHttpTransport[HttpRequest, AsyncHttpResponse] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._query = f"api-version={settings.api_version.value}"
        self._user_agent = UserAgentPolicy(sdk_moniker=_SDK_MONIKER).user_agent
        self._proxies = _proxies(endpoint)
        authentication: Any = get_authentication_policy(endpoint, credential, is_async=True)
        self._pipeline: AsyncPipeline[HttpRequest, AsyncHttpResponse] = AsyncPipeline(
            transport or _open_transport(settings), [authentication, _Watch()]
        )

    async def send(self, submission: Submission, exchange: Exchange) -> None:
        """Send a submission. Raises what the SDK raises if there is no response."""
        request = submission.request
        body = body_of(submission) or None
        await self._send(method_of(request), path_of(request), exchange, headers_of(submission), body)

    async def query(self, path: str, exchange: Exchange) -> None:
        """Query a path below that of all calls. Raises as `send` does."""
        await self._send("GET", f"{CALLS_PATH}/{path}", exchange)

    async def _send(
        self,
        method: str,
        path: str,
        exchange: Exchange,
        headers: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        request = HttpRequest(
            method,
            f"{self._endpoint}{path}?{self._query}",
            headers={
                "Accept": "application/json",
                "User-Agent": self._user_agent,
                "x-ms-client-request-id": str(uuid4()),
                **(headers or {}),
            },
            json=body,
        )
        # As a stream, so that a response whose body breaks off still counts by its status.
        sent = await self._pipeline.run(request, stream=True, proxies=self._proxies, exchange=exchange)
        async with sent.http_response as response:
            await response.read()

    async def close(self) -> None:
        """Close connections."""
        await self._pipeline.__aexit__()


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


async def show(settings: AcsSettings, submission: Submission) -> WireRequest:
    """The request that `send` would send. Resolves no secret and opens no connection."""
    client = SdkClient(settings, settings.shown_endpoint, placeholder(settings), transport=_Nowhere())
    try:
        await client.send(submission, Exchange())
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
