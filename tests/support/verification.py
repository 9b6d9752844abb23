"""A signer of callback tokens, its documents, and a raw HTTP server that sends prepared responses."""

import asyncio
import base64
import contextlib

import pytest

from transferkit import CallbackNotVerified, SenderNotChecked
from transferkit.testing import CallbackSigner, ManualClock
from transferkit.testing.server import stop_accepting

ISSUER = "https://signer.example"
AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
OPENID_URL = f"{ISSUER}/openid"
KEYS_URL = f"{OPENID_URL}/keys"
CLOCK = ManualClock()
SIGNER = CallbackSigner(issuer=ISSUER, clock=CLOCK)
(GOOD_JWK,) = SIGNER.jwks()["keys"]


def new_signer(clock=None):
    """A signer that may rotate its keys; it starts with the key of `SIGNER`, as a key takes long to make."""
    signer = CallbackSigner(issuer=ISSUER, clock=clock)
    signer._keys = list(SIGNER._keys)
    return signer


def base64url(content):
    """Base64 as JWTs use it, without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def refused(why=None):
    """Expect that the sender is refused for this reason."""
    return pytest.raises(CallbackNotVerified, match=why)


def unchecked(why=None):
    """Expect that the sender cannot be checked for this reason."""
    return pytest.raises(SenderNotChecked, match=why)


async def settled():
    """Let every task run until it waits for time or for I/O."""
    for _ in range(20):
        await asyncio.sleep(0)


class KeySource:
    """Serves a signer's documents and counts fetches. `error` is raised; `released` delays each fetch."""

    def __init__(self, signer):
        self.signer = signer
        self.fetched = []
        self.ca_files = []
        self.error = None
        self.released = asyncio.Event()
        self.released.set()
        self.documents = {}

    @property
    def count(self):
        """The number of fetches of the keys, each with one fetch of the OpenID document."""
        return self.fetched.count(OPENID_URL)

    async def __call__(self, url, *, ca_file=None, public=False):
        self.fetched.append(url)
        self.ca_files.append(ca_file)
        await self.released.wait()
        if self.error:
            raise self.error
        return self.documents[url] if url in self.documents else await self.signer.fetch(url)


class HttpServer:
    """Sends prepared responses on loopback, one for each connection; `heads` are the requests.

    A response is `(status, body, *headers)`, raw bytes, or None to send nothing.
    """

    def __init__(self, *responses, tls=None):
        self.heads = []
        self.responses = list(responses)
        self._tls = tls
        self._handling = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_):
        await stop_accepting(self._server)
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)
        await self._server.wait_closed()

    async def _handle(self, reader, writer):
        self._handling.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n"))
            response = self.responses.pop(0)
            if response is None:
                await asyncio.Event().wait()
            writer.write(response if isinstance(response, bytes) else _encoded(*response))
            await writer.drain()
        writer.close()


def _encoded(status, body, *headers):
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(location):
    """A response that redirects."""
    return "302 Found", b"", f"Location: {location}"
