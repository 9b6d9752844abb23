"""The HTTP client that requests to Graph leave by.

httpx's own connection pool uses several times the CPU time of aiohttp's below the same API
(benchmarks/transfers.py: 2 times with one request in flight, 5 times with 50). So aiohttp carries the
requests if httpx-aiohttp is installed, as it is with this package.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from transferkit_microsoft.responses import HttpResponse

from transferkit_graph.settings import GraphSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["open_client", "origin_of", "read_response"]


def open_client(settings: GraphSettings) -> httpx.AsyncClient:
    """The client for requests to Graph. Raises `ConfigError`."""
    verify = settings.ssl_context() or True
    if find_spec("httpx_aiohttp") is None:
        import httpx

        return httpx.AsyncClient(verify=verify)
    from transferkit_graph.aiohttp_transport import CheckedClient

    return CheckedClient(verify=verify)


def read_response(response: httpx.Response) -> HttpResponse:
    """The response in the form that both Microsoft services share."""
    try:
        body = response.content
    except RuntimeError:  # httpx raises it for a body that broke off
        body = b""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return HttpResponse(status=response.status_code, headers=headers, body=body)


def origin_of(error: Exception) -> Exception:
    """The error of aiohttp, if there is one below the error of httpx.

    httpx-aiohttp raises httpx's `ConnectTimeout` for every broken connection, also for one that broke after
    the request was sent. aiohttp's own classes tell the two apart.
    """
    aiohttp: Any = sys.modules.get("aiohttp")
    cause = error.__cause__
    below = aiohttp is not None and isinstance(cause, aiohttp.ClientError)
    return cause if below and isinstance(cause, Exception) else error
