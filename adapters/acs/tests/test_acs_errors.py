"""Every exception of azure-core and aiohttp has a result, and none is raised."""

import asyncio
import inspect
import ssl
from unittest.mock import MagicMock

import aiohttp
import aiohttp.client_exceptions
import aiohttp.http_exceptions
import azure.core.exceptions
import pytest
import requests.exceptions
import urllib3.exceptions
from azure.core.pipeline.transport import AioHttpTransport

from transferkit.events import Basis, FailureReason
from transferkit.provider.results import MaybeSent, NotSent, Presence, Rejected

# No connection was made, so nothing can have been executed (docs.aiohttp.org, "Client exceptions"). All other
# errors may come when the request has left, also those that azure-core calls ServiceRequestError.
NEVER_LEFT = {
    "ClientConnectorCertificateError",
    "ClientConnectorDNSError",
    "ClientConnectorError",
    "ClientConnectorSSLError",
    "ClientHttpProxyError",
    "ClientProxyConnectionError",
    "ClientSSLError",
    "ConnectionTimeoutError",
    "UnixClientConnectorError",
}
CANNOT_BE_SENT = {"InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError"}


def exceptions_of(*modules) -> list[type[Exception]]:
    """Every class of exception that the modules name, once each."""
    found = {
        one
        for module in modules
        for one in vars(module).values()
        if inspect.isclass(one) and issubclass(one, Exception) and not issubclass(one, Warning)
    }
    return sorted(found, key=lambda one: (one.__module__, one.__name__))


BUILT_IN = [
    ConnectionAbortedError,
    ConnectionResetError,
    BrokenPipeError,
    EOFError,
    OSError,
    TimeoutError,
    ssl.SSLError,
    asyncio.IncompleteReadError,
    AttributeError,
    KeyError,
    RuntimeError,
    TypeError,
    UnicodeDecodeError,
    ValueError,
]
AIOHTTP = exceptions_of(aiohttp, aiohttp.client_exceptions, aiohttp.http_exceptions)
AZURE = exceptions_of(azure.core.exceptions)


def name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


# Constructors that look closer at what they are given.
ARGUMENTS = {
    UnicodeDecodeError: ("utf-8", b"\xff", 0, 1, "invalid start byte"),
    aiohttp.WebSocketError: (1002, "text"),
    asyncio.IncompleteReadError: (b"", 1),
    requests.exceptions.JSONDecodeError: ("no JSON", "<html>", 0),
    urllib3.exceptions.IncompleteRead: (0, 1),
}


def make(cls: type[Exception]) -> Exception:
    """An exception of any class, given what its constructor must have."""
    try:
        parameters = inspect.signature(cls).parameters.values()
    except ValueError:  # a class written in C
        return cls(*ARGUMENTS.get(cls, ("text",)))
    known = {"os_error": OSError(1, "no"), "error": "text", "error_description": "text"}
    needed = [one for one in parameters if one.default is one.empty]
    given = [known.get(one.name, MagicMock()) for one in needed if one.kind is one.POSITIONAL_OR_KEYWORD]
    named = {one.name: known[one.name] for one in needed if one.kind is one.KEYWORD_ONLY}
    return cls(*ARGUMENTS.get(cls, given), **named)


def raising(error: Exception):
    async def method(*_, **__):
        raise error

    return method


async def answers(adapter, wanted):
    """What is said of a submission and of an inspection."""
    try:
        return await adapter.submit(wanted), await adapter.inspect(wanted.request.call)
    finally:
        await adapter.aclose()


def check_carried(error: Exception, answer, inspection) -> None:
    name = type(error).__name__
    unusable = name in CANNOT_BE_SENT
    assert type(answer) is (Rejected if unusable else NotSent if name in NEVER_LEFT else MaybeSent)
    failed = FailureReason.UNSUPPORTED if unusable else FailureReason.PROVIDER_ERROR
    assert answer.result.reason is (FailureReason.TIMEOUT if "Timeout" in name else failed)
    assert answer.result.basis is Basis.LOCAL
    assert name in answer.result.message
    assert inspection.presence is Presence.UNKNOWN


@pytest.mark.parametrize("cls", [*AIOHTTP, *BUILT_IN], ids=name)
async def test_every_exception_of_the_http_client_has_a_result(
    monkeypatch, adapter_at, submission, transfer, cls
):
    error = make(cls)
    monkeypatch.setattr(aiohttp.ClientSession, "_request", raising(error))
    adapter = adapter_at("http://127.0.0.1:1")
    check_carried(error, *await answers(adapter, submission(transfer)))


@pytest.mark.parametrize("cls", AZURE, ids=name)
async def test_every_exception_of_azure_core_has_a_result(monkeypatch, adapter_at, submission, transfer, cls):
    error = make(cls)
    monkeypatch.setattr(AioHttpTransport, "send", raising(error))
    adapter = adapter_at("http://127.0.0.1:1")
    check_carried(error, *await answers(adapter, submission(transfer)))


PASSWORD = "pass-word-of-the-proxy"


@pytest.mark.parametrize(
    "cls", [aiohttp.InvalidURL, aiohttp.ClientConnectionError, RuntimeError], ids=lambda cls: cls.__name__
)
async def test_the_text_of_an_exception_is_not_shown(monkeypatch, adapter_at, submission, transfer, cls):
    error = cls(f"http://user:{PASSWORD}@proxy.test, Bearer s3cret, +14255550100")
    monkeypatch.setattr(aiohttp.ClientSession, "_request", raising(error))
    adapter = adapter_at("http://127.0.0.1:1")
    (found,) = await adapter.check()
    said = [*await answers(adapter, submission(transfer)), found]
    for answer in said:
        shown = f"{answer!r} {getattr(answer, 'message', None) or answer.result.message}"
        assert cls.__name__ in shown
        assert not any(word in shown for word in (PASSWORD, "s3cret", "55501"))


def test_the_lists_are_not_empty():
    assert {"ServiceRequestError", "HttpResponseError"} <= {cls.__name__ for cls in AZURE}
    assert {"ClientOSError", "ServerDisconnectedError", "BadStatusLine"} <= {cls.__name__ for cls in AIOHTTP}
    assert {cls.__name__ for cls in AIOHTTP} >= NEVER_LEFT | CANNOT_BE_SENT


@pytest.mark.parametrize("stop", [asyncio.CancelledError, KeyboardInterrupt])
async def test_a_cancellation_is_raised(monkeypatch, adapter_at, submission, transfer, stop):
    monkeypatch.setattr(aiohttp.ClientSession, "_request", raising(stop()))
    adapter = adapter_at("http://127.0.0.1:1")
    with pytest.raises(stop):
        await adapter.submit(submission(transfer))
    await adapter.aclose()
