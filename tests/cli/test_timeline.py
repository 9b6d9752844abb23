"""Events as text for people."""

from transferkit import Basis, FailureReason, ProviderOther, TransferCompleted, TransferFailed, Verdict
from transferkit.cli.commands.events import event_line
from transferkit.cli.timeline import detail, timeline
from transferkit.testing.contracts.store_inputs import AT

FAILED = TransferFailed(
    time=AT,
    provider="fake",
    call_id="call-1",
    basis=Basis.STATED,
    reason=FailureReason.TARGET_NOT_FOUND,
    message="no such\x1b[2J number:\n+14255550186",
    advice="Check the number.",
    request_id="11111111-2222-4333-8444-555555555555",
)
CAUSES = (
    "provider message: no such [2J number: +*********86",
    "what to do: Check the number.",
    "request id: 11111111-2222-4333-8444-555555555555",
)


def test_the_causes_of_a_failure_follow_it_without_numbers_and_control_characters():
    head, *causes = (line.plain for line in timeline([FAILED]))
    assert "target_not_found, stated" in head
    assert [line.strip() for line in causes] == list(CAUSES)


def test_an_event_line_ends_with_the_causes_of_the_failure():
    detail_of_failure = "; ".join(
        ["target_not_found, stated, it is not known whether the caller is still on the call", *CAUSES]
    )
    assert event_line(FAILED).endswith(detail_of_failure)


def test_a_late_verdict_is_shown_as_one_that_changes_nothing():
    late = ProviderOther(time=AT, provider="fake", call_id="call-1", late_verdict=Verdict.SUCCEEDED)
    assert "after the outcome, which does not change" in detail(late)


def test_an_outcome_without_an_elapsed_time_shows_none():
    outcome = TransferCompleted(time=AT, provider="fake", call_id="call-1", basis=Basis.STATED)
    assert detail(outcome) == "stated"
