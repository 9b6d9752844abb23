"""Identifiers as identity sets, and back."""

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from transferkit_graph.identities import CLASSLESS, identity_set, read_identity_set

from transferkit.identifiers import (
    CommunicationUser,
    Identifier,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
)

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="_"), min_size=1, max_size=20)
NAME = st.none() | TEXT
SOMEONE = st.one_of(
    st.builds(TeamsUser, TEXT, tenant_id=NAME, display_name=NAME),
    st.builds(TeamsApp, TEXT, tenant_id=NAME, display_name=NAME),
    st.builds(PhoneNumber, TEXT, display_name=NAME),
    st.builds(lambda id_, name: CommunicationUser(f"8:acs:{id_}_u", display_name=name), TEXT, NAME),
    st.builds(
        UnknownIdentifier,
        TEXT,
        kind=st.sampled_from([kind for kind in CLASSLESS if kind != "applicationInstance"]),
        tenant_id=NAME,
        display_name=NAME,
    ),
)


@given(SOMEONE)
def test_an_identifier_is_read_back_from_its_identity_set(someone):
    assert read_identity_set(identity_set(someone)) == someone


@pytest.mark.parametrize(
    ("wire", "someone"),
    [
        ({"user": {"id": "u", "identityProvider": "AAD"}}, TeamsUser("u")),
        ({"user": {"id": "u"}, "phone": None, "guest": None}, TeamsUser("u")),
        ({"application": {"id": "a"}, "encrypted": {"id": "e"}}, TeamsApp("a")),
        ({"applicationInstance": {"id": "a", "tenantId": "t"}}, TeamsApp("a", tenant_id="t")),
        ({"phone": {"id": "+14255550107"}}, PhoneNumber("+14255550107")),
        ({"encrypted": {"id": "e"}}, UnknownIdentifier("e", kind="encrypted")),
        ({"starship": {"id": "s"}}, UnknownIdentifier("s", kind="starship")),
        (
            {"azureCommunicationServicesUser": {"id": "plain"}},
            UnknownIdentifier("plain", kind="azureCommunicationServicesUser"),
        ),
        (
            {"azureCommunicationServicesUser": {"id": "8:acs:r_t_u"}},
            TeamsExtensionUser(user_id="u", tenant_id="t", resource_id="r"),
        ),
        ({"user": {"displayName": "Nobody"}}, None),
        ({"user": {"id": ""}, "guest": {"id": "g"}}, UnknownIdentifier("g", kind="guest")),
        ({"two words": {"id": "x"}}, None),
        ({"endpointType": "default"}, None),
        ({}, None),
        (None, None),
        (["user"], None),
    ],
)
def test_an_identity_set_of_graph_is_read(wire, someone):
    assert read_identity_set(wire) == someone


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["user", "phone", "guest", "azureCommunicationServicesUser"]), JSON))
def test_reading_raises_nothing(wire):
    assert isinstance(read_identity_set(wire), Identifier | None)


@given(
    st.sampled_from(["user", "application", "phone", "azureCommunicationServicesUser", "guest"]),
    st.dictionaries(st.sampled_from(["id", "tenantId", "displayName"]), JSON | st.just("8:acs:a_b_c")),
)
def test_every_identifier_that_is_read_is_valid(word, identity):
    someone = read_identity_set({word: identity})
    assert someone is None or evolve(someone) == someone  # which validates


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["guest", "phone", "user"], "user"),
        (["onPremises", "applicationInstance", "application"], "application"),
        (["robot", "alien", "guest"], "guest"),
        (["robot", "alien"], "robot"),
    ],
)
def test_of_several_members_the_first_by_rank_is_read(words, said):
    wire = {word: {"id": word} for word in words}
    assert read_identity_set(wire) == read_identity_set({said: wire[said]})


def test_an_identifier_without_a_member_raises_a_type_error():
    with pytest.raises(TypeError, match="Teams extension user"):
        identity_set(TeamsExtensionUser(user_id="u", tenant_id="t", resource_id="r"))
