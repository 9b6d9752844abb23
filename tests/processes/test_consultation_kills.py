"""`kill -9` at random moments of consultations, with the emulators of both providers.

Callers wait while agents are called, and one application after another is killed and started again. At the
end, every outcome is compared with the calls of the emulators.
"""

from uuid import uuid4

import pytest
from attrs import define, field
from support.kills import ENDED, report, trial_of

from transferkit.testing import scenario

pytest.importorskip("transferkit_acs")
pytest.importorskip("transferkit_graph")

pytestmark = pytest.mark.heavy

AGENTS = ("answers", "slow", "busy", "declined", "hangs_up", "join_fails", "join_silent", "manual")
HOLDS = 0.2
"""How many callers are held. A hold that a kill cuts off is not repeated; the agent is not called then."""


@define
class Asked:
    """A requested consultation, and its id as soon as that is known."""

    provider: str
    call: str
    key: str = field(factory=lambda: str(uuid4()))
    id: str | None = None


async def consult(trial):
    """Have a caller wait for an agent, and decide until there is an outcome."""
    asked = Asked(*trial.place_call())
    trial.asked.append(asked)
    agent, word = scenario(trial.chance.choice(AGENTS)), trial.chance.choice(["complete", "cancel"])
    body = {"provider": asked.provider, "call": asked.call, "to": agent.teams_user.raw_id, "key": asked.key}
    held = trial.chance.random() < HOLDS
    asked.id = await trial.reply_with("id", "POST", "/consult", **body, hold=held)
    await trial.reply_with("kind", "POST", f"/decide/{asked.id}/{word}")


@pytest.mark.parametrize("kept", ["sqlite", "postgres"])
async def test_killed_processes_leave_no_call_that_the_outcome_does_not_name(
    kept, request, nursery, tmp_path, capsys
):
    async with trial_of(kept, request, nursery, tmp_path, "consultations") as trial:
        await trial.run(lambda: consult(trial))
        outcomes = await check(trial)
    report(capsys, kept, outcomes)


async def check(trial):
    """Each consultation has one outcome, each agent was called once at most, and no call is left unnamed."""
    states, named, outcomes = trial.states(), set(), []
    for asked, _, outcome in await trial.results():
        outcomes.append(outcome)
        named |= {asked.call, outcome.agent_call}
        if outcome.kind == "consultation.cancelled":
            assert states[asked.call] not in ENDED
            assert states[outcome.agent_call] in ENDED
        if getattr(outcome, "call_alive", None):
            assert states[asked.call] not in ENDED
        if getattr(outcome, "call_alive", None) is False:
            assert states[asked.call] in ENDED
        if outcome.kind == "consultation.failed" and outcome.agent_call and not outcome.left:
            assert states[outcome.agent_call] in ENDED
    assert len(states) <= 2 * len(trial.asked), "an agent was called twice"
    trial.check_left_calls(named, outcomes)
    return outcomes
