"""Consultations of the blocking client."""

import pytest
from support.blocking import ANSWERS, CALL

from transferkit import (
    AgentNotConnected,
    Consultation,
    ConsultationAnswered,
    ConsultationCancelled,
    ConsultationCompleted,
    ConsultationDecided,
)
from transferkit.blocking import BlockingConsultationHandle
from transferkit.testing import scenario


def test_a_consultation_is_answered_and_completed(client):
    consultation = client.consult(CALL, to=ANSWERS, ring_timeout=25)
    assert isinstance(consultation, BlockingConsultationHandle)
    assert isinstance(consultation.answered(timeout=10), ConsultationAnswered)
    outcome = consultation.complete(timeout=10)
    assert isinstance(outcome, ConsultationCompleted)
    assert consultation.outcome() == outcome
    with pytest.raises(ConsultationDecided):
        client.consultation(consultation.id).cancel()


def test_a_submitted_consultation_is_cancelled(client):
    consultation = client.submit(Consultation(CALL, to=ANSWERS))
    consultation.answered(timeout=10)
    assert isinstance(client.get(consultation.id).cancel(timeout=10), ConsultationCancelled)


def test_a_consultation_that_is_not_answered_cannot_be_completed(client):
    consultation = client.consult(CALL, to=scenario("silent").number)
    with pytest.raises(AgentNotConnected):
        consultation.complete()
    with pytest.raises(TimeoutError):
        consultation.answered(timeout=0.01)
