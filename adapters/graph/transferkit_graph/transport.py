"""How requests leave: the HTTP client, the certificates that it believes, and what its errors say.

The client is httpx's. Its own connection pool spends several times the CPU a request that aiohttp's does
beneath the same API (benchmarks/graph_transport.py: twice with one request in flight, eight times with 50),
so aiohttp carries the requests where httpx-aiohttp is installed, as it is with this package.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from transferkit.events import Basis, FailureReason
from transferkit.provider.facts import Result
from transferkit.provider.http import unanswered, unconnected
from transferkit.provider.results import MaybeSent, NotSent, Rejected
from transferkit_graph.settings import GraphSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["failure_of", "open_client", "unsent"]


def open_client(settings: GraphSettings) -> httpx.AsyncClient:
    """The client for requests to Graph. Raises `ConfigError`."""
    verify = settings.ssl_context() or True
    if find_spec("httpx_aiohttp") is None:
        import httpx

        return httpx.AsyncClient(verify=verify)
    from transferkit_graph.aiohttp_transport import CheckedClient

    return CheckedClient(verify=verify)


def unsent(error: Exception) -> NotSent:
    """What an error says that kept the request from being sent: nothing can have been executed."""
    return unconnected(error, to="Graph", check="cloud, base_url and ca_file of [providers.graph]")


def failure_of(error: Exception) -> Rejected | NotSent | MaybeSent:
    """What a broken exchange says.

    A connection that never was cannot have carried anything. Of everything else, an error that nobody foresaw
    included, nobody knows.
    """
    import httpx

    origin = _origin(error)
    if isinstance(origin, _unconnected()):
        return unsent(origin)
    unusable = (httpx.InvalidURL, httpx.UnsupportedProtocol, *_aiohttp("InvalidURL", "NonHttpUrlClientError"))
    if isinstance(origin, unusable):
        result = Result(
            message=f"nothing was sent to Graph ({type(origin).__name__})",
            reason=FailureReason.UNSUPPORTED,
            advice="The address cannot be used: check providers.graph.base_url.",
            basis=Basis.LOCAL,
        )
        return Rejected(result=result)
    return unanswered(origin, to="Graph")


def _origin(error: Exception) -> Exception:
    """The error of aiohttp's, where it is one.

    httpx-aiohttp makes httpx's `ConnectTimeout` of every broken connection, of one that broke when the
    request had been sent, too. aiohttp's own classes tell them apart.
    """
    client_error = _aiohttp("ClientError")
    cause = error.__cause__
    return cause if isinstance(cause, Exception) and isinstance(cause, client_error) else error


def _unconnected() -> tuple[type[Exception], ...]:
    """The errors of a connection that was never made, TLS and proxy included."""
    import httpx

    return (
        *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError),
        *_aiohttp("ClientConnectorError", "ConnectionTimeoutError", "ClientHttpProxyError"),
    )


def _aiohttp(*names: str) -> tuple[type[Exception], ...]:
    """Those classes of aiohttp's; none where nobody uses aiohttp."""
    aiohttp: Any = sys.modules.get("aiohttp")
    return () if aiohttp is None else tuple(getattr(aiohttp, name) for name in names)
