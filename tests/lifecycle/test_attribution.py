"""Which transfer a verdict belongs to: by address, by operation context, by exclusion."""

import pytest
from support.lifecycle import (
    ACCEPTED,
    ACCEPTED_AND_SUCCEEDED,
    BUSY,
    DEADLINE,
    ENDED,
    FAILED,
    GAP,
    GRACE,
    OWN_CONTEXT,
    STARTED,
    SUCCEEDED,
    SUCCEEDED_AND_ENDED,
    THROTTLED,
    Story,
    kinds,
    requested,
    started,
    submitted,
)

from transferkit._lifecycle import Replaced, Work
from transferkit.events import Basis, CallParticipants, Evidence, FailureReason, Verdict
from transferkit.provider.facts import RequestKind
from transferkit.provider.results import Presence, Submitted

# --- address, context, exclusion --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fact", "transfer_id"),
    [
        ({}, "t2"),
        ({"transfer_id": "t2"}, "t2"),
        ({"transfer_id": "t1"}, "t1"),
        ({"transfer_id": "unknown"}, None),
        ({"echoes_context": True, "context": "case 2"}, "t2"),
        ({"echoes_context": True, "context": "case 1"}, "t1"),
        ({"echoes_context": True, "context": "unknown"}, None),
        ({"echoes_context": True}, None),
        ({"context": "case 1"}, "t2"),
        ({"transfer_id": "t2", "echoes_context": True, "context": "case 1"}, "t2"),
        ({"transfer_id": "t1", "echoes_context": True, "context": "case 2"}, "t1"),
    ],
    ids=str,
)
def test_a_verdict_is_attributed_by_address_then_by_context_then_by_exclusion(fact, transfer_id):
    story = Story()
    story.request("t1", operation_context="case 1")
    story.receive(*FAILED, transfer_id="t1")
    story.request("t2", operation_context="case 2")
    story.answer(Submitted())
    (event,) = story.receive(*SUCCEEDED, **fact).events
    assert event.transfer_id == transfer_id
    if transfer_id == "t2":
        assert story.outcome.kind == "transfer.completed"
    else:
        late = Verdict.SUCCEEDED if transfer_id else None
        assert (event.kind, event.late_verdict) == ("provider.other", late)
        assert story.state.open.id == "t2"


def test_started_and_accepted_of_another_transfer_do_not_change_this_one():
    story = requested()
    story.receive(*STARTED, transfer_id="t0")
    story.receive(*ACCEPTED, echoes_context=True, context="unknown")
    assert kinds(story) == ["requested", "provider.other", "provider.other"]
    assert Work.SUBMIT in story.due


@pytest.mark.parametrize(
    "fact", [{}, {"transfer_id": "t1"}, {"echoes_context": True, "context": "the call's own"}], ids=str
)
def test_the_end_of_the_call_affects_the_open_transfer_whatever_transfer_it_names(fact):
    story = started()
    story.receive(*ENDED, **fact)
    assert Work.GRACE in story.due


@pytest.mark.parametrize(
    ("fact", "transfer_id"),
    [
        ({}, "t2"),
        ({"transfer_id": "t1"}, "t1"),
        ({"echoes_context": True, "context": "case 1"}, "t1"),
        ({"echoes_context": True, "context": "unknown"}, None),
    ],
    ids=str,
)
def test_a_late_verdict_that_names_no_transfer_is_attributed_to_the_last_one(fact, transfer_id):
    story = Story()
    for number in (1, 2):
        story.request(f"t{number}", operation_context=f"case {number}")
        story.receive(*FAILED)
    (event,) = story.receive(*SUCCEEDED, **fact).events
    assert event.transfer_id == transfer_id


def test_a_verdict_of_a_call_without_transfers_has_no_transfer_id():
    story = Story()
    (event,) = story.receive(*SUCCEEDED).events
    assert (event.kind, event.transfer_id, event.late_verdict) == ("provider.other", None, None)


# --- own callback URIs ------------------------------------------------------------------------------


def with_own_callback_uri(**fields):
    """A submitted transfer with a callback URI of its own."""
    return submitted(callback_uri="https://app.example.com/acs/t1", **fields)


@pytest.mark.parametrize("signals", [SUCCEEDED, FAILED, ACCEPTED_AND_SUCCEEDED])
@pytest.mark.parametrize("fact", [{"echoes_context": True}, OWN_CONTEXT], ids=["no context", "its context"])
def test_a_transfer_with_its_own_callback_uri_accepts_verdicts_only_there(signals, fact):
    story = with_own_callback_uri()
    (event,) = story.receive(*signals, **fact).events
    assert (event.kind, event.transfer_id) == ("provider.other", None)
    assert Work.INSPECT in story.due
    story.receive(*FAILED, transfer_id="t1", result=BUSY)
    assert (story.outcome.basis, story.outcome.reason) == (Basis.STATED, FailureReason.BUSY)


def test_the_callback_uri_of_another_transfer_is_not_an_own_callback_uri():
    story = submitted(callback_uri="https://app.example.com/acs/t0")
    story.receive(*SUCCEEDED, **OWN_CONTEXT)
    assert kinds(story)[-1] == "completed"


@pytest.mark.parametrize("presence", [Presence.CONNECTED, Presence.GONE, Presence.UNKNOWN])
def test_an_unattributed_verdict_is_the_evidence_of_an_expired_transfer(presence):
    story = submitted(operation_context="case 7")
    story.receive(*SUCCEEDED, echoes_context=True, context=None)
    story.wait_until(DEADLINE)
    story.reach(Work.DEADLINE)
    for _ in range(3):
        story.wait(GAP)
        story.inspect(presence)
    assert story.outcome.evidence is Evidence.UNATTRIBUTED_VERDICT
    alive = {Presence.CONNECTED: True, Presence.GONE: False, Presence.UNKNOWN: None}
    assert story.outcome.call_alive is alive[presence]


def test_a_call_end_after_an_unattributed_success_expires_the_transfer():
    story = submitted()
    story.receive(*FAILED, echoes_context=True)
    story.receive(*SUCCEEDED, echoes_context=True)
    story.receive(*FAILED, echoes_context=True)
    story.receive(*ENDED)
    story.wait(GRACE)
    story.reach(Work.GRACE)
    assert (story.outcome.kind, story.outcome.call_alive) == ("transfer.expired", False)


# --- operation contexts -----------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, ""])
def test_a_transfer_without_an_operation_context_is_identified_by_its_id(given):
    story = submitted(operation_context=given)
    story.receive(*SUCCEEDED, **OWN_CONTEXT)
    assert kinds(story)[-1] == "completed"
    assert story.outcome.operation_context == given


def test_events_have_the_operation_context_as_the_application_gave_it():
    story = submitted()
    story.receive(*FAILED, **OWN_CONTEXT)
    (event,) = story.receive(*SUCCEEDED, **OWN_CONTEXT).events
    assert (event.transfer_id, event.operation_context) == ("t1", None)
    (event,) = story.receive(*SUCCEEDED, echoes_context=True, context="unknown").events
    assert event.operation_context == "unknown"


def test_events_before_the_verdict_have_the_operation_context_as_given():
    story = requested()
    story.answer(THROTTLED)
    (event,) = story.receive(event=CallParticipants, **OWN_CONTEXT).events
    assert event.operation_context is None


# --- the consultation leg of an attended transfer ---------------------------------------------------


def test_a_verdict_on_a_consultation_leg_may_belong_to_the_attended_transfer():
    story = Story()
    story.apply(Replaced(at=story.now, transfer_id="attended"))
    story.request("t1")
    story.answer(Submitted())
    story.receive(*SUCCEEDED_AND_ENDED, operation=RequestKind.TRANSFER)
    assert (story.outcome.kind, story.outcome.basis) == ("transfer.completed", Basis.INFERRED)
