"""What a taken submission keeps of its HTTP answer, for logs and spans."""

from datetime import UTC, datetime

from transferkit_acs.answers import Reply, answer_of

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_taken_submission_keeps_status_and_what_support_asks_for():
    reply = Reply(status=202, headers={"x-microsoft-skype-chain-id": "chain"})
    taken = answer_of(reply, now=NOW)
    assert (taken.status, taken.correlation_id, taken.request_id) == (202, "chain", "chain")
