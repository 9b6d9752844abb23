"""How the emulators' page interprets requests and callbacks."""

import pytest

pytest.importorskip("starlette")

from transferkit.emulators import RecordedRequest, SentCallback
from transferkit.emulators.page import diagram
from transferkit.emulators.page.reported import ReportedEvent, reported_events
from transferkit.emulators.page.stories import Line
from transferkit.provider.facts import Signal
from transferkit.testing.contracts.store_inputs import AT

BODY = {"id": "1", "call_id": "call-1", "time": AT.isoformat(), "signals": ["failed"], "reason": "busy"}


def callback(body):
    return SentCallback(url="http://x", body=body, status=200, at=AT)


def test_a_callback_of_a_provider_without_an_adapter_reports_no_events():
    assert reported_events("nobody", callback(BODY)) == ()


def test_a_callback_that_cannot_be_decoded_is_reported_as_malformed():
    assert [event.kind for event in reported_events("fake", callback({"id": "1"}))] == ["malformed"]


def test_only_a_successful_request_counts_as_executed():
    request = RecordedRequest(method="POST", path="/x", query={}, headers={}, body=None, status=200, at=AT)
    assert Line(provider="fake", number=1, record=request).executed
    assert not Line(provider="fake", number=1, record=callback(BODY)).executed


def test_the_diagram_shows_the_reason_of_a_failure_if_it_is_known():
    events = reported_events("fake", callback(BODY))
    assert diagram._failure(Line(provider="fake", number=1, record=callback(BODY), events=events)) == "busy"
    events = (ReportedEvent(kind="x", signal=Signal.FAILED),)
    assert diagram._failure(Line(provider="fake", number=1, record=callback(BODY), events=events)) == "fails"
