"""Who someone is: Microsoft's raw ids, SIP addresses, what people type, and every text in between."""

import pickle

import pytest
from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from transferkit import (
    Cloud,
    CommunicationUser,
    Identifier,
    PhoneNumber,
    SipAddress,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
    parse_identifier,
)

OID = "5d1a1b7e-6b0c-4c5f-9a0a-2f6b7a1c9e33"
RESOURCE = "b9614373-fd0b-480c-8fd2-cb58b70eab9f"
USER = "da7be3a9-8788-42a6-85c6-56b2cf784fce"
TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"

# The grammar that Azure's communication SDKs publish, form by form.
GRAMMAR = {
    "4:+14255550123": PhoneNumber("+14255550123"),
    "4:14255550123": PhoneNumber("14255550123"),
    "4:anonymous": PhoneNumber("anonymous"),
    "4:+14255550123_bridge1": PhoneNumber("+14255550123", asserted_id="bridge1"),
    "4:anonymous_bridge1": PhoneNumber("anonymous", asserted_id="bridge1"),
    f"8:orgid:{OID}": TeamsUser(OID),
    f"8:dod:{OID}": TeamsUser(OID, cloud=Cloud.DOD),
    f"8:gcch:{OID}": TeamsUser(OID, cloud=Cloud.GCCH),
    f"8:teamsvisitor:{OID}": TeamsUser(OID, anonymous=True),
    f"28:orgid:{OID}": TeamsApp(OID),
    f"28:dod:{OID}": TeamsApp(OID, cloud=Cloud.DOD),
    f"28:gcch:{OID}": TeamsApp(OID, cloud=Cloud.GCCH),
    f"8:acs:{RESOURCE}_{USER}": CommunicationUser(f"8:acs:{RESOURCE}_{USER}"),
    f"8:dod-acs:{RESOURCE}_{USER}": CommunicationUser(f"8:dod-acs:{RESOURCE}_{USER}"),
    f"8:gcch-acs:{RESOURCE}_{USER}": CommunicationUser(f"8:gcch-acs:{RESOURCE}_{USER}"),
    f"8:spool:{RESOURCE}_{USER}": CommunicationUser(f"8:spool:{RESOURCE}_{USER}"),
    f"8:spool:{RESOURCE}_{TENANT}_{USER}": CommunicationUser(f"8:spool:{RESOURCE}_{TENANT}_{USER}"),
    f"8:acs:{RESOURCE}_{TENANT}_{USER}": TeamsExtensionUser(
        user_id=USER, tenant_id=TENANT, resource_id=RESOURCE
    ),
    f"8:dod-acs:{RESOURCE}_{TENANT}_{USER}": TeamsExtensionUser(
        user_id=USER, tenant_id=TENANT, resource_id=RESOURCE, cloud=Cloud.DOD
    ),
    f"8:gcch-acs:{RESOURCE}_{TENANT}_{USER}": TeamsExtensionUser(
        user_id=USER, tenant_id=TENANT, resource_id=RESOURCE, cloud=Cloud.GCCH
    ),
}

# RFC 3261, section 19.1.3, as far as the examples name someone; and what a PBX sends.
SIP_ADDRESSES = [
    "sip:alice@atlanta.com",
    "sip:alice@atlanta.com;transport=tcp",
    "sips:1212@gateway.com",
    "sip:alice@192.0.2.4",
    "sip:atlanta.com;method=REGISTER",
    "sip:alice;day=tuesday@atlanta.com",
    "sip:+1-212-555-1212@gateway.com;user=phone",
    "sip:%61lice@atlanta.com;transport=TCP",
    "sip:1001@[2001:db8::1]:5061;lr",
    "SIP:alice@pbx.",
]
# A password and header fields are not part of who someone is; the others are not SIP URIs at all.
NO_SIP_ADDRESS = [
    "sip:alice:secretword@atlanta.com;transport=tcp",
    "sips:alice@atlanta.com?subject=project%20x&priority=urgent",
    "sip:alice@atlanta.com?Replaces=1%3Bto-tag%3D2",
    "sip:alice@",
    "sip:@atlanta.com",
    "sip:alice@-a.com",
    "sip:a b@atlanta.com",
    "sip:alice@atlanta.com\r\nVia: x",
    "sip:alice@atlanta.com>",
    "sip:%zz@atlanta.com",
]

# Kinds of Graph's identity set that have no class here: the provider's word, a colon, the id.
GRAPH_ONLY = ["encrypted", "guest", "onPremises", "assertedIdentity", "device", "applicationInstance"]

TYPED = {
    "+14255550123": PhoneNumber("+14255550123"),
    "+14255550123_bridge1": PhoneNumber("+14255550123", asserted_id="bridge1"),
    f"teams:{OID}": TeamsUser(OID),
    f"app:{OID}": TeamsApp(OID),
    f"acs:{RESOURCE}_{USER}": CommunicationUser(f"8:acs:{RESOURCE}_{USER}"),
    f"acs:{RESOURCE}_{TENANT}_{USER}": TeamsExtensionUser(
        user_id=USER, tenant_id=TENANT, resource_id=RESOURCE
    ),
}
SHORTCUTS = ("+", "teams:", "app:", "acs:")

NO_KNOWN_FORM = [
    "4:",
    "8:orgid:",
    "8:acs:",
    "28:orgid:",
    "28:orgid",
    "8:teamsvisitor:",
    "8:live:someone",
    "28:bot",
    "48:calllogs",
    "19:meeting@thread.v2",
    "14255550123",
    "someone@contoso.com",
    "teams:",
    ":",
    " ",
    "_",
]


# --- the grammar ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), GRAMMAR.items(), ids=str)
def test_parse_identifier_reads_raw_ids(text, value):
    assert parse_identifier(text) == value


@pytest.mark.parametrize(("text", "value"), GRAMMAR.items(), ids=str)
def test_raw_id_returns_the_text_that_was_parsed(text, value):
    assert value.raw_id == text


@pytest.mark.parametrize("kind", GRAPH_ONLY)
def test_an_identifier_of_an_unknown_kind_keeps_the_name_of_the_kind(kind):
    someone = parse_identifier(f"{kind}:{OID}")
    assert someone == UnknownIdentifier(OID, kind=kind)
    assert someone.raw_id == f"{kind}:{OID}"


@pytest.mark.parametrize(("text", "value"), TYPED.items(), ids=str)
def test_parse_identifier_reads_short_forms(text, value):
    assert parse_identifier(text) == value
    assert parse_identifier(value.raw_id) == value


@pytest.mark.parametrize("text", SIP_ADDRESSES)
def test_a_sip_uri_is_a_sip_address(text):
    someone = parse_identifier(text)
    assert someone == SipAddress(text)
    assert someone.raw_id == text


@pytest.mark.parametrize("text", NO_SIP_ADDRESS)
def test_a_text_that_is_not_the_sip_uri_of_someone_is_an_identifier_of_an_unknown_kind(text):
    kind, _, rest = text.partition(":")
    assert parse_identifier(text) == UnknownIdentifier(rest, kind=kind)
    with pytest.raises(ValueError, match="sip:USER@HOST"):
        SipAddress(text)


def test_the_parts_of_a_sip_address_are_attributes():
    someone = SipAddress("sips:1001%20x@[2001:db8::1]:5061;transport=tcp")
    assert (someone.user, someone.host, someone.port) == ("1001%20x", "[2001:db8::1]", 5061)
    assert someone.is_secure
    plain = SipAddress("SIP:pbx.example")
    assert (plain.user, plain.host, plain.port, plain.is_secure) == (None, "pbx.example", None, False)


@pytest.mark.parametrize("text", NO_KNOWN_FORM)
def test_a_text_of_an_unknown_form_is_an_unknown_identifier(text):
    someone = parse_identifier(text)
    assert someone == UnknownIdentifier(text)
    assert someone.raw_id == text


def test_an_acs_id_of_three_parts_is_a_teams_extension_user():
    assert isinstance(parse_identifier("8:acs:a_b"), CommunicationUser)
    assert isinstance(parse_identifier("8:acs:a_b_c"), TeamsExtensionUser)
    assert isinstance(parse_identifier("8:acs:a_b_c_d"), CommunicationUser)
    assert isinstance(parse_identifier("8:acs:a__c"), CommunicationUser)


@pytest.mark.parametrize(
    ("text", "cloud"),
    [("8:acs:a_b", Cloud.PUBLIC), ("8:dod-acs:a_b", Cloud.DOD), ("8:gcch-acs:a_b", Cloud.GCCH)],
)
def test_the_cloud_of_an_acs_user_is_in_the_id(text, cloud):
    assert CommunicationUser(text).cloud is cloud


def test_an_empty_text_is_a_value_error():
    with pytest.raises(ValueError, match="empty"):
        parse_identifier("")


# --- round trips ------------------------------------------------------------------------------------

RAW_IDS = st.builds(
    str.__add__,
    st.sampled_from(
        [
            "",
            "4:",
            "8:",
            "28:",
            "8:orgid:",
            "8:acs:",
            "8:dod-acs:",
            "8:spool:",
            "8:teamsvisitor:",
            "guest:",
            "28:dod:",
            "sip:",
            "sips:a@",
            "SIP:",
        ]
    ),
    st.text() | st.text("ab_:+1@.;=[]?%"),
).filter(bool)


@given(RAW_IDS)
def test_every_text_survives_parsing(text):
    someone = parse_identifier(text)
    if text.startswith(SHORTCUTS):  # what people type comes back as the raw id
        assert parse_identifier(someone.raw_id) == someone
    else:
        assert someone.raw_id == text


@given(RAW_IDS)
def test_a_parsed_identifier_passes_the_validation_of_its_class(text):
    someone = parse_identifier(text)
    assert evolve(someone) == someone  # which validates


@given(st.from_type(Identifier))
def test_the_raw_id_of_every_identifier_is_parsed_to_its_class(someone):
    again = parse_identifier(someone.raw_id)
    assert type(again) is type(someone)
    assert again.raw_id == someone.raw_id


@given(
    st.from_type(Identifier).map(lambda someone: parse_identifier(someone.raw_id))
    | RAW_IDS.map(parse_identifier)
)
def test_an_identifier_without_further_fields_survives_its_raw_id(someone):
    assert parse_identifier(someone.raw_id) == someone


@given(st.from_type(Identifier))
def test_an_identifier_is_hashable_and_picklable(someone):
    again = pickle.loads(pickle.dumps(someone))  # noqa: S301 - our own
    assert again == someone
    assert hash(again) == hash(someone)


# --- constructors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PhoneNumber(""), "number"),
        (lambda: PhoneNumber("+14255550123_bridge1"), "asserted_id"),
        (lambda: PhoneNumber("+14255550123", asserted_id="a_b"), "underscore"),
        (lambda: PhoneNumber("+14255550123", asserted_id=""), "asserted_id"),
        (lambda: TeamsUser(""), "id"),
        (lambda: TeamsApp(""), "id"),
        (lambda: CommunicationUser("8:acs:"), "8:acs:"),
        (lambda: CommunicationUser(f"{RESOURCE}_{USER}"), "8:acs:"),
        (lambda: CommunicationUser(f"8:orgid:{OID}"), "8:acs:"),
        (lambda: CommunicationUser("8:acs:a_b_c"), "TeamsExtensionUser"),
        (lambda: TeamsExtensionUser(user_id="a_b", tenant_id="c", resource_id="d"), "user_id"),
        (lambda: TeamsExtensionUser(user_id="a", tenant_id="b_c", resource_id="d"), "tenant_id"),
        (lambda: TeamsExtensionUser(user_id="a", tenant_id="b", resource_id="c_d"), "resource_id"),
        (lambda: UnknownIdentifier(""), "id"),
        (lambda: UnknownIdentifier(f"8:orgid:{OID}"), "parse_identifier"),
        (lambda: UnknownIdentifier("+14255550123"), "parse_identifier"),
        (lambda: UnknownIdentifier("4:+14255550123"), "parse_identifier"),
        (lambda: UnknownIdentifier("guest:someone"), "parse_identifier"),
        (lambda: UnknownIdentifier("someone", kind="teams"), "kind"),
        (lambda: UnknownIdentifier("someone", kind="two words"), "kind"),
        (lambda: UnknownIdentifier("someone", kind="8"), "kind"),
        (lambda: UnknownIdentifier("someone", kind=""), "kind"),
        (lambda: UnknownIdentifier("someone@contoso.com", kind="sip"), "SipAddress"),
        (lambda: SipAddress(""), "uri"),
        (lambda: SipAddress("someone@contoso.com"), "uri"),
        (lambda: TeamsUser(OID, cloud="mars"), "Cloud|cloud"),
    ],
)
def test_a_value_whose_raw_id_would_be_ambiguous_is_a_value_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    "kind", [PhoneNumber, TeamsUser, TeamsApp, CommunicationUser, SipAddress, UnknownIdentifier]
)
def test_an_id_must_be_text(kind, planted):
    with pytest.raises(TypeError) as raised:
        kind(int(planted.digits))
    assert "expected str" in str(raised.value)
    assert not planted.shown_in(raised.value)


def test_the_base_class_has_no_raw_id():
    with pytest.raises(TypeError, match="one of its subclasses"):
        _ = Identifier().raw_id


def test_an_identifier_is_immutable():
    with pytest.raises(FrozenInstanceError):
        TeamsUser(OID).id = "somebody else"


@pytest.mark.parametrize("text", GRAMMAR)
def test_an_identifier_accepts_no_other_attributes(text):
    assert not hasattr(parse_identifier(text), "__dict__")


# --- phone numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("+14255550123", True),
        ("+1234567", True),
        ("+123456789012345", True),
        ("+123456", False),
        ("+1234567890123456", False),
        ("+04255550123", False),
        ("14255550123", False),
        ("+1 425 555 0123", False),
        ("+1425555012\u0663", False),
        ("anonymous", False),
        ("+14255550123\n", False),
    ],
)
def test_is_e164_accepts_a_plus_sign_and_7_to_15_digits(number, valid):
    assert PhoneNumber(number).is_e164 is valid


def test_a_withheld_number_is_anonymous():
    assert parse_identifier("4:anonymous").is_anonymous
    assert not PhoneNumber("+14255550123").is_anonymous


# --- safe to show -----------------------------------------------------------------------------------


def test_the_text_of_a_number_shows_its_last_two_digits():
    assert repr(PhoneNumber("+14255550123")) == "PhoneNumber('+*********23')"
    assert str(PhoneNumber("+14255550123")) == "4:+*********23"


def test_the_text_of_an_id_is_complete():
    assert str(TeamsUser(OID)) == f"8:orgid:{OID}"
    assert OID in repr(TeamsUser(OID))
    assert str(parse_identifier(f"8:acs:{RESOURCE}_{USER}")) == f"8:acs:{RESOURCE}_{USER}"


@pytest.mark.parametrize(
    "form",
    [
        "{number}",
        "4:{number}",
        "4:{digits}",
        "4:{number}_bridge1",
        "4:{digits}_bridge1",
        "{digits}",
        "guest:{number}",
        "guest:{digits}",
        "tel:{number}",
        "sip:{number}@contoso.com",
        "sip:{digits}@contoso.com",
        "sips:{digits}@10.0.0.5:5061;user=phone",
        "sip:a:{digits}@contoso.com",
        "sip:a@contoso.com;phone-context={number}",
        "99:{digits}",
        "teams:{number}",
        "app:{number}",
        "teams:{digits}",
        "acs:{number}",
        "8:acs:a_{number}",
        "8:acs:a_b_{number}",
    ],
)
def test_no_text_shows_a_complete_number(form, planted):
    someone = parse_identifier(form.format(number=planted.number, digits=planted.digits))
    assert planted.shown_in(someone.raw_id), "the number must be there to be hidden"
    assert not planted.shown_in(str(someone)), "str"
    assert not planted.shown_in(repr(someone)), "repr"


@given(
    digits=st.from_regex(r"[1-9][0-9]{9,13}", fullmatch=True), shape=st.sampled_from(["+{}", "4:+{}", "4:{}"])
)
def test_no_more_than_two_digits_of_a_number_are_shown(digits, shape):
    someone = parse_identifier(shape.format(digits))
    assert sum(map(str.isdigit, repr(someone))) == 2
    assert (
        str(someone)
        == f"4:{someone.raw_id[2:-2].translate(dict.fromkeys(map(ord, '0123456789'), '*'))}{digits[-2:]}"
    )


@pytest.mark.parametrize(
    "make",
    [
        CommunicationUser,
        SipAddress,
        UnknownIdentifier,
        lambda number: UnknownIdentifier("someone", kind=number),
        lambda number: PhoneNumber(f"{number}_1"),
        lambda number: TeamsExtensionUser(user_id=f"{number}_1", tenant_id="b", resource_id="c"),
        lambda number: TeamsUser("a", cloud=number),
    ],
)
def test_no_error_shows_a_number(make, planted):
    with pytest.raises(ValueError, match=r".") as raised:
        make(planted.number)
    assert not planted.shown_in(raised.value)
