"""The scenarios and their magic targets."""

import pytest

from transferkit import CommunicationUser, PhoneNumber, SipAddress, TeamsApp, TeamsUser
from transferkit.testing import SCENARIOS, Ending, scenario, scenario_for


def test_scenarios_have_unique_names_and_targets_and_cover_every_ending():
    names = [line.name for line in SCENARIOS]
    suffixes = [line.suffix for line in SCENARIOS]
    assert len(set(names)) == len(set(suffixes)) == len(SCENARIOS)
    assert {line.ending for line in SCENARIOS} == set(Ending)
    assert all(line.description for line in SCENARIOS)
    assert all(
        (line.reason is not None) == (line.ending in {Ending.FAILS, Ending.CALLER_LEAVES, Ending.REFUSED})
        for line in SCENARIOS
    )
    assert all((line.status is not None) or line.refusals is None for line in SCENARIOS)
    assert {"answers", "voicemail", "busy", "declined", "no_answer", "caller_leaves", "silent"} <= set(names)


@pytest.mark.parametrize("line", SCENARIOS, ids=lambda line: line.name)
def test_a_magic_target_selects_its_scenario(line):
    assert scenario(line.name) is line
    assert line.number.is_e164
    for target in (
        line.number,
        line.teams_user,
        TeamsApp(line.object_id),
        CommunicationUser(f"8:acs:b9614373-fd0b-480c-8fd2-cb58b70eab9f_{line.object_id}"),
        SipAddress(f"sip:{line.number.number}@pbx.example;user=phone"),
    ):
        assert scenario_for(target) is line


def test_any_other_target_answers(planted):
    assert scenario_for(PhoneNumber(planted.number)).name == "answers"
    assert scenario_for(TeamsUser("somebody")).name == "answers"
    assert scenario_for(SipAddress("sip:pbx.example")).name == "answers"


def test_an_unknown_scenario_raises_key_error():
    with pytest.raises(KeyError):
        scenario("explodes")
