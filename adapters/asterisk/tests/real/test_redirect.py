"""A call that is redirected before it is answered: SIP 302."""

import pytest
from sip_endpoints.application import configuration, running

from transferkit.client import AsyncClient
from transferkit.events import Basis, FailureReason, RedirectCompleted, RedirectFailed
from transferkit.identifiers import SipAddress

pytestmark = pytest.mark.heavy


@pytest.fixture
async def application(pbx, mode):
    async with running(AsyncClient.from_config(configuration(pbx, mode=mode)), pbx) as started:
        yield started


async def test_a_redirected_caller_calls_the_target(application, telephone, target):
    agent, caller = target("answer"), telephone()
    caller.dial(application.pbx.sip_uri("100"))
    redirect = await application.client.redirect(
        await application.incoming(), to=SipAddress(agent.uri), deadline=10
    )
    outcome = await redirect.outcome(timeout=15)
    assert (type(outcome), outcome.basis) == (RedirectCompleted, Basis.STATED)
    await application.until(lambda: agent.received("ACK") == 1, "the caller talks to the target")
    (moved,) = {message.header("Contact") for message in application.wire() if message.status == 302}
    assert moved.strip("<>") == agent.uri
    assert agent.received("INVITE") == 1


async def test_an_answered_call_is_not_redirected(application, telephone, target):
    """Asterisk would send a REFER for the redirect of an answered call."""
    agent, caller = target("answer"), telephone()
    caller.dial(application.pbx.sip_uri("100"))
    call = await application.answered()
    await application.until(lambda: application.pbx.is_up(call), "the call is answered")
    redirect = await application.client.redirect(call, to=SipAddress(agent.uri), deadline=10)
    outcome = await redirect.outcome(timeout=15)
    assert (type(outcome), outcome.basis) == (RedirectFailed, Basis.STATED)
    assert (outcome.reason, outcome.call_alive) == (FailureReason.CONFLICT, True)
    assert application.referred_to() == []
    assert agent.received("INVITE") == 0
