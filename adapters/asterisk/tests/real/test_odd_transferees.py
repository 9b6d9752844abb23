"""What a caller's side reports about a REFER is not always an outcome: mode `refer` with scripted callers."""

import pytest
from sip_endpoints.application import configuration, running
from sip_endpoints.sipp import Notify

from transferkit.client import AsyncClient
from transferkit.events import Basis, FailureReason, TransferCompleted, TransferExpired, TransferFailed
from transferkit.identifiers import SipAddress

pytestmark = pytest.mark.heavy

TRYING = Notify("SIP/2.0 100 Trying")
RINGING = Notify("SIP/2.0 180 Ringing")
ENDED = "terminated;reason=noresource"
NOBODY = SipAddress("sip:agent@127.0.0.1:9")


@pytest.fixture
async def application(pbx):
    async with running(AsyncClient.from_config(configuration(pbx, mode="refer")), pbx) as started:
        yield started


@pytest.fixture
def transferred(application, transferee):
    """Transfers a scripted caller, and returns its call id and the outcome."""

    async def call(*, deadline=20, **behaviour):
        transferee(application.pbx.sip_uri("100"), **behaviour)
        call_id = await application.answered()
        transfer = await application.client.transfer(call_id, to=NOBODY, deadline=deadline)
        outcome = await transfer.outcome(timeout=25)
        assert await application.outcomes(transfer.id) == [outcome]
        return call_id, outcome

    return call


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("603 Decline", FailureReason.DECLINED),
        ("405 Method Not Allowed", FailureReason.UNSUPPORTED),
    ],
)
async def test_a_caller_that_rejects_the_refer_fails_the_transfer(transferred, application, answer, reason):
    call_id, outcome = await transferred(answer=answer)
    assert (type(outcome), outcome.basis, outcome.reason) == (TransferFailed, Basis.STATED, reason)
    assert (outcome.code, outcome.call_alive) == (int(answer[:3]), True)
    assert application.pbx.is_up(call_id)


async def test_a_caller_that_does_not_know_the_call_of_the_refer_is_gone(transferred, application):
    call_id, outcome = await transferred(answer="481 Call/Transaction Does Not Exist")
    # Asterisk hangs up at the same time, and which one comes first decides whether it reports the status.
    assert isinstance(outcome, (TransferFailed, TransferExpired))
    assert outcome.call_alive is False
    assert not application.pbx.is_up(call_id)


@pytest.mark.parametrize(
    "notify",
    [
        pytest.param(Notify("SIP/2.0 100 Trying", "terminated;reason=timeout"), id="terminated after 100"),
        pytest.param(Notify("SIP/2.0 180 Ringing", ENDED), id="terminated after 180"),
        pytest.param(Notify("the agent is busy", ENDED), id="not a status line"),
        pytest.param(Notify("SIP/2.0 486 Busy", ENDED, "text/plain"), id="another content type"),
        pytest.param(Notify("", ENDED), id="no body"),
    ],
)
async def test_a_refer_that_ends_without_a_final_status_proves_nothing(transferred, notify):
    _, outcome = await transferred(notifies=(TRYING, notify), deadline=3)
    assert (type(outcome), outcome.basis) == (TransferExpired, Basis.INFERRED)


@pytest.mark.parametrize("notifies", [(), (TRYING,), (TRYING, RINGING)], ids=len)
async def test_a_caller_that_reports_no_end_leaves_the_transfer_to_its_deadline(transferred, notifies):
    _, outcome = await transferred(notifies=notifies, deadline=3)
    assert (type(outcome), outcome.basis) == (TransferExpired, Basis.INFERRED)


@pytest.mark.parametrize("notifies", [(), (TRYING,), (TRYING, RINGING)], ids=len)
async def test_a_caller_that_hangs_up_without_a_report_is_not_known_to_be_transferred(transferred, notifies):
    _, outcome = await transferred(notifies=notifies, hangs_up=True)
    assert outcome.basis is not Basis.STATED
    assert isinstance(outcome, TransferExpired)


async def test_a_caller_that_hangs_up_after_the_report_of_success_completes_the_transfer(transferred):
    _, outcome = await transferred(notifies=(TRYING, Notify("SIP/2.0 200 OK", ENDED)), hangs_up=True)
    assert (type(outcome), outcome.basis) == (TransferCompleted, Basis.STATED)


async def test_a_report_of_success_counts_although_the_subscription_goes_on(transferred):
    _, outcome = await transferred(notifies=(TRYING, Notify("SIP/2.0 200 OK")))
    assert (type(outcome), outcome.basis) == (TransferCompleted, Basis.STATED)


async def test_the_first_final_status_counts(transferred):
    busy, late = Notify("SIP/2.0 486 Busy Here"), Notify("SIP/2.0 200 OK", ENDED)
    _, outcome = await transferred(notifies=(TRYING, busy, late))
    assert (type(outcome), outcome.reason) == (TransferFailed, FailureReason.BUSY)
