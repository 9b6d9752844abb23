"""What Graph supports, by cloud, api and body form, and the rules that concern several fields.

Availability and limits: learn.microsoft.com call-transfer, call-redirect, call-answer, call-reject,
call-delete, application-post-calls, participant-startHoldMusic and the resource type call (v1.0, beta), and
the published schemas: the sovereign ones have no `transferee`, and of a target only `identity` and
`replacesCallId`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from transferkit_microsoft.ids import GUID, GUID_FORM, identifiers_of, wrong_ids

from transferkit.errors import Problem
from transferkit.identifiers import Cloud, Identifier, PhoneNumber, TeamsUser
from transferkit.provider.capabilities import Capabilities, Support
from transferkit.provider.limits import Anything, Identifiers, Limit, Seconds, Text
from transferkit.requests import JoinSide, PlaceCall, Request, RequestKind, Transfer
from transferkit_graph.clouds import GraphCloud
from transferkit_graph.identities import CLASSLESS, KINDS
from transferkit_graph.settings import Api, BodyForm, GraphSettings

__all__ = ["CALL_ID", "capabilities_of", "further_problems", "not_offered"]

_IDENTIFIER = Identifiers(kinds=KINDS, unknown_kinds=CLASSLESS)
_REDIRECT_TARGETS = Identifiers(kinds=KINDS, unknown_kinds=CLASSLESS, max_count=25)
_RING_TIMEOUT = Seconds(15, 90)
CALL_ID = re.compile(rf"{GUID}|[0-9A-Fa-f]{{32}}")
"""The id of a call, or of a request."""
_CALL = Text(pattern=CALL_ID.pattern, form=f"a call id, {GUID_FORM}")
_HTTPS = Text(pattern=r"https://[^\s/].*", form="an https address")
_OWN_CALLBACK = Text(
    pattern=r"https://[^\s/]\S*|http://(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?(?:/\S*)?",
    form="an https address (http on loopback, for emulators)",
)
_CALL_TIMEOUT = Seconds(1, 115)


def capabilities_of(settings: GraphSettings) -> Capabilities:
    """What the configured cloud, api and body form support."""
    if not_offered(settings):
        return Capabilities(transfer=None, redirect=None)
    return Capabilities(
        transfer=_transfer(settings),
        redirect=_redirect(settings),
        steps={kind: Support(fields=limits) for kind, limits in _steps(settings).items()},
        join_side=JoinSide.CALLER,
    )


def not_offered(settings: GraphSettings) -> Problem | None:
    """Why neither transfers nor redirects are available as configured; None if they are."""
    if settings.cloud is GraphCloud.CHINA:
        return Problem("request", "Graph does not support transfer or redirect in China", "another cloud")
    if settings.api is Api.BETA and settings.cloud is not GraphCloud.GLOBAL:
        return Problem("request", "Graph's beta is available in the global cloud only", 'api = "v1.0"')
    return None


def _transfer(settings: GraphSettings) -> dict[str, Limit]:
    limits: dict[str, Limit] = {"call": _CALL, "to": _IDENTIFIER, "replaces": _CALL}
    if settings.cloud is GraphCloud.GLOBAL and settings.body is BodyForm.CURRENT:
        optional = ("participant_id", "language_id", "region", "endpoint")
        limits |= {"transferee": _IDENTIFIER, **{name: Anything() for name in optional}}
    return limits


def _redirect(settings: GraphSettings) -> dict[str, Limit]:
    limits: dict[str, Limit] = {
        "call": _CALL,
        "to": _REDIRECT_TARGETS,
        "ring_timeout": _RING_TIMEOUT,
        "callback_uri": _HTTPS,
    }
    if settings.api is Api.BETA:
        limits |= {name: Anything() for name in ("disposition", "mask_caller", "mask_callee")}
    return limits


def _steps(settings: GraphSettings) -> dict[RequestKind, dict[str, Limit]]:
    """The fields of each step.

    Graph recognizes no repetition, so no step is sent again after it may have been executed. A join is a
    consultative transfer. A participant can be named only in group calls, which the sovereign schemas do not
    transfer from.
    """
    participant: dict[str, Limit] = {"participant": _IDENTIFIER, "participant_id": Anything()}
    transfers_from_groups = "transferee" in _transfer(settings)
    call: dict[str, Limit] = {"call": _CALL}
    return {
        RequestKind.ANSWER: {**call, "callback_uri": _OWN_CALLBACK},
        RequestKind.REJECT: {**call, "reason": Anything()},
        RequestKind.PLACE_CALL: {
            "to": _IDENTIFIER,
            "ring_timeout": _CALL_TIMEOUT,
            "callback_uri": _OWN_CALLBACK,
        },
        RequestKind.HOLD: {**call, **participant},
        RequestKind.RESUME: {**call, **participant},
        RequestKind.JOIN: {
            **call,
            "other": _CALL,
            "to": _IDENTIFIER,
            **(participant if transfers_from_groups else {}),
        },
        RequestKind.HANG_UP: {**call, "leave": Anything()},
    }


def further_problems(request: Request, settings: GraphSettings) -> Iterator[Problem]:
    """Problems of several fields together, of the call's tenant, and of identifiers."""
    if isinstance(request, Transfer) and request.participant_id and request.transferee is None:
        yield Problem(
            "participant_id",
            "names an endpoint, but no transferee is given",
            "a transferee",
        )
    if isinstance(request, PlaceCall) and request.callback_uri is None:
        yield Problem("callback_uri", "is missing", "an https address, or public_url in the configuration")
    if not settings.reaches(request.call.tenant_id):
        yield Problem(
            "call.tenant_id",
            "a managed identity gets tokens of its own tenant only",
            "a call of tenant_id, or a client_secret or certificate",
        )
    for name, identifier in identifiers_of(request):
        yield from _inexpressible(name, identifier, settings.cloud_facts.identifiers)
        if isinstance(identifier, KINDS):  # of another kind, it is refused already
            yield from wrong_ids(name, identifier)


def _inexpressible(name: str, identifier: Identifier | None, cloud: Cloud) -> Iterator[Problem]:
    """The parts of an identifier that Graph's identity cannot express."""
    its_cloud = getattr(identifier, "cloud", Cloud.PUBLIC)
    if its_cloud not in {Cloud.PUBLIC, cloud}:
        yield Problem(name, f"is in the cloud {its_cloud}, which this Graph does not serve", f"cloud {cloud}")
    if isinstance(identifier, TeamsUser) and identifier.anonymous:
        yield Problem(
            name,
            "Graph has no identity for an anonymous visitor",
            'UnknownIdentifier(id, kind="guest") for a guest',
        )
    if isinstance(identifier, PhoneNumber) and identifier.asserted_id is not None:
        yield Problem(name, "Graph has no asserted id for a phone number", "leave asserted_id out")
