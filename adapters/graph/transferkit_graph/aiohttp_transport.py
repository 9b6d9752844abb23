"""httpx over aiohttp, with the deadline checked after the connection is made."""

from __future__ import annotations

from typing import Any, final

import httpx
from aiohttp import ClientRequest, ClientResponse, ClientSession
from aiohttp.connector import Connection
from httpx_aiohttp import AiohttpTransport, HttpxAiohttpClient

from transferkit.provider.deadline import check_deadline

__all__ = ["CheckedClient"]


class _Request(ClientRequest):
    async def send(self, conn: Connection) -> ClientResponse:
        check_deadline()
        return await super().send(conn)


@final
class _Transport(AiohttpTransport):
    def get_client(self) -> ClientSession:
        made = super().get_client()
        connector = made.connector
        made.detach()
        session = ClientSession(connector=connector, request_class=_Request)
        # aiohttp would send a DELETE again if the connection closes. Only the life cycle decides about that.
        session._retry_connection = False  # noqa: SLF001 - there is no public setting
        return session


class _NoCookies(httpx.Cookies):
    """Ignores the cookies of responses: Graph needs none, and httpx parses each response for them."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep nothing."""


@final
class CheckedClient(HttpxAiohttpClient):
    """A client that does not write a request whose deadline has passed. It keeps no cookies."""

    cookies = _NoCookies()  # type: ignore[override] # in place of a property

    def _init_transport(self, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _Transport(**options)

    def _init_proxy_transport(self, proxy: httpx.Proxy, *_: Any, **options: Any) -> httpx.AsyncBaseTransport:
        return _Transport(proxy=proxy, **options)
