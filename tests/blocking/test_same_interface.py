"""Both clients have the same methods, parameters and documentation."""

import inspect
import re

import pytest

from transferkit import (
    AsyncClient,
    CallHandle,
    Client,
    ConsultationHandle,
    EventStream,
    Handle,
)
from transferkit.blocking import (
    BlockingCallHandle,
    BlockingConsultationHandle,
    BlockingEventStream,
    BlockingHandle,
    BlockingRelay,
)
from transferkit.relay import Relay


def public(cls):
    return {name for name in vars(cls) if not name.startswith("_")}


def parameters(function):
    return list(inspect.signature(function).parameters.values())


METHODS = sorted(public(AsyncClient) & public(Client))


def test_both_clients_have_the_same_methods():
    assert public(AsyncClient) - public(Client) == {"aclose", "asgi"}
    assert public(Client) - public(AsyncClient) == {"close", "wsgi"}
    assert public(Handle) == public(BlockingHandle)
    assert public(CallHandle) == public(BlockingCallHandle)
    assert public(ConsultationHandle) == public(BlockingConsultationHandle)
    assert public(EventStream) == public(BlockingEventStream)
    assert public(Relay) - public(BlockingRelay) == {"aclose"}


@pytest.mark.parametrize("name", [*METHODS, "__init__"])
def test_a_method_has_the_same_parameters_in_both_clients(name):
    assert parameters(getattr(Client, name)) == parameters(getattr(AsyncClient, name))
    assert len(METHODS) > 8


def test_outcome_has_the_same_parameters_in_both_handles():
    assert parameters(BlockingHandle.outcome) == parameters(Handle.outcome)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_blocks_and_returns_the_blocking_class(name):
    blocking = inspect.signature(getattr(Client, name)).return_annotation
    awaited = inspect.signature(getattr(AsyncClient, name)).return_annotation
    mirrored = r"\b(EventStream|Relay|(Transfer|Redirect|Step|Call|Consultation|Route)Handle)\b"
    expected = re.sub(mirrored, r"Blocking\1", awaited)
    assert blocking == expected.replace("AnyHandle", "AnyBlockingHandle")
    assert not inspect.iscoroutinefunction(getattr(Client, name))
    assert getattr(Client, name).__doc__


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_the_same_documentation_in_both_clients(name):
    assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__


@pytest.mark.parametrize(
    "method",
    [
        AsyncClient.transfer,
        AsyncClient.redirect,
        AsyncClient.outcome,
        Handle.outcome,
        Client.transfer,
        Client.redirect,
        Client.outcome,
        BlockingHandle.outcome,
    ],
    ids=lambda method: f"{method.__module__}.{method.__qualname__}",
)
def test_help_says_the_unit_of_times_and_what_is_raised(method):
    said = inspect.getdoc(method)
    assert "seconds" in said
    assert "Raises" in said


def test_help_of_a_blocking_wait_says_that_closing_the_client_ends_it():
    assert "`ClientClosed`" in inspect.getdoc(BlockingHandle.outcome)
