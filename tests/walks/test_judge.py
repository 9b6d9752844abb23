"""The judge finds wrong outcomes."""

import logging
from types import SimpleNamespace

import pytest
from provider_walks.clock import START
from provider_walks.figures import walk_many
from provider_walks.judge import judge
from provider_walks.provider import Execution, Handling, Inspection, Leg, Order, Sending
from provider_walks.walk import RequestedTransfer

from transferkit import Basis, FailureReason, TransferCompleted, TransferExpired, TransferFailed
from transferkit.events import Evidence


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def common(basis):
    return {
        "id": "event",
        "time": START,
        "provider": "acs",
        "call_id": "call",
        "transfer_id": "mine",
        "basis": basis,
    }


def completed(basis=Basis.STATED):
    return TransferCompleted(**common(basis))


def failed(basis=Basis.STATED, *, call_alive=None):
    return TransferFailed(**common(basis), reason=FailureReason.BUSY, call_alive=call_alive)


def expired():
    return TransferExpired(**common(Basis.INFERRED), evidence=Evidence.SILENCE)


class Story:
    """A walk with one transfer that was requested at 0 and has outcomes at the given times."""

    def __init__(self, *outcomes, ended_at=None, end_delivered_at=None):
        self.leg = Leg("call", "/acs", group=False, ended_at=ended_at, end_delivered_at=end_delivered_at)
        self.order = Order(owner="mine", leg=self.leg, address="/acs", repeat_id="mine")
        self.transfers = RequestedTransfer("mine", 0, self.leg, 0.0, 100.0, list(outcomes))
        self.executions, self.sendings, self.inspections = [], [], []

    def executed(self, started_at, ended_at=None, *, succeeded=None, owner="mine"):
        order = Order(owner=owner, leg=self.leg, address="/acs", repeat_id=owner)
        self.executions.append(Execution(order, started_at, ended_at=ended_at, succeeded=succeeded))
        return self

    def sent(self, at, *, decided_at=None, repeat_id="mine"):
        order = Order(owner="mine", leg=self.leg, address="/acs", repeat_id=repeat_id)
        self.sendings.append(
            Sending(order, Handling.ANSWERED, at, decided_at=decided_at, answered_at=decided_at)
        )
        return self

    def queried(self, at):
        self.inspections.append(Inspection(self.leg, at))
        return self

    def verdict(self):
        provider = SimpleNamespace(
            executions=self.executions, sendings=self.sendings, inspections=self.inspections
        )
        return judge(
            SimpleNamespace(
                transfers={"mine": self.transfers},
                provider=provider,
                network=SimpleNamespace(elements=[], misleading=0),
                conditions=SimpleNamespace(calm=False),
                problems=[],
            )
        )

    @property
    def kinds(self):
        return [fault.kind for fault in self.verdict().faults]


@pytest.mark.parametrize(
    "story",
    [
        Story((9.0, completed())).executed(1.0, 8.0, succeeded=True),
        Story((9.0, failed())).executed(1.0, 8.0, succeeded=False),
        Story((9.0, failed())),
        Story((9.0, failed())).executed(1.0, 8.0, succeeded=True, owner="another"),
        Story((9.0, expired())).executed(1.0, 8.0, succeeded=True),
    ],
)
def test_a_true_outcome_is_not_a_fault(story):
    assert story.kinds == []


@pytest.mark.parametrize(
    ("story", "kind"),
    [
        (Story((9.0, completed())), "stated completed, never executed"),
        (
            Story((9.0, completed())).executed(1.0, 8.0, succeeded=True, owner="another"),
            "stated completed, never executed",
        ),
        (Story((9.0, completed())).executed(1.0, 8.0, succeeded=False), "stated completed, failed"),
        (Story((9.0, completed())).executed(1.0, 12.0, succeeded=True), "stated completed, still running"),
        (
            Story((9.0, completed())).executed(11.0, 12.0, succeeded=True),
            "stated completed, not executed yet",
        ),
        (Story((9.0, failed())).executed(1.0, 8.0, succeeded=True), "stated failed, succeeded"),
        (Story((9.0, failed())).executed(1.0, 12.0, succeeded=False), "stated failed, still running"),
        (Story((9.0, failed())).executed(11.0, 12.0, succeeded=False), "stated failed, executed later"),
    ],
)
def test_a_stated_outcome_that_is_not_true_is_a_fault(story, kind):
    assert story.kinds == [kind]


def test_an_inferred_outcome_that_is_not_true_is_counted():
    verdict = Story((9.0, failed(Basis.INFERRED))).executed(1.0, 8.0, succeeded=True).verdict()
    assert verdict.faults == []
    assert verdict.counts["wrong inferred"] == 1


def test_a_second_outcome_is_a_fault():
    assert Story((9.0, expired()), (11.0, failed())).kinds == ["several outcomes"]


def test_a_second_execution_is_a_fault():
    twice = Story((9.0, failed())).executed(1.0, 2.0, succeeded=False).executed(3.0, 4.0, succeeded=False)
    assert twice.kinds == ["executed twice"]


def test_a_request_after_the_outcome_is_a_fault():
    assert Story((9.0, expired())).sent(1.0).sent(9.5).kinds == ["sent after its own outcome"]


def test_a_second_repeatability_id_is_a_fault():
    assert Story((9.0, expired())).sent(1.0).sent(2.0, repeat_id="new").kinds == ["another repeatability id"]


def test_call_alive_false_of_a_living_call_is_a_fault():
    assert Story((9.0, failed(call_alive=False))).kinds == ["call_alive False of a living call"]
    assert Story((9.0, failed(call_alive=False)), ended_at=8.0).kinds == []


def test_call_alive_true_is_not_a_fault_if_the_call_was_alive_when_it_was_observed():
    assert Story((9.0, failed(call_alive=True)), ended_at=8.0).sent(1.0, decided_at=5.0).kinds == []
    assert Story((9.0, failed(call_alive=True)), ended_at=8.0).queried(7.0).kinds == []


def test_call_alive_true_is_a_fault_if_the_living_call_was_not_observed():
    late = Story((9.0, failed(call_alive=True)), ended_at=4.0).sent(1.0, decided_at=5.0).queried(6.0)
    assert late.kinds == ["call_alive True of a dead call"]


def test_call_alive_true_is_a_fault_after_the_end_of_the_call_was_delivered():
    ended = Story((9.0, failed(call_alive=True)), ended_at=8.0, end_delivered_at=9.0).queried(7.0)
    assert ended.kinds == ["call_alive True after the call's end was delivered"]


@pytest.mark.parametrize(
    "name", ["acs own address, unique context", "acs call address, no context", "graph one to one"]
)
def test_the_judge_finds_the_faults_of_a_client_that_trusts_all_verdicts(name):
    assert walk_many(name, range(120), trusts_all_verdicts=True).wrong
