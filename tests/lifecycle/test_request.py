"""How a request starts the life cycle."""

from support.lifecycle import AGENT, CALLER, START, VOICEMAIL, Story, redirect_requested, requested, seconds

from transferkit._lifecycle import Lease, Work
from transferkit.events import CallConnected, CallParticipants
from transferkit.provider.facts import Delivery, RequestKind
from transferkit.requests import Call, Transfer


def test_a_request_is_recorded_as_requested_event():
    story = Story()
    decision = story.request(transferee=CALLER, operation_context="case 42", dropped=("region",))
    (event,) = decision.events
    assert event.kind == "transfer.requested"
    assert (event.transfer_id, event.operation_context, event.time) == ("t1", "case 42", START)
    assert (event.targets, event.transferee, event.dropped) == ((AGENT,), CALLER, ("region",))
    assert [opened.id for opened in decision.opened] == ["t1"]
    assert decision.outcomes == ()


def test_a_request_sets_a_leased_submission_and_an_unleased_deadline():
    story = Story()
    decision = story.request(deadline=60)
    submit, deadline = decision.due
    assert (submit.work, submit.at, submit.lease) == (Work.SUBMIT, START, Lease("me", START + seconds(90)))
    assert (deadline.work, deadline.at, deadline.lease) == (Work.DEADLINE, START + seconds(60), None)


def test_a_request_starts_attempt_1():
    progress = requested().state.open
    assert (progress.attempts, progress.in_flight, progress.first_sent_at) == (1, True, START)


def test_a_redirect_is_published_with_redirect_events():
    story = redirect_requested(to=[AGENT, VOICEMAIL])
    assert story.last.kind == "redirect.requested"
    assert story.last.targets == (AGENT, VOICEMAIL)
    assert story.state.open.kind is RequestKind.REDIRECT


def test_the_tenant_of_a_callback_is_kept_with_the_call():
    story = Story()
    story.receive(event=CallConnected, tenant_id="from a callback")
    story.receive(event=CallParticipants)
    story.request()
    assert story.state.tenant_id == "from a callback"


def test_the_tenant_of_a_request_replaces_that_of_a_callback():
    story = Story()
    story.receive(event=CallConnected, tenant_id="before")
    story.request(request=Transfer(call=Call("fake", "leg", tenant_id="named"), to=AGENT))
    assert story.state.tenant_id == "named"


def test_a_repeated_delivery_does_not_change_the_tenant():
    story = requested()
    story.receive(delivery=Delivery("d"), tenant_id="old")
    story.receive(tenant_id="new")
    story.receive(delivery=Delivery("d"), tenant_id="old")
    assert story.state.tenant_id == "new"
