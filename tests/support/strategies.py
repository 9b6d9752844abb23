"""Hypothesis strategies for the library's values.

After an import of this module, `st.from_type(Transfer)` and so on generate every field.
"""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import transferkit
import transferkit.events
from transferkit import (
    CommunicationUser,
    Event,
    Identifier,
    PhoneNumber,
    SipAddress,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
    parse_identifier,
)
from transferkit._lifecycle import (
    CallKey,
    CallState,
    FinishedTransfer,
    Opened,
    OpenTransfer,
    PlannedAttempt,
    Rules,
)
from transferkit._lifecycle.consultation_state import ConsultationStep, Ending, OpenConsultation
from transferkit._lifecycle.route_state import OpenRoute
from transferkit._util.frozenmap import FrozenMap, freeze
from transferkit.provider.facts import Result

settings.register_profile(
    "transferkit",
    deadline=None,
    max_examples=int(os.environ.get("TRANSFERKIT_TEST_EXAMPLES", "30")),  # `.ci/run` tries more of them
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("transferkit")

WORDS = st.text(min_size=1, max_size=12)
PARTS = WORDS.map(lambda text: text.replace("_", "-"))
SPANS = st.timedeltas(timedelta(microseconds=1), timedelta(days=365))
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
PREFIXES = st.sampled_from(["8:acs:", "8:dod-acs:", "8:gcch-acs:", "8:spool:"])
SIP_URIS = st.builds(
    "{}:{}{}{}{}".format,
    st.sampled_from(["sip", "sips", "SIP"]),
    st.sampled_from(["", "alice@", "+14255550123@", "a%40b@", "1001;x=y?z@"]),
    st.from_regex(re.compile(r"[a-z]([a-z0-9-]{0,5}[a-z0-9])?(\.[a-z]{1,4})?", re.ASCII), fullmatch=True)
    | st.sampled_from(["192.0.2.7", "[2001:db8::1]"]),
    st.sampled_from(["", ":5060"]),
    st.sampled_from(["", ";transport=tls", ";user=phone;lr"]),
)
"""SIP and SIPS URIs without a password and header fields."""


def _is_unknown(text):
    return isinstance(parse_identifier(text), UnknownIdentifier)


def _identifiers():
    number = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True) | st.just("anonymous") | PARTS
    name = st.none() | st.text(max_size=8)
    tenant = st.none() | WORDS
    cloud = st.sampled_from(transferkit.Cloud)
    kind = st.from_regex(re.compile(r"[A-Za-z][A-Za-z0-9]{0,8}", re.ASCII), fullmatch=True)
    return {
        PhoneNumber: st.builds(PhoneNumber, number, asserted_id=st.none() | PARTS, display_name=name),
        TeamsUser: st.builds(TeamsUser, WORDS, tenant_id=tenant, display_name=name, cloud=cloud)
        | st.builds(TeamsUser, WORDS, display_name=name, anonymous=st.just(value=True)),
        TeamsApp: st.builds(TeamsApp, WORDS, tenant_id=tenant, display_name=name, cloud=cloud),
        CommunicationUser: st.builds(
            CommunicationUser,
            st.builds(
                "{}{}".format, PREFIXES, st.from_regex(r"[0-9a-f-]{1,8}(_[0-9a-f-]{1,8})?", fullmatch=True)
            ),
            display_name=name,
        ),
        TeamsExtensionUser: st.builds(
            TeamsExtensionUser, user_id=PARTS, tenant_id=PARTS, resource_id=PARTS, cloud=cloud
        ),
        SipAddress: st.builds(SipAddress, SIP_URIS, display_name=name),
        UnknownIdentifier: st.builds(
            UnknownIdentifier,
            WORDS.filter(_is_unknown).filter(lambda text: ":" not in text),
            tenant_id=tenant,
        )
        | st.builds(
            UnknownIdentifier,
            WORDS,
            kind=kind.filter(lambda word: word.lower() not in {"teams", "app", "acs", "sip", "sips"}),
            tenant_id=tenant,
            display_name=name,
        ),
    }


def _field(hint):
    """A strategy for one field of one of our attrs classes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return st.one_of(*(st.none() if option is type(None) else _field(option) for option in arguments))
    if origin is tuple:
        return st.lists(_field(arguments[0]), min_size=1, max_size=3).map(tuple)
    if origin is Mapping or hint == FrozenMap[Any]:
        return st.dictionaries(st.text(max_size=8), JSON, max_size=3).map(freeze)
    if origin is FrozenMap:
        return st.dictionaries(WORDS, _field(arguments[0]), max_size=3).map(FrozenMap)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    simple = {str: WORDS, int: st.integers(-1, 10**6), bool: st.booleans(), datetime: TIMES, timedelta: SPANS}
    return simple[hint] if hint in simple else st.from_type(hint)


def _register(cls):
    """Every field of `cls` generated, not only those without a default."""
    hints = get_type_hints(cls)

    def build():
        return st.builds(cls, **{field.name: _field(hints[field.name]) for field in attrs.fields(cls)})

    st.register_type_strategy(cls, st.deferred(build))


for _class, _strategy in _identifiers().items():
    st.register_type_strategy(_class, _strategy)
st.register_type_strategy(Identifier, st.one_of(*_identifiers().values()))
for _class in (
    transferkit.Call,
    transferkit.TeamsPhoneCallerDetails,
    transferkit.TeamsPhoneSourceDetails,
    transferkit.TeamsPhoneCallDetails,
    transferkit.CallingContext,
    transferkit.Transfer,
    transferkit.Redirect,
    transferkit.Consultation,
    transferkit.AnswerCall,
    transferkit.RejectCall,
    transferkit.PlaceCall,
    transferkit.Hold,
    transferkit.Resume,
    transferkit.Join,
    transferkit.HangUp,
    transferkit.Attempt,
    transferkit.Route,
    transferkit.AttemptFailure,
    transferkit.Participant,
    Result,
    Rules,
    OpenTransfer,
    FinishedTransfer,
    ConsultationStep,
    Ending,
    OpenConsultation,
    CallKey,
    Opened,
    PlannedAttempt,
    OpenRoute,
    CallState,
):
    _register(_class)
EVENT_CLASSES = [
    cls
    for cls in vars(transferkit.events).values()
    if isinstance(cls, type) and issubclass(cls, Event) and hasattr(cls, "kind")
]
for _class in EVENT_CLASSES:
    _register(_class)
st.register_type_strategy(Event, st.one_of(*(st.from_type(cls) for cls in EVENT_CLASSES)))
