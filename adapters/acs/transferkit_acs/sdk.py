"""The official SDK, as it is used here: one try for each call, no redirects, the published body.

Tries are counted and spaced by the life cycle, which alone knows whether another is safe.
"""

from __future__ import annotations

from typing import Any, final

from azure.communication.callautomation import UnknownIdentifier
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential
from azure.core.credentials_async import AsyncTokenCredential
from azure.core.pipeline.policies import AsyncRedirectPolicy, AsyncRetryPolicy
from azure.core.pipeline.transport import AsyncHttpTransport
from azure.core.rest import AsyncHttpResponse, HttpRequest

from transferkit.adapter import Submission
from transferkit.requests import Transfer, WireRequest
from transferkit_acs.auth import placeholder
from transferkit_acs.published_body import OPTION, PublishedBody
from transferkit_acs.requests import body_of, headers_of
from transferkit_acs.settings import AcsSettings

__all__ = ["open_client", "send", "show"]

_MASK = "***"


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
        per_call_policies=[PublishedBody()],
        retry_policy=AsyncRetryPolicy.no_retries(),
        redirect_policy=AsyncRedirectPolicy.no_redirects(),
        connection_timeout=settings.timeout,
        read_timeout=settings.timeout,
        connection_verify=str(settings.ca_file) if settings.ca_file else True,
        transport=transport,
    )


async def send(client: CallAutomationClient, submission: Submission, **options: Any) -> None:
    """Make the SDK's call for a submission, with the published body. Raises what the SDK raises."""
    request = submission.request
    # The SDK adds to the headers that it is given, so each call has its own.
    options |= {"headers": headers_of(submission), OPTION: body_of(request)}
    target = UnknownIdentifier(request.targets[0].raw_id)
    if isinstance(request, Transfer):
        connection = client.get_call_connection(request.call.id)
        await connection.transfer_call_to_participant(target, **options)
    else:
        await client.redirect_call(request.incoming_context or "", target, **options)


async def show(settings: AcsSettings, submission: Submission) -> WireRequest:
    """The request that `send` would make, caught before it leaves. Resolves no secret, connects nowhere."""
    client = open_client(settings, settings.shown_endpoint, placeholder(settings), transport=_Nowhere())
    try:
        await send(client, submission)
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
    return WireRequest(
        method=request.method, url=request.url, headers=headers, body=body_of(submission.request)
    )


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
