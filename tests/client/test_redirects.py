"""Redirects of incoming calls."""

from datetime import timedelta

import attrs
from support.client import AGENT, CALL, SILENT

from transferkit import (
    PhoneNumber,
    RedirectCompleted,
    TeamsApp,
)
from transferkit.testing import FakeAdapter, scenario


async def test_an_incoming_call_is_redirected_from_its_event(client, fake):
    (incoming,) = await fake.ring(CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot"))
    redirect = await client.redirect(incoming, to=[AGENT, SILENT], ring_timeout=30)
    outcome = await redirect.outcome()
    assert isinstance(outcome, RedirectCompleted)
    assert outcome.transfer_id == redirect.id
    (submission,) = fake.submissions
    assert submission.request.incoming_context == incoming.incoming_context
    assert submission.request.targets == (AGENT, SILENT)
    assert submission.request.ring_timeout == timedelta(seconds=30)


async def test_an_explicit_incoming_context_wins_over_the_event(client, fake):
    (incoming,) = await fake.ring(CALL, source=PhoneNumber("+14255550123"), target=TeamsApp("bot"))
    await (await client.redirect(incoming, to=AGENT, incoming_context="mine")).outcome()
    assert fake.submissions[0].request.incoming_context == "mine"


async def test_a_redirect_by_id_needs_no_event(client):
    assert isinstance(await (await client.redirect(CALL, to=AGENT)).outcome(), RedirectCompleted)


async def test_a_redirect_that_completes_on_acceptance_is_inferred(make, clock, store):
    class HandsOver(FakeAdapter):
        @property
        def capabilities(self):
            return attrs.evolve(super().capabilities, redirect_completes_on_acceptance=True)

    async with make(HandsOver(clock=clock)) as client:
        outcome = await (await client.redirect(CALL, to=scenario("silent").teams_user)).outcome(timeout=5)
    assert (outcome.kind, outcome.basis) == ("redirect.completed", "inferred")
