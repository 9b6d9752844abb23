"""The tests of the application. They use the fake provider and need no network and no waiting."""

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


async def test_the_caller_is_transferred_to_the_agent(client):
    async with client:
        result = await ContactCentre(client, [AGENT, VOICEMAIL]).hand_over("call-1", case="42")
    assert (result.ending, result.target) == (Ending.TRANSFERRED, AGENT)


async def test_the_caller_is_transferred_to_voicemail_if_the_agent_is_busy(client, transferkit_fake):
    async with client:
        result = await ContactCentre(client, [BUSY, VOICEMAIL]).hand_over("call-1", case="42")
    assert (result.ending, result.target) == (Ending.TRANSFERRED, VOICEMAIL)
    assert result.failures == (FailureReason.BUSY,)
    assert [sent.request.to for sent in transferkit_fake.submissions] == [BUSY, VOICEMAIL]


async def test_the_caller_stays_connected_if_no_target_answers(client):
    async with client:
        result = await ContactCentre(client, [BUSY, BUSY]).hand_over("call-1", case="42")
    assert result.ending is Ending.NOT_TRANSFERRED


async def _advance(client, clock, seconds, *, after):
    """Advance the clock after an event of the kind `after`."""
    async with client.events() as events:
        async for event in events:
            if event.kind == after:
                clock.advance(seconds)
                return


async def test_no_further_target_is_tried_after_the_caller_hung_up(
    client, transferkit_clock, transferkit_fake
):
    async with client:
        hanging_up = asyncio.create_task(_advance(client, transferkit_clock, 6, after="call.ended"))
        await asyncio.sleep(0)
        result = await ContactCentre(client, [CALLER_LEAVES, VOICEMAIL]).hand_over("call-1", case="42")
        await hanging_up
    assert result.ending is Ending.CALLER_LEFT
    assert len(transferkit_fake.submissions) == 1


async def test_no_further_target_is_tried_after_a_transfer_whose_result_is_not_known(
    client, transferkit_clock, transferkit_fake
):
    async with client:
        waiting = asyncio.create_task(_advance(client, transferkit_clock, 150, after="transfer.submitted"))
        await asyncio.sleep(0)
        result = await ContactCentre(client, [SILENT, VOICEMAIL]).hand_over("call-1", case="42")
        await waiting
    assert result.ending is Ending.UNKNOWN
    assert len(transferkit_fake.submissions) == 1


async def test_an_incoming_call_is_redirected_outside_office_hours(client, transferkit_fake):
    async with client, client.events() as events:
        (incoming,) = await transferkit_fake.ring("call-2", source=PhoneNumber("+14255550107"), target=AGENT)
        assert isinstance(incoming, CallIncoming)
        await ContactCentre(client, [AGENT, VOICEMAIL]).overflow(incoming)
        async for event in events:
            if isinstance(event, RedirectCompleted):
                break
    assert event.target == VOICEMAIL
