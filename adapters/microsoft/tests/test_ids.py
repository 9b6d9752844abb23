"""Ids of Teams identifiers must be GUIDs, and a problem names the one that is not."""

import pytest
from transferkit_microsoft.ids import wrong_ids

from transferkit.identifiers import CommunicationUser, PhoneNumber, TeamsApp, TeamsExtensionUser, TeamsUser

OID = "3FA1C2D4-0000-4000-8000-00000000aaaa"


@pytest.mark.parametrize(
    "someone",
    [
        None,
        TeamsUser(OID),
        TeamsUser("visitor", anonymous=True),
        TeamsApp(OID),
        TeamsExtensionUser(user_id=OID, tenant_id=OID, resource_id=OID),
        CommunicationUser("8:acs:r_u"),
        PhoneNumber("+14255550123"),
    ],
    ids=repr,
)
def test_a_guid_and_what_needs_none_are_accepted(someone):
    assert list(wrong_ids("to", someone)) == []


def test_each_part_that_is_not_a_guid_is_named_and_not_shown():
    someone = TeamsExtensionUser(user_id="agent@contoso.com", tenant_id="contoso", resource_id="r1")
    assert [str(problem) for problem in wrong_ids("to", someone)] == [
        f"to: the {part} is not a GUID "
        "(accepted: a GUID such as 411f0b00-0000-4000-8000-123456789abc, not a name or an address)"
        for part in ("Teams user's object id", "tenant id", "resource id")
    ]
