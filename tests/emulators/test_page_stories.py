"""How the emulators' page interprets requests and callbacks."""

from datetime import timedelta

import pytest
from attrs import evolve

pytest.importorskip("starlette")

from support.emulated_provider import MinimalEmulator

from transferkit.emulators import Fault, RecordedRequest, SentCallback
from transferkit.emulators.page.diagram import draw
from transferkit.emulators.page.reported import reported_events
from transferkit.emulators.page.sections import Chapter, sections
from transferkit.emulators.page.stories import Line, Step, Story, lines, stories
from transferkit.testing import scenario
from transferkit.testing.contracts.store_inputs import AT

BODY = {"id": "1", "call_id": "call-0", "time": AT.isoformat(), "signals": ["failed"], "reason": "busy"}


def callback(body, *, after=0.0, status=200, fault=None):
    at = AT + timedelta(seconds=after)
    return SentCallback(url="http://x", body=body, status=status, at=at, fault=fault)


def request(to="answers", *, after=0.0, status=202, fault=None, call_id="call-0", method="POST"):
    return RecordedRequest(
        method=method,
        path=f"/calls/{call_id}/transfer" if method == "POST" else f"/calls/{call_id}",
        query={},
        headers={},
        body={"to": scenario(to).number.number},
        status=status,
        at=AT + timedelta(seconds=after),
        fault=fault,
    )


class FakeProvider(MinimalEmulator):
    """Its callbacks are decoded by the fake adapter."""

    name = "fake"


def emulator_with(*records, calls=1):
    emulator = FakeProvider()
    for _ in range(calls):
        emulator.place_call(callback_url="http://127.0.0.1:9/fake")
    for record in records:
        emulator.journal.add(record)
    return emulator


def stories_of(*records, calls=1):
    return stories(lines(emulator_with(*records, calls=calls)))


def drawn(story):
    return [(step.label, step.after) for step in story.steps]


def test_a_callback_of_a_provider_without_an_adapter_reports_no_events():
    assert reported_events("nobody", callback(BODY)) == ()


def test_a_callback_that_cannot_be_decoded_is_reported_as_malformed():
    assert [event.kind for event in reported_events("fake", callback({"id": "1"}))] == ["malformed"]


def test_only_a_successful_request_counts_as_executed():
    assert Line(provider="fake", number=1, record=request()).executed
    assert Line(provider="fake", number=1, record=request(status=0, fault="reset_after,match=x")).executed
    assert not Line(provider="fake", number=1, record=request(status=403)).executed
    assert not Line(provider="fake", number=1, record=callback(BODY)).executed


def test_a_story_has_a_title_an_outcome_and_the_steps_in_between():
    (story,) = stories_of(request("busy"), callback(BODY, after=0.5))
    assert (story.title, story.outcome, story.tone) == ("Transfer: the target is busy", "failed busy", "bad")
    assert story.lanes == ("application", "fake", "target")
    assert drawn(story) == [
        ("POST transfer", 0),
        ("rings", None),
        ("busy", 0.5),
        ("transfer.failed", None),
    ]


def test_a_failure_without_a_known_reason_is_drawn_as_a_failure():
    (story,) = stories_of(request(), callback({**BODY, "reason": None, "signals": ["failed"]}, after=1))
    assert story.outcome.startswith("failed")
    assert [step.tone for step in story.steps] == ["plain", "plain", "plain", "bad"]


def test_a_repeated_request_is_drawn_after_the_first_though_the_first_ends_later():
    repeated = request(after=1.0)
    first = request(fault="slow_after=2")  # recorded after its response, which was 2 s late
    (story,) = stories_of(repeated, first)
    assert drawn(story) == [("POST transfer", 0), ("rings", None), ("POST transfer", 1.0)]
    assert [step.note for step in story.steps] == ["202 · slow_after=2", "", "202"]


def test_no_time_is_negative_in_whatever_order_the_records_are_added():
    records = [request(), callback(BODY, after=0.2), request(after=0.1, method="GET")]
    (story,) = stories_of(*records[::-1])
    times = [step.after for step in story.steps if step.after is not None]
    assert times == sorted(times) == [0, 0.1, 0.2]


def test_the_newest_story_is_the_first_and_a_request_after_the_success_begins_another():
    done = {**BODY, "signals": ["succeeded"]}
    found = stories_of(request(), callback(done, after=1), request("busy", after=2))
    assert [story.title for story in found] == [
        "Transfer: the target is busy",
        "Transfer: the target answers",
    ]
    assert found[0].outcome == "no outcome reported"


def test_the_attempts_of_a_route_are_one_story():
    done = {**BODY, "id": "2", "signals": ["succeeded", "call_ended"]}
    (story,) = stories_of(request("busy"), callback(BODY, after=1), request(after=2), callback(done, after=3))
    assert story.title == "Route: the target is busy, then the target answers"
    assert (story.outcome, story.tone) == ("completed", "good")
    assert [label for label, _ in drawn(story)] == [
        "POST transfer",
        "rings",
        "busy",
        "transfer.failed",
        "POST transfer",
        "rings",
        "answers",
        "transfer.completed, call.ended",
    ]


def test_a_route_whose_last_attempt_has_no_outcome_has_none():
    (story,) = stories_of(request("busy"), callback(BODY, after=1), request("silent", after=2))
    assert story.title.startswith("Route: the target is busy, then ")
    assert story.outcome == "no outcome reported"


def test_a_request_that_names_two_calls_belongs_to_the_call_in_its_address():
    consultative = evolve(request(call_id="call-1"), body={"replaces": "call-0"})
    (story,) = stories_of(consultative, calls=2)
    assert story.call_id == "call-1"


def test_a_refused_request_is_a_story_that_was_not_executed():
    (story,) = stories_of(request(status=403))
    assert (story.outcome, story.tone) == ("not executed", "bad")
    assert drawn(story) == [("POST transfer", 0)]


def test_a_lost_callback_is_drawn_as_not_delivered():
    (story,) = stories_of(request(), callback(BODY, after=1, status=None, fault="lose,times=always"))
    assert story.steps[-1] == Step(
        start=1, end=0, label="callback", note="not delivered · lose", tone="bad", dashed=True, after=1
    )


def test_a_diagram_can_have_other_lanes_than_those_of_a_transfer():
    steps = (
        Step(start=0, end=1, label="hold", after=0.0),
        Step(start=1, end=3, label="rings", after=0.1),
        Step(start=2, end=0, label="hangs up", tone="bad", after=0.2),
    )
    story = Story(
        id="x",
        provider="acs",
        call_id="call-0",
        at=AT,
        title="Consultation",
        outcome="failed caller_left",
        tone="bad",
        lanes=("application", "acs", "caller", "agent"),
        steps=steps,
    )
    markup = draw(story)
    assert 'class="diagram lanes-4"' in markup
    assert 'class="arrow right from-1 to-3 plain"' in markup
    assert 'class="arrow left from-0 to-2 bad"' in markup
    assert "caller to application: " in markup


def test_stories_are_shown_under_the_chapter_in_which_they_began_side_by_side_per_provider():
    first, second = emulator_with(request("busy")), emulator_with(request(after=5))
    chapters = [Chapter(title="one", at=AT), Chapter(title="two", at=AT + timedelta(seconds=4))]
    shown = sections({"a": first, "b": second}, token="t", chapters=chapters)["stories"]
    two, one = shown.split("<h3>")[1:]
    assert two.startswith("two")
    assert one.startswith("one")
    assert (two.count("<details"), two.count("no request"), one.count("<details")) == (1, 1, 1)
    assert "the target is busy" in one


def test_equal_faults_are_counted_on_one_line():
    emulator = emulator_with()
    emulator.faults.add(*[Fault.parse("lose"), Fault.parse("duplicate,times=2")] * 80, Fault.parse("slow=2"))
    shown = sections({"fake": emulator}, token="t")["faults"]
    assert shown.count("<li>") == 3
    assert "80 times lose" in shown
    assert "80 times duplicate,times=2" in shown
    assert ">slow=2<" in shown


def test_the_wire_log_has_one_closed_group_for_each_call_and_one_for_the_rest():
    token = RecordedRequest(method="POST", path="/token", query={}, headers={}, body="x", status=200, at=AT)
    emulator = emulator_with(token, request(), callback(BODY, after=1), request(call_id="call-1"), calls=2)
    shown = sections({"fake": emulator}, token="t")["wire"]
    assert shown.count('class="log"') == 3
    assert "1 request, 1 callback" in shown
    assert "about no call" in shown
    assert " open" not in shown


def test_only_the_first_stories_of_a_column_are_open():
    records = [request(call_id=f"call-{number}", after=number) for number in range(5)]
    shown = sections({"fake": emulator_with(*records, calls=5)}, token="t")["stories"]
    assert (shown.count("<details"), shown.count(" open")) == (5, 3)
