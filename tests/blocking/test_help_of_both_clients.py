"""`help` of what everybody calls says in which unit a time is given, and what is raised."""

import inspect

import pytest

from transferkit import AsyncClient, Client
from transferkit.blocking import BlockingHandle
from transferkit.client import Handle


@pytest.mark.parametrize(
    "verb",
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
    ids=lambda verb: f"{verb.__module__}.{verb.__qualname__}",
)
def test_help_says_the_unit_of_times_and_what_is_raised(verb):
    said = inspect.getdoc(verb)
    assert "seconds" in said
    assert "Raises" in said


def test_help_of_a_blocking_wait_says_that_closing_the_client_ends_it():
    assert "`ClientClosed`" in inspect.getdoc(BlockingHandle.outcome)
