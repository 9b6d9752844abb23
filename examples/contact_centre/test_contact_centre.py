"""The application's own tests: no network, no account, no waiting. The fake provider does what it is told."""

import asyncio

import pytest
from contact_centre import ContactCentre, Ending

from transferkit import CallIncoming, FailureReason, PhoneNumber, RedirectCompleted, TeamsUser
from transferkit.testing import scenario

AGENT = TeamsUser("11111111-2222-4333-8444-555555555555")
BUSY = scenario("busy").teams_user
CALLER_LEAVES = scenario("caller_leaves").number
SILENT = scenario("silent").number
VOICEMAIL = scenario("voicemail").number


@pytest.fixture
def client(transferkit_client):
    return transferkit_client


async def test_the_agent_takes_the_call(client):
    async with client:
        result = await ContactCentre(client, [AGENT, VOICEMAIL]).hand_over("call-1", case="42")
    assert (result.ending, result.taken_by) == (Ending.HANDED_OVER, AGENT)


async def test_a_busy_agent_leads_to_voicemail(client, transferkit_fake):
    async with client:
        result = await ContactCentre(client, [BUSY, VOICEMAIL]).hand_over("call-1", case="42")
    assert (result.ending, result.taken_by) == (Ending.HANDED_OVER, VOICEMAIL)
    assert result.refusals == (FailureReason.BUSY,)
    assert [sent.request.to for sent in transferkit_fake.submissions] == [BUSY, VOICEMAIL]


async def test_when_nobody_takes_it_the_caller_is_still_ours(client):
    async with client:
        result = await ContactCentre(client, [BUSY, BUSY]).hand_over("call-1", case="42")
    assert result.ending is Ending.NOBODY_TOOK_IT


async def _advance_once_open(client, clock, seconds, *, after):
    """Let time pass as soon as the stream has shown `after`."""
    async with client.events() as events:
        async for event in events:
            if event.kind == after:
                clock.advance(seconds)
                return


async def test_nobody_is_tried_after_the_caller_left(client, transferkit_clock, transferkit_fake):
    async with client:
        hanging_up = asyncio.create_task(_advance_once_open(client, transferkit_clock, 6, after="call.ended"))
        await asyncio.sleep(0)
        result = await ContactCentre(client, [CALLER_LEAVES, VOICEMAIL]).hand_over("call-1", case="42")
        await hanging_up
    assert result.ending is Ending.CALLER_GONE
    assert len(transferkit_fake.submissions) == 1


async def test_nobody_is_tried_after_an_uncertain_transfer(client, transferkit_clock, transferkit_fake):
    async with client:
        waiting = asyncio.create_task(
            _advance_once_open(client, transferkit_clock, 150, after="transfer.submitted")
        )
        await asyncio.sleep(0)
        result = await ContactCentre(client, [SILENT, VOICEMAIL]).hand_over("call-1", case="42")
        await waiting
    assert result.ending is Ending.UNCERTAIN
    assert len(transferkit_fake.submissions) == 1


async def test_out_of_hours_a_call_is_redirected_unanswered(client, transferkit_fake):
    async with client, client.events() as events:
        (incoming,) = await transferkit_fake.ring("call-2", source=PhoneNumber("+14255550107"), target=AGENT)
        assert isinstance(incoming, CallIncoming)
        await ContactCentre(client, [AGENT, VOICEMAIL]).overflow(incoming)
        async for event in events:
            if isinstance(event, RedirectCompleted):
                break
    assert event.target == VOICEMAIL
