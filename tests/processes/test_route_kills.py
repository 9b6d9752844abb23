"""`kill -9` at random moments of routes, with the emulators of both providers.

Each caller is routed to several targets, blindly or with ring timeouts, and one application after another is
killed and started again. At the end, every outcome is compared with what the emulators executed.
"""

from uuid import uuid4

import pytest
from attrs import define, field
from support.kills import ENDED, report, trial_of

from transferkit import RouteAttempt, parse_identifier
from transferkit.testing import scenario

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")

pytestmark = pytest.mark.heavy

TARGETS = ("answers", "slow", "busy", "busy", "declined", "declined", "not_found", "caller_leaves", "silent")
RINGS = ("answers", "slow", "busy", "declined", "hangs_up", "join_fails", "join_silent", "manual")
CONTINUES = {"busy", "declined", "no_answer", "unreachable", "target_not_found"}


@define
class Asked:
    """A requested route, and its id as soon as that is known."""

    provider: str
    call: str
    attempts: list
    key: str = field(factory=lambda: str(uuid4()))
    id: str | None = None


def some_attempt(chance):
    """A target and its ring timeout, for the wire of the test."""
    if chance.random() < 0.5:
        return scenario(chance.choice(TARGETS)).teams_user.raw_id, None
    return scenario(chance.choice(RINGS)).teams_user.raw_id, chance.choice([0.3, 5])


async def route(trial):
    """Have a caller routed, and wait for the outcome."""
    attempts = [some_attempt(trial.chance) for _ in range(trial.chance.randint(1, 4))]
    asked = Asked(*trial.place_call(), attempts)
    trial.asked.append(asked)
    body = {"provider": asked.provider, "call": asked.call, "attempts": attempts, "key": asked.key}
    asked.id = await trial.reply_with("id", "POST", "/route", **body)
    await trial.reply_with("kind", "GET", f"/outcome/{asked.id}")


@pytest.mark.parametrize("kept", ["sqlite", "postgres"])
async def test_killed_processes_repeat_and_skip_no_attempt(kept, request, nursery, tmp_path, capsys):
    async with trial_of(kept, request, nursery, tmp_path, "routes") as trial:
        await trial.run(lambda: route(trial))
        outcomes = await check(trial)
    report(capsys, kept, outcomes)


async def check(trial):
    """Each route has one outcome, and its attempts are those requested, in order, executed once at most."""
    states, named, outcomes, calls_placed = trial.states(), set(), [], 0
    for asked, events, outcome in await trial.results():
        outcomes.append(outcome)
        made = [event for event in events if isinstance(event, RouteAttempt)]
        targets = [parse_identifier(to) for to, _ in asked.attempts]
        assert [event.target for event in made] == targets[: len(made)]
        assert outcome.number == len(made)
        assert len(outcome.failures) in {len(made), len(made) - 1}
        assert all(failure.reason in CONTINUES for failure in outcome.failures[: len(made) - 1])
        blind = [ring_timeout is None for _, ring_timeout in asked.attempts[: len(made)]]
        executed = trial.emulated.running[asked.provider].executions(asked.call)
        agents, joins = consultations(events, made)
        assert executed <= sum(blind) + joins, "an attempt was executed twice"
        calls_placed += len(made) - sum(blind)
        alive = states[asked.call] not in ENDED
        match outcome.kind:
            case "route.completed":
                assert outcome.target == targets[len(made) - 1]
                named |= agents
            case "route.returned":
                assert len(made) == len(asked.attempts)
                assert alive
            case "route.failed":
                assert outcome.call_alive in {None, alive}
        named.add(asked.call)
    assert len(states) <= len(trial.asked) + calls_placed, "an agent was called twice"
    trial.check_left_calls(named, outcomes)
    return outcomes


def consultations(events, made):
    """The calls to the target of the last attempt, who talks to the caller if the route completed, and how
    many attempts were to be joined with the caller, which the emulators count too.
    """
    ids = {event.attempt_id for event in made}
    joins = sum(event.kind == "consultation.completing" for event in events if event.transfer_id in ids)
    last = made[-1].attempt_id
    return {getattr(event, "agent_call", None) for event in events if event.transfer_id == last}, joins
