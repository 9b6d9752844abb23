"""The HTTP side of ARI: one request at a time, with the user's password."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, final

from attrs import frozen

from transferkit.errors import ConfigError
from transferkit.provider.deadline import CHECKED, check_deadline
from transferkit.provider.http import misconfigured, unanswered, unconnected
from transferkit.provider.results import MaybeSent, NotSent, Rejected
from transferkit_asterisk.requests import AriRequest
from transferkit_asterisk.settings import AsteriskSettings

if TYPE_CHECKING:
    import httpx

__all__ = ["Ari", "NoReply", "Reply"]

_NAME = "Asterisk"
_CHECK = "base_url and ca_file of [providers.asterisk], and that http.conf enables the server"


@final
@frozen
class Reply:
    """A response of ARI. `body` is its JSON, an empty object if there is none."""

    status: int
    body: Any

    @property
    def is_success(self) -> bool:
        """Whether ARI did what was requested."""
        return 200 <= self.status < 300  # noqa: PLR2004 - the class of an HTTP status

    @property
    def message(self) -> str | None:
        """What ARI says about an error."""
        message = self.text("message")
        return message or self.text("error")

    def text(self, *names: str) -> str | None:
        """The text at a path of the body; None if there is none."""
        value = self.body
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value if isinstance(value, str) else None


NoReply = Rejected | NotSent | MaybeSent
"""What is known of a request without a response."""


@final
class Ari:
    """Sends requests. The connection is opened when it is first used."""

    def __init__(self, settings: AsteriskSettings) -> None:
        self._settings = settings
        self._http: httpx.AsyncClient | None = None

    async def send(self, request: AriRequest) -> Reply | NoReply:
        """Send a request once. Raises `DeadlinePassed`, and nothing that the network can do."""
        import httpx

        try:
            auth = httpx.BasicAuth(self._settings.username, self._settings.password.resolve())
            http = self._open()
        except ConfigError as error:
            return misconfigured(error)
        response: httpx.Response | None = None
        try:
            check_deadline()  # and again when the connection is made
            # httpx limits each wait, so a response that arrives byte by byte needs a limit of its own.
            async with (
                asyncio.timeout(2 * self._settings.timeout),
                http.stream(
                    request.method,
                    f"{self._settings.api_url}/{request.path}",
                    content=json.dumps(request.body).encode() if request.body else None,
                    headers={"Content-Type": "application/json"} if request.body else None,
                    auth=auth,
                    follow_redirects=False,
                    extensions=CHECKED,
                ) as response,
            ):
                await response.aread()
        except Exception as error:  # noqa: BLE001 - a transport may raise anything
            if response is None:
                if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
                    return unconnected(error, to=_NAME, check=_CHECK)
                return unanswered(error, to=_NAME)
        return Reply(response.status_code, _body_of(response))

    def _open(self) -> httpx.AsyncClient:
        import httpx

        if self._http is None:
            # Without TLS, the certificates of the system are not loaded, which takes 20 ms.
            verify = self._settings.ssl_context() or not self._settings.api_url.startswith("http:")
            self._http = httpx.AsyncClient(verify=verify, timeout=self._settings.timeout)
        return self._http

    async def aclose(self) -> None:
        """Close the connection. It is opened again when it is used."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()


def _body_of(response: httpx.Response) -> Any:
    """The JSON of a response. A body that broke off, or is not JSON, does not change the status."""
    try:
        return json.loads(response.content)
    except (ValueError, RuntimeError, RecursionError):
        return {}
