"""The one place where the SDK is overruled: the body that it wrote gives way to the published one.

The SDK's own models lack `kind`, write clouds in upper case, and drop Teams call details that stand alone.
Its URL, headers, authentication, transport and errors stay.
"""

from __future__ import annotations

from typing import Any, Final, final

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.core.rest import AsyncHttpResponse, HttpRequest

__all__ = ["OPTION", "PublishedBody"]

OPTION: Final = "published_body"
"""The keyword of an SDK call that holds the JSON body to send."""


@final
class PublishedBody(SansIOHTTPPolicy[HttpRequest, AsyncHttpResponse]):
    """Puts a call's `published_body` in the place of the SDK's.

    Must be a per-call policy: these come before the request is signed.
    """

    def on_request(self, request: PipelineRequest[HttpRequest]) -> None:
        """Replace the body where the call has one of its own."""
        body: Any = request.context.options.pop(OPTION, None)
        if body is None:
            return
        old = request.http_request
        headers = {name: value for name, value in old.headers.items() if name.lower() != "content-length"}
        request.http_request = HttpRequest(old.method, old.url, headers=headers, json=body)
