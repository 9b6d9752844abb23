"""What is published of the facts of callbacks, with which sequence numbers and ids."""

from uuid import NAMESPACE_URL, uuid5

import pytest
from support.lifecycle import (
    ACCEPTED_AND_SUCCEEDED,
    CALL_NOT_FOUND,
    ENDED,
    RETURNED,
    START,
    SUCCEEDED_AND_ENDED,
    Story,
    finished,
    kinds,
    redirect_requested,
    requested,
    seconds,
    started,
    submitted,
)

from transferkit._lifecycle import CallKey
from transferkit.events import CallConnected, CallParticipants, ProviderOther
from transferkit.provider.facts import Signal
from transferkit.provider.results import Submitted


def test_a_second_connected_is_published_as_provider_other():
    story = Story()
    story.receive(event=CallConnected)
    story.receive(event=CallConnected)
    assert kinds(story) == ["call.connected", "provider.other"]
    assert story.last.name == "call.connected"


def test_a_second_end_of_the_call_is_published_as_provider_other():
    story = Story()
    story.receive(*ENDED)
    story.receive(*ENDED)
    assert kinds(story) == ["call.ended", "provider.other"]
    assert story.last.name == "call.ended"


def test_a_connected_after_the_end_of_the_call_is_published_as_provider_other():
    story = Story()
    story.receive(*ENDED)
    story.receive(event=CallConnected)
    assert kinds(story) == ["call.ended", "provider.other"]


def test_a_late_connected_does_not_decide_a_transfer():
    story = started()
    story.receive(*RETURNED, event=CallConnected)
    assert kinds(story)[-1] == "call.connected"
    assert story.state.open


def test_a_provider_other_event_has_all_fields_of_the_callback():
    story = Story()
    for _ in range(2):
        story.receive(event=CallConnected, raw={"a": 1}, context="case 42")
    event = story.last
    assert (event.raw, event.correlation_id) == ({"a": 1}, "chain")
    assert (event.operation_context, event.time) == ("case 42", START - seconds(1))


def test_a_fact_without_signals_is_published_unchanged():
    story = submitted()
    story.receive(event=CallParticipants)
    story.receive(event=ProviderOther, raw={"type": "PlayCompleted"})
    assert kinds(story)[-2:] == ["call.participants", "provider.other"]
    assert story.last.transfer_id is None


@pytest.mark.parametrize("attribution", [{}, {"transfer_id": "t1"}, {"transfer_id": "unknown"}], ids=str)
@pytest.mark.parametrize(
    "signals", [(), *[(signal,) for signal in Signal], ACCEPTED_AND_SUCCEEDED, SUCCEEDED_AND_ENDED]
)
@pytest.mark.parametrize(
    "make", [Story, requested, submitted, started, redirect_requested, lambda: finished("failed")]
)
def test_every_delivery_is_published(make, signals, attribution):
    story = make()
    for number in range(3):
        body = {"number": number}
        decision = story.receive(*signals, raw=body, **attribution)
        assert body in [event.raw for event in decision.events]


def test_sequence_numbers_have_no_gap():
    story = started()
    story.receive(*ACCEPTED_AND_SUCCEEDED)
    story.receive(*ENDED)
    story.request("t2")
    assert [event.sequence for event in story.events] == list(range(1, len(story.events) + 1))


def test_an_event_id_is_derived_from_call_sequence_kind_and_time():
    first, again, other = (Story(call=CallKey("fake", name)) for name in ("leg", "leg", "other leg"))
    for story in (first, again, other):
        story.request()
        story.answer(Submitted())
    assert [event.id for event in first.events] == [event.id for event in again.events]
    assert len({event.id for event in [*first.events, *other.events]}) == 4
    for _ in range(50):
        first.receive()
    for number, event in enumerate(first.events, 1):
        name = f"transferkit:fake\nleg\n{number}\n{event.kind}\n{event.time.isoformat()}"
        assert event.id == str(uuid5(NAMESPACE_URL, name))


def test_event_ids_differ_after_a_memory_store_lost_its_content():
    """A process with a memory store was restarted during the call."""
    before, after = started(), Story()
    after.wait(60)
    after.request("t2")
    after.answer(CALL_NOT_FOUND)
    assert {event.id for event in before.events}.isdisjoint(event.id for event in after.events)


def test_calls_whose_ids_are_lone_surrogates_have_different_event_ids():
    one, other = (Story(call=CallKey("fake", half)) for half in ("\ud800", "\ud801"))
    for story in (one, other):
        story.receive()
    assert one.last.id != other.last.id
