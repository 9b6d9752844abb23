"""A submission that is sent again executes nothing again."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sip_endpoints.application import configuration, running
from sip_endpoints.asterisk import PASSWORD
from transferkit_asterisk import AsteriskAdapter, AsteriskSettings

from transferkit.client import AsyncClient
from transferkit.identifiers import SipAddress
from transferkit.provider.adapter import Submission
from transferkit.provider.deadline import Deadline
from transferkit.provider.results import Rejected, Submitted
from transferkit.provider.secret import Secret
from transferkit.requests import Call, Transfer

pytestmark = pytest.mark.heavy


@pytest.fixture
async def application(pbx, mode):
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as started:
        yield started


@pytest.fixture
async def adapter(pbx, mode):
    settings = AsteriskSettings(
        base_url=pbx.ari_url, password=Secret(value=PASSWORD), mode=mode, endpoint="peer"
    )
    adapter = AsteriskAdapter(settings)
    yield adapter
    await adapter.aclose()


def submission_of(call, agent):
    now = datetime.now(UTC)
    return Submission(
        id=str(uuid4()),
        request=Transfer(call=Call("asterisk", call), to=SipAddress(agent.uri)),
        first_sent_at=now,
        deadline=Deadline(now + timedelta(seconds=30)),
    )


async def test_a_repetition_while_the_target_rings_executes_nothing(
    application, adapter, mode, telephone, target
):
    agent = target("answer", rings=2)
    telephone().dial(application.pbx.sip_uri("100"))
    call = await application.answered()
    submission = submission_of(call, agent)
    results = [await adapter.submit(submission)]
    await application.until(lambda: agent.received("INVITE"), "the target rings")
    results += [await adapter.submit(submission), await adapter.submit(submission)]
    assert [(type(result), result.status) for result in results] == [
        (Submitted, 204),
        (Submitted, 409),
        (Submitted, 409),
    ]
    await application.until(lambda: agent.received("ACK"), "the target answers")
    assert agent.received("INVITE") == 1
    assert len(application.referred_to()) == (1 if mode == "refer" else 0)


async def test_a_repetition_after_the_end_executes_nothing(application, adapter, telephone, target, mode):
    agent = target("refuse", status="486 Busy Here")
    telephone().dial(application.pbx.sip_uri("100"))
    call = await application.answered()
    submission = submission_of(call, agent)
    assert isinstance(await adapter.submit(submission), Submitted)
    returned = f"channels/{call}/ring"  # only a channel in Stasis takes this
    await application.until(lambda: application.pbx.ari("POST", returned).is_success, "the call is back")
    assert isinstance(await adapter.submit(submission), Submitted)
    await application.until(
        lambda: application.pbx.ari("POST", returned).is_success, "the call is back again"
    )
    assert agent.received("INVITE") == 1
    assert len(application.referred_to()) == (1 if mode == "refer" else 0)


async def test_a_second_transfer_of_a_call_that_is_being_transferred_is_rejected(
    application, adapter, telephone, target
):
    agent, other = target("ring"), target("answer")
    telephone().dial(application.pbx.sip_uri("100"))
    call = await application.answered()
    assert isinstance(await adapter.submit(submission_of(call, agent)), Submitted)
    await application.until(lambda: agent.received("INVITE"), "the target rings")
    second = await adapter.submit(submission_of(call, other))
    assert isinstance(second, Rejected)
    assert second.result.code == 409
    assert other.received("INVITE") == 0
