"""`[routes.NAME]` in the configuration."""

from datetime import timedelta

import pytest

from transferkit import Attempt, ConfigError, FailureReason, PhoneNumber, TeamsUser, load_config
from transferkit.requests.routes import MOVES_ON

AGENT = "teams:11111111-2222-4333-8444-555555555555"


def load(**routes):
    return load_config({"provider": "fake", "routes": routes}).routes


def problems(**routes):
    with pytest.raises(ConfigError) as raised:
        load(**routes)
    return [problem.field for problem in raised.value.problems]


def test_attempts_are_identifiers_or_tables():
    table = {"to": AGENT, "ring_timeout": 20, "caller_id": "+14255550199"}
    route = load(support={"attempts": [table, "+14255550100"], "on": ["busy"]})["support"]
    agent = TeamsUser("11111111-2222-4333-8444-555555555555")
    assert route.attempts == (
        Attempt(agent, ring_timeout=timedelta(seconds=20), caller_id=PhoneNumber("+14255550199")),
        Attempt(PhoneNumber("+14255550100")),
    )
    assert route.on == (FailureReason.BUSY,)


def test_a_route_continues_for_the_usual_reasons_by_default():
    assert load(support={"attempts": ["+14255550100"]})["support"].on == MOVES_ON


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("agents", ["routes.support"]),
        ({}, ["routes.support.attempts"]),
        ({"attempts": []}, ["routes.support.attempts"]),
        ({"attempts": "+14255550100"}, ["routes.support.attempts"]),
        ({"attempts": [7]}, ["routes.support.attempts[0]"]),
        ({"attempts": [{"ring_timeout": 20}]}, ["routes.support.attempts[0].to"]),
        ({"attempts": [{"to": AGENT, "ring": 20}]}, ["routes.support.attempts[0].ring"]),
        ({"attempts": [{"to": AGENT, "ring_timeout": 0}]}, ["routes.support.attempts[0]"]),
        ({"attempts": [{"to": AGENT, "caller_id": ""}]}, ["routes.support.attempts[0].caller_id"]),
        ({"attempts": [AGENT], "on": ["sometimes"]}, ["routes.support.on"]),
        ({"attempts": [AGENT], "when": 1}, ["routes.support.when"]),
    ],
)
def test_a_wrong_route_is_reported_with_its_key(table, fields):
    assert problems(support=table) == fields


def test_all_problems_are_reported_at_once():
    assert problems(a={"attempts": []}, b={"attempts": [7]}) == ["routes.a.attempts", "routes.b.attempts[0]"]


def test_a_phone_number_is_not_shown_in_a_problem():
    with pytest.raises(ConfigError) as raised:
        load(support={"attempts": [{"to": "+14255550100", "ring_timeout": "+14255550123"}]})
    assert "4255550123" not in str(raised.value)
