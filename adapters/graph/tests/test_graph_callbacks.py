"""Decoding of notifications of every published generation, and of any other bytes."""

import copy
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transferkit_graph import GraphAdapter, callbacks

from transferkit.events import (
    CallConnected,
    CallEnded,
    CallIncoming,
    CallParticipants,
    FailureReason,
    Participant,
    ProviderOther,
)
from transferkit.identifiers import PhoneNumber, TeamsApp, TeamsUser, UnknownIdentifier
from transferkit.provider.adapter import Callback
from transferkit.provider.facts import MalformedCallback, RequestKind, Signal
from transferkit.provider.json import thaw

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
CALL_ID = "7c1d0f00-5b2a-4f0e-9a51-0d6a4bb1c001"
OLD_ID = "7C1D0F005B2A4F0E9A510D6A4BB1C001"
TRANSFER_ID = "d0a7c1f2-98a4-4dd9-9c38-7f3d7c3ea001"

STARTED, ACCEPTED = (Signal.STARTED,), (Signal.ACCEPTED,)
SUCCEEDED, ENDED = (Signal.SUCCEEDED, Signal.CALL_ENDED), (Signal.CALL_ENDED,)
FAILED, RETURNED = (Signal.FAILED,), (Signal.RETURNED,)


def element(change="updated", part="", **data):
    """One notification as documented today."""
    return {
        "@odata.type": "#microsoft.graph.commsNotification",
        "changeType": change,
        "resourceUrl": f"/communications/calls/{CALL_ID}{part}",
        "resourceData": {"@odata.type": "#microsoft.graph.call", **data},
    }


def old_element(change="updated", part="", **data):
    """One notification as documented in 2018."""
    resource = f"/app/calls/{OLD_ID}{part}"
    about = {"@odata.type": "#microsoft.graph.call", "@odata.id": resource, "@odata.etag": 'W/"7"'}
    return {"changeType": change, "resource": resource, "resourceData": about | data}


def body(*elements):
    return {"@odata.type": "#microsoft.graph.commsNotifications", "value": list(elements)}


def result(code, subcode=None, key="subcode", message="as Graph says"):
    info = {"@odata.type": "#microsoft.graph.resultInfo", "code": code, "message": message}
    return info if subcode is None else {**info, key: subcode}


ANSWERED = {"identity": {"encrypted": {"id": "e1"}}}
ME = [{"identity": {"application": {"id": "b07"}}}]

MEANINGS = {
    "transferring": (element(state="transferring"), ProviderOther, STARTED),
    "transferAccepted": (element(state="transferAccepted"), ProviderOther, ACCEPTED),
    "PascalCase": (element("Updated", state="TransferAccepted"), ProviderOther, ACCEPTED),
    "2018: transferring": (old_element(callState="transferring"), ProviderOther, STARTED),
    "2018: transfer-accepted": (old_element(callState="transfer-accepted"), ProviderOther, ACCEPTED),
    "redirecting": (element(state="redirecting"), ProviderOther, STARTED),
    "blind success": (
        element("deleted", state="terminated", resultInfo=result(0, 7015)),
        CallEnded,
        SUCCEEDED,
    ),
    "success by the table of end reasons": (
        element("deleted", state="terminated", resultInfo=result("200", "7015")),
        CallEnded,
        SUCCEEDED,
    ),
    "success on updated": (
        element("updated", state="terminated", resultInfo=result(0, 7015, key="subCode")),
        CallEnded,
        SUCCEEDED,
    ),
    "consultative success": (
        element("deleted", state="terminated", terminationReason="AppTransferred"),
        CallEnded,
        SUCCEEDED,
    ),
    "2018: success": (
        old_element(callState="terminated", terminationReason="AppTransferred"),
        CallEnded,
        SUCCEEDED,
    ),
    "2018: deleted after success": (
        old_element("deleted", callState="terminated", terminationReason="AppInitiated"),
        CallEnded,
        ENDED,
    ),
    "2018: deleted without state": (old_element("deleted"), CallEnded, ENDED),
    "deleted without state": (element("deleted"), CallEnded, ENDED),
    "deleted without data": (
        {"changeType": "deleted", "resourceUrl": f"/communications/calls/{CALL_ID}"},
        CallEnded,
        ENDED,
    ),
    "the caller hung up": (
        element("deleted", state="terminated", resultInfo=result(200, 4521)),
        CallEnded,
        ENDED,
    ),
    "ended by an error": (
        element("deleted", state="terminated", resultInfo=result(480, 10037)),
        CallEnded,
        ENDED,
    ),
    "ended with code 0 as text": (
        element("deleted", state="terminated", resultInfo=result("0")),
        CallEnded,
        ENDED,
    ),
    "blind failure": (
        element(state="established", resultInfo=result(500, 7000, key="subCode")),
        ProviderOther,
        FAILED,
    ),
    "consultative failure": (
        element(state="established", resultInfo=result(500, 7700, key="subCode"), replacesContext="x"),
        ProviderOther,
        FAILED,
    ),
    "established without error": (
        element(state="established", resultInfo=result(200, 0)),
        CallConnected,
        RETURNED,
    ),
    "established": (element(state="established"), CallConnected, RETURNED),
    "established again": (
        element(state="Established", chatInfo={"threadId": "19:x"}),
        CallConnected,
        RETURNED,
    ),
    "a tone": (
        element(state="established", toneInfo={"sequenceId": 1, "tone": "tone1"}),
        ProviderOther,
        RETURNED,
    ),
    "a tone alone": (element(toneInfo={"sequenceId": 2, "tone": "pound"}), ProviderOther, ()),
    "establishing": (element(state="establishing"), ProviderOther, ()),
    "terminating": (element(state="terminating"), ProviderOther, ()),
    "hold": (element(state="hold"), ProviderOther, ()),
    "an unknown state": (element(state="levitating"), ProviderOther, ()),
    "no state": (element(mediaState={"audio": "active"}), ProviderOther, ()),
    "redirected, answered by another": (
        element("deleted", state="terminated", direction="incoming", targets=ME, answeredBy=ANSWERED),
        CallEnded,
        SUCCEEDED,
    ),
    "redirected, by its word": (
        element("deleted", state="terminated", terminationReason="AppRedirected"),
        CallEnded,
        SUCCEEDED,
    ),
    "redirected, and nothing more said": (
        element("deleted", state="terminated", direction="incoming", targets=ME),
        CallEnded,
        ENDED,
    ),
    "answered by the application itself": (
        element("deleted", state="terminated", direction="incoming", targets=ME, answeredBy=ME[0]),
        CallEnded,
        ENDED,
    ),
    "answered by the application's own participant": (
        element(
            "deleted",
            state="terminated",
            myParticipantId="p1",
            answeredBy={**ANSWERED, "participantId": "p1"},
        ),
        CallEnded,
        ENDED,
    ),
    "an outgoing call that was answered": (
        element("deleted", state="terminated", direction="outgoing", answeredBy=ANSWERED),
        CallEnded,
        ENDED,
    ),
    "an operation that says transferring": (
        old_element(
            part="/operations/0a",
            **{"@odata.type": "#microsoft.graph.commsOperation"},
            resultInfo={"code": 200, "subCode": "transferring"},
        ),
        ProviderOther,
        STARTED,
    ),
    "an operation that says transferAccepted": (
        old_element(part="/operations/0a", resultInfo={"code": "200", "subCode": "transferAccepted"}),
        ProviderOther,
        ACCEPTED,
    ),
    "a finished operation": (
        element(
            "deleted",
            "/operations/0a",
            **{"@odata.type": "#microsoft.graph.playPromptOperation"},
            status="completed",
        ),
        ProviderOther,
        (),
    ),
    "a failed operation of another's": (
        element("deleted", "/operations/0a", status="failed", clientContext="prompt 7"),
        ProviderOther,
        (),
    ),
    "a participant that left": (element("deleted", "/participants/p1"), ProviderOther, ()),
}


@pytest.mark.parametrize(("notification", "event", "signals"), MEANINGS.values(), ids=MEANINGS)
def test_a_notification_has_its_event_and_signals(decode, notification, event, signals):
    (fact,) = decode(body(notification))
    assert (type(fact.event), fact.signals) == (event, signals)
    assert thaw(fact.event.raw) == notification
    assert fact.event.provider == "graph"
    assert fact.event.call_id in {CALL_ID, OLD_ID.lower()}
    assert fact.event.time == NOW


@pytest.mark.parametrize(
    ("notification", "name"),
    [
        (element(state="transferring"), "transferring"),
        (old_element(callState="transfer-accepted"), "transfer-accepted"),
        (element(state="established", resultInfo=result(500, 7000)), "established"),
        (element(state="established", toneInfo={"tone": "tone1"}), "tone"),
        (element(toneInfo={"tone": "tone1"}), "tone"),
        (element(state="levitating"), "levitating"),
        (element(), "updated"),
        (element(None), "notification"),
        (element(part="/operations/1", **{"@odata.type": None}), "operation"),
        (
            element(part="/operations/1", **{"@odata.type": "microsoft.graph.recordOperation"}),
            "recordOperation",
        ),
        (element(part="/participants/p1"), "participant"),
        (element(part="/audioRoutingGroups"), "audioroutinggroups"),
    ],
)
def test_a_notification_without_an_event_class_is_provider_other(decode, notification, name):
    (fact,) = decode(body(notification))
    assert fact.event.name == name


def test_a_failure_leaves_the_caller_on_the_call(decode):
    (fact,) = decode(body(element(state="established", resultInfo=result(486, 560486, key="subCode"))))
    assert fact.call_alive is True
    assert (fact.result.code, fact.result.subcode) == (486, 560486)
    assert fact.result.reason is FailureReason.BUSY


def test_the_end_of_a_call_has_the_codes_of_graph(decode):
    (fact,) = decode(body(element("deleted", state="terminated", resultInfo=result("200", "4521"))))
    assert fact.call_alive is False
    assert fact.result.reason is FailureReason.CALLER_LEFT
    assert (fact.event.code, fact.event.subcode, fact.event.message) == (200, 4521, "as Graph says")


def test_the_end_after_a_redirect_names_the_party_that_answered(decode):
    (fact,) = decode(body(element("deleted", state="terminated", answeredBy=ANSWERED)))
    assert fact.target == UnknownIdentifier("e1", kind="encrypted")


@pytest.mark.parametrize(
    ("said", "operation"),
    [
        ({"answeredBy": ANSWERED}, RequestKind.REDIRECT),
        ({"terminationReason": "AppRedirected"}, RequestKind.REDIRECT),
        ({"terminationReason": "AppTransferred"}, RequestKind.TRANSFER),
        ({"resultInfo": result(0, 7015), "answeredBy": ANSWERED}, RequestKind.TRANSFER),
    ],
    ids=["answered by another", "AppRedirected", "AppTransferred", "7015"],
)
def test_a_success_names_the_kind_of_request(decode, said, operation):
    (fact,) = decode(body(element("deleted", state="terminated", **said)))
    assert Signal.SUCCEEDED in fact.signals
    assert fact.operation is operation


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (7015, 7015),
        ("7015", 7015),
        ("-1", -1),
        (7015.0, 7015),
        (7.5, None),
        (True, None),
        ("", None),
        ("7015x", None),
        ("\u0667", None),
        ("9" * 30, None),
        (2**40, None),
        ([7015], None),
        (None, None),
    ],
)
def test_codes_are_read_as_numbers_and_as_text(decode, value, read):
    (fact,) = decode(body(element("deleted", state="terminated", resultInfo={"code": 1, "subcode": value})))
    assert fact.event.subcode == read


def test_an_incoming_call_is_read(decode):
    offer = element(
        "created",
        state="incoming",
        direction="incoming",
        callChainId="chain-1",
        source={"identity": {"phone": {"id": "+14255550103", "displayName": "Lee"}}},
        targets=[*ME, {"identity": {"applicationInstance": {"id": "ra1", "tenantId": "t1"}}}],
        incomingContext={
            "transferor": {"user": {"id": "u-transferor"}},
            "onBehalfOf": {"user": {"id": "u-boss"}},
        },
    )
    (fact,) = decode(body(offer), tenant_id="t1")
    event = fact.event
    assert isinstance(event, CallIncoming)
    assert event.source == PhoneNumber("+14255550103", display_name="Lee")
    assert event.targets == (TeamsApp("b07"), TeamsApp("ra1", tenant_id="t1"))
    assert event.caller_display_name == "Lee"
    assert event.transferor == TeamsUser("u-transferor")
    assert event.on_behalf_of == TeamsUser("u-boss")
    assert event.respond_by == NOW + timedelta(seconds=15)
    assert event.correlation_id == "chain-1"
    assert (event.stale, fact.signals, fact.tenant_id) == (False, (), "t1")


def test_a_notification_in_the_form_before_graph_is_read(decode):
    (fact,) = decode(
        {
            "id": OLD_ID,
            "participants": [
                {"identity": "8:orgid:u1", "originator": True},
                {"identity": "28:b07", "originator": False},
                {"identity": ""},
                "no party",
            ],
            "isMultiparty": False,
            "presentedModalityTypes": ["audio"],
            "callState": "incoming",
            "tenantId": "t1",
        }
    )
    assert isinstance(fact.event, CallIncoming)
    assert fact.event.call_id == OLD_ID.lower()
    assert fact.event.source == TeamsUser("u1")
    assert [someone.raw_id for someone in fact.event.targets] == ["28:b07"]


def test_one_notification_without_its_collection_is_read(decode):
    (fact,) = decode(element(state="transferring"))
    assert fact.signals == STARTED


@pytest.mark.parametrize("part", ["/participants", "/operations/participants"])
def test_a_roster_lists_the_participants(decode, part):
    roster = element(part=part)
    roster["resourceData"] = [
        {"id": "p1", "info": {"identity": {"user": {"id": "u1"}}}, "isMuted": True},
        {"id": None, "info": {"identity": {"phone": {"id": "+14255550104"}}}},
        {"id": "p3", "info": {"identity": {}}, "isMuted": "no"},
        {"info": None},
        "no party",
    ]
    (fact,) = decode(body(roster))
    assert isinstance(fact.event, CallParticipants)
    assert fact.signals == ()
    assert fact.event.participants == (
        Participant(identifier=TeamsUser("u1"), id="p1", muted=True),
        Participant(identifier=PhoneNumber("+14255550104")),
        Participant(identifier=UnknownIdentifier("p3", kind="participant"), id="p3"),
    )


@pytest.mark.parametrize(
    ("resources", "call_id"),
    [
        ({"resourceUrl": "/communications/calls/ABC"}, "abc"),
        ({"resource": "/app/calls/ABC"}, "abc"),
        ({"resourceUrl": "communications/x", "resource": "/app/calls/ABC"}, "abc"),
        ({"resourceUrl": "/applications/b07/calls/ABC"}, "abc"),
        ({"resourceUrl": "https://graph.microsoft.com/v1.0/communications/calls/A%42C?x=1"}, "abc"),
        ({"resourceData": {"@odata.id": "/app/calls/ABC", "state": "established"}}, "abc"),
        ({"resourceData": {"id": "ABC", "state": "established"}}, "abc"),
        ({"RESOURCEURL": "/Communications/Calls/ABC"}, "abc"),
    ],
)
def test_the_call_id_is_read_from_every_published_place(decode, resources, call_id):
    (fact,) = decode({"value": [{"changeType": "updated", "resourceData": {}, **resources}]})
    assert fact.event.call_id == call_id


@pytest.mark.parametrize(
    ("notification", "transfer_id"),
    [
        ({"clientContext": TRANSFER_ID.upper(), "resultInfo": {"subCode": "transferring"}}, TRANSFER_ID),
        ({"clientContext": "case 42", "resultInfo": {"subCode": "transferring"}}, None),
        ({"resultInfo": {"subCode": "transferring"}}, None),
    ],
)
def test_an_operation_names_its_transfer_by_the_context_that_it_repeats(decode, notification, transfer_id):
    (fact,) = decode(body(old_element(part="/operations/1", **notification)))
    assert fact.transfer_id == transfer_id


FAILED_OPERATION = {"clientContext": TRANSFER_ID, "status": "Failed", "resultInfo": result(400, 8508)}


def test_a_failed_operation_of_a_transfer_fails_that_transfer(decode):
    kind = {"@odata.type": "#microsoft.graph.commsOperation"}
    (fact,) = decode(body(old_element(part="/operations/1", **kind, **FAILED_OPERATION)))
    assert (fact.signals, fact.transfer_id) == (FAILED, TRANSFER_ID)


@pytest.mark.parametrize(
    "kind",
    ["playPromptOperation", "recordOperation", "inviteParticipantsOperation", "muteParticipantOperation", ""],
)
def test_a_failed_operation_of_another_kind_fails_no_transfer(decode, kind):
    """Applications give their prompts and invitations contexts of their own, which can be any UUID."""
    typed = {"@odata.type": f"#microsoft.graph.{kind}" if kind else None}
    (fact,) = decode(body(element("deleted", part="/operations/1", **(FAILED_OPERATION | typed))))
    assert fact.signals == ()


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (result(500, 7000), result(500, "7000", key="subCode"), True),
        (result(500, 7000), result(500, 7000) | {"more": "of it"}, True),
        (result(500, 7000), result(500, 7700), False),
        (result(500, 7000), result(500, 7000, message="another"), False),
    ],
)
def test_verdicts_with_the_same_words_have_the_same_content(decode, first, second, equal):
    facts = [
        decode(body(element(state="established", resultInfo=info)), headers=numbered(f"m{index}"))[0]
        for index, info in enumerate((first, second))
    ]
    assert len({fact.delivery for fact in facts}) == 2
    assert (facts[0].content == facts[1].content) is equal
    (other,) = decode(body(element(state="transferring")))
    assert other.content is None


@pytest.mark.parametrize(
    ("headers", "data", "chain"),
    [
        ({"x-microsoft-skype-chain-id": "h1", "scenario-id": "h2"}, {}, "h1"),
        ({"scenario-id": "h2"}, {}, "h2"),
        ({"scenario-id": "h2"}, {"callChainId": "d1"}, "d1"),
        ({}, {}, None),
    ],
)
def test_the_call_chain_is_the_correlation_id(decode, headers, data, chain):
    (fact,) = decode(body(element(state="established", **data)), headers=headers)
    assert fact.event.correlation_id == chain


def test_event_times_are_in_utc(decode):
    eastern = NOW.astimezone(timezone(timedelta(hours=-5)))
    callback = Callback(body=json.dumps(body(element())).encode(), received_at=eastern)
    (fact,) = GraphAdapter.decode(callback)
    assert (fact.time, fact.time.tzinfo) == (NOW, UTC)


def test_several_notifications_are_several_facts_in_order(decode):
    facts = decode(body(element(state="transferring"), element(state="transferAccepted"), element("deleted")))
    assert [fact.signals for fact in facts] == [STARTED, ACCEPTED, ENDED]


def test_an_empty_collection_has_no_facts(decode):
    assert decode(body()) == ()


@pytest.mark.parametrize("names", [["VALUE"], ["Value", "value"], ["value", "Value"]])
def test_the_list_of_notifications_is_found_by_its_name_in_any_letter_case(decode, names):
    whole = dict.fromkeys(names) | {names[0]: [element(), element("deleted")]}
    assert len(decode(whole)) == 2


def numbered(number):
    return {"x-microsoft-skype-message-id": number}


class TestDelivery:
    def test_a_numbered_message_is_known_by_its_number(self, decode):
        one, two = decode(body(element(), element()), headers=numbered("m1"))
        again, _ = decode(body(element(), element()), headers=numbered("m1"))
        other, _ = decode(body(element(), element()), headers=numbered("m2"))
        assert one.delivery == again.delivery
        assert len({one.delivery, two.delivery, other.delivery}) == 3
        assert one.delivery.exact

    def test_another_body_under_the_same_number_is_no_repetition(self, decode):
        """The number is observed, not documented, so it need not be unique."""
        said = [
            element(state="transferring"),
            element(state="transferAccepted"),
            element("deleted", state="terminated", resultInfo=result(0, 7015)),
            element(state="established", toneInfo={"tone": "tone1"}),
            element(state="established", toneInfo={"tone": "tone2"}),
        ]
        keys = {decode(body(one), headers=numbered("m1"))[0].delivery.key for one in said}
        assert len(keys) == len(said)

    def test_another_is_known_by_what_it_says(self, decode):
        (one,) = decode(body(element(state="transferring")))
        (again,) = decode(body(dict(reversed(element(state="transferring").items()))))
        (other,) = decode(body(element(state="established")))
        assert one.delivery == again.delivery
        assert one.delivery != other.delivery
        assert not one.delivery.exact


class TestMalformed:
    @pytest.mark.parametrize(
        ("content", "where"),
        [
            (b"", "body"),
            (b"{", "body"),
            (b"\xff\xfe\xff", "body"),
            (b"[" * 100_000, "body"),
            (b"1" * 5000, "body"),
            (b"null", "body"),
            (b"[]", "body"),
            (b"{}", "value"),
            (b'{"value": 1}', "value"),
            (b'{"value": [1]}', "value[0]"),
            (b'{"value": [{}]}', "value[0].resourceUrl"),
            (b'{"value": [{"resourceUrl": "/participantLeftNotification/call/x"}]}', "value[0].resourceUrl"),
            (b'{"resourceUrl": "/app"}', "body.resourceUrl"),
        ],
        ids=range(13),
    )
    def test_it_says_where(self, decode, content, where):
        with pytest.raises(MalformedCallback) as caught:
            decode(content)
        assert caught.value.where == where
        assert caught.value.provider == "graph"

    @pytest.mark.parametrize(
        "bad", [b'"half an emoji \\ud83d"', b'"\xff"', b"NaN", b"1e999", b"9" * 5000], ids=range(5)
    )
    def test_an_element_with_a_bad_value_is_kept_and_affects_no_other(self, decode, bad):
        content = body(element(state="transferring", odd="BAD"), element("deleted"))
        facts = decode(json.dumps(content).encode().replace(b'"BAD"', bad))
        assert [fact.signals for fact in facts] == [STARTED, ENDED]

    def test_a_bad_element_affects_no_other(self, decode):
        with pytest.raises(MalformedCallback) as caught:
            decode(body(element(state="transferring"), {"changeType": "updated"}, 7, element("deleted")))
        assert caught.value.where == "value[1].resourceUrl"
        assert [fact.signals for fact in caught.value.facts] == [STARTED, ENDED]

    @pytest.mark.parametrize("depth", [10, 100, 300, 500, 700, 900, 2_000, 50_000])
    def test_no_depth_is_an_error_of_its_own(self, depth):
        nested = '{"a":' * depth + "1" + "}" * depth
        facts = total(f'{{"value":[{{"resourceUrl":"/app/calls/x","deep":{nested}}}]}}'.encode())
        assert len(facts) <= 1

    def test_one_element_that_is_too_deep_costs_no_other(self, decode, monkeypatch):
        def freeze(value):
            if "deep" in value:
                raise RecursionError
            return value

        monkeypatch.setattr(callbacks, "freeze", freeze)
        with pytest.raises(MalformedCallback, match="too deeply") as caught:
            decode(body(element(), {**element(), "deep": "[" * 65}, element()))
        assert (caught.value.where, len(caught.value.facts)) == ("value[1]", 2)


def total(content):
    try:
        return GraphAdapter.decode(Callback(body=content, received_at=NOW))
    except MalformedCallback as error:
        return error.facts


@given(st.binary())
def test_any_bytes_are_decoded_or_malformed(content):
    total(content)


WORDS = [
    "value",
    "changeType",
    "resource",
    "resourceUrl",
    "resourceData",
    "state",
    "callState",
    "resultInfo",
    "code",
    "subCode",
    "answeredBy",
    "identity",
    "user",
    "phone",
    "id",
    "targets",
    "source",
    "participants",
    "incomingContext",
    "clientContext",
    "@odata.type",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["deleted", "terminated", "established", "incoming", "/app/calls/1", "8:acs:a_b_c", "4:"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_decoded_or_malformed(value):
    total(json.dumps(value).encode())


def places(value, path=()):
    """Every place in a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from places(item, (*path, key))


@given(st.sampled_from(list(MEANINGS.values())), st.data())
def test_a_good_body_with_anything_in_any_place_is_decoded_or_malformed(meaning, data):
    whole = copy.deepcopy(body(meaning[0]))
    *way, last = data.draw(st.sampled_from([path for path in places(whole) if path]))
    holder = whole
    for key in way:
        holder = holder[key]
    holder[last] = data.draw(JSON)
    for fact in total(json.dumps(whole).encode()):
        assert fact.event.call_id
        assert fact.event.raw


def respelt(value, spell, write):
    """The same, names spelt and numbers written differently."""
    if isinstance(value, dict):
        return {spell(name): respelt(item, spell, write) for name, item in value.items()}
    if isinstance(value, list):
        return [respelt(item, spell, write) for item in value]
    return write(value) if type(value) is int else value


@pytest.mark.parametrize("spell", [str, str.upper, str.lower, str.title], ids=lambda spell: spell.__name__)
@pytest.mark.parametrize("write", [int, str, float], ids=lambda write: write.__name__)
@pytest.mark.parametrize(("notification", "event", "signals"), MEANINGS.values(), ids=MEANINGS)
def test_the_meaning_is_the_same_in_every_spelling(decode, notification, event, signals, spell, write):
    (fact,) = decode(respelt(body(notification), spell, write))
    assert (type(fact.event), fact.signals) == (event, signals)


def changed(value, data):
    """The body, one place of it taken out, doubled, wrapped, emptied or given another's content."""
    whole = copy.deepcopy(value)
    *way, last = data.draw(st.sampled_from([path for path in places(whole) if path]))
    holder = whole
    for key in way:
        holder = holder[key]
    match data.draw(st.sampled_from(["out", "twice", "wrapped", "emptied", "another's"])):
        case "out":
            del holder[last]
        case "twice" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
        case "twice":
            holder[f"{last}2"] = copy.deepcopy(holder[last])
        case "wrapped":
            holder[last] = data.draw(st.sampled_from([[holder[last]], {"value": holder[last]}]))
        case "emptied":
            holder[last] = type(holder[last])()
        case _:
            other = body(data.draw(st.sampled_from(list(MEANINGS.values())))[0])
            place = data.draw(st.sampled_from(list(places(other))))
            for key in place:
                other = other[key]
            holder[last] = other
    return whole


@given(st.lists(st.sampled_from([meaning[0] for meaning in MEANINGS.values()]), max_size=3), st.data())
def test_a_good_body_that_is_changed_anywhere_is_decoded_or_malformed(notifications, data):
    whole = body(*notifications)
    for _ in range(data.draw(st.integers(1, 4))):
        whole = changed(whole, data)
        if not isinstance(whole, dict) or not whole:
            break
    elements = whole.get("value", ()) if isinstance(whole, dict) else ()
    facts = total(json.dumps(whole).encode())
    assert len(facts) <= max(len(elements) if isinstance(elements, list) else 1, 1)
    for fact in facts:
        assert fact.event.call_id
        assert fact.event.time == NOW


@given(st.lists(st.sampled_from(list(MEANINGS.values())), min_size=1, max_size=5), st.data())
def test_a_bad_element_does_not_affect_the_good_ones(meanings, data):
    elements = [meaning[0] for meaning in meanings]
    bad = st.sampled_from([None, 1, "x", [], {}, {"changeType": "updated"}, {"resourceUrl": "/app"}])
    elements.insert(data.draw(st.integers(0, len(elements))), data.draw(bad))
    facts = total(json.dumps(body(*elements)).encode())
    assert [fact.signals for fact in facts] == [meaning[2] for meaning in meanings]
    assert [thaw(fact.event.raw) for fact in facts] == [meaning[0] for meaning in meanings]
