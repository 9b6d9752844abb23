"""What every wrapper around the receiver does alike: how it writes a path, and what it answers by itself."""

from __future__ import annotations

from urllib.parse import quote

from transferkit._callbacks.receiver import CallbackResponse, refusal

__all__ = ["address", "not_ready", "too_slow"]

_IN_PATHS = "/:@!$&'()*+,;="


def address(path: str | bytes, query: str) -> str:
    """A path that a server has unescaped, and a query as it stood, as a URL.

    Written as it stands in a URL again, so that no question mark of the path begins a query. Half a character
    becomes a question mark, of which no path has one.
    """
    written = quote(path.encode(errors="replace") if isinstance(path, str) else path, safe=_IN_PATHS)
    return f"{written}?{query}" if query else written


def not_ready() -> CallbackResponse:
    """The answer while the client is not open."""
    return refusal(503, "not ready; send it again", {"retry-after": "5"})


def too_slow() -> CallbackResponse:
    """The answer to a body that does not come."""
    return refusal(408, "the body did not arrive in time")
