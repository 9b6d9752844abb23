"""Identifiers as ACS writes them (`CommunicationIdentifierModel`), and back.

A request carries `kind` and the typed object of that kind, as the published examples do (ACS REST
2026-03-12); a raw id is optional there and would say nothing more. What arrives is read by its raw id, which
responses must have, else by whichever typed object is there.
"""

from __future__ import annotations

from typing import Any

from transferkit.identifiers import (
    Cloud,
    CommunicationUser,
    Identifier,
    PhoneNumber,
    TeamsApp,
    TeamsExtensionUser,
    TeamsUser,
    UnknownIdentifier,
    parse_identifier,
)
from transferkit_acs.payloads import member, text_of
from transferkit_acs.settings import ApiVersion

__all__ = ["KINDS_SINCE", "identifier_of", "kinds_of", "model_of", "phone_model_of", "response_model_of"]

KINDS_SINCE: dict[type[Identifier], ApiVersion] = {
    PhoneNumber: ApiVersion.V2023_03_06,
    CommunicationUser: ApiVersion.V2023_03_06,
    TeamsUser: ApiVersion.V2023_03_06,
    TeamsApp: ApiVersion.V2024_04_15,
    TeamsExtensionUser: ApiVersion.V2025_06_15,
}
"""The kinds that have a published typed object, and the api-version that brought it."""


def kinds_of(version: ApiVersion) -> tuple[type[Identifier], ...]:
    """The kinds of identifier that an api-version has."""
    return tuple(kind for kind, since in KINDS_SINCE.items() if version >= since)


def model_of(someone: Identifier) -> dict[str, Any]:
    """An identifier as requests have it. Raises `TypeError` for a kind that has no published form."""
    kind, typed = _typed(someone)
    return {"kind": kind, kind: typed}


def response_model_of(someone: Identifier) -> dict[str, Any]:
    """An identifier as responses and events have it: with its raw id, which is all of an unknown one."""
    if isinstance(someone, UnknownIdentifier):
        return {"kind": "unknown", "rawId": someone.raw_id}
    kind, typed = _typed(someone)
    return {"kind": kind, "rawId": someone.raw_id, kind: typed}


def phone_model_of(number: PhoneNumber) -> dict[str, Any]:
    """A bare phone number (`PhoneNumberIdentifierModel`)."""
    model: dict[str, Any] = {"value": number.number}
    if number.is_anonymous:
        model["isAnonymous"] = True
    if number.asserted_id is not None:
        model["assertedId"] = number.asserted_id
    return model


def _typed(someone: Identifier) -> tuple[str, dict[str, Any]]:
    match someone:
        case PhoneNumber():
            return "phoneNumber", phone_model_of(someone)
        case CommunicationUser(id=user):
            return "communicationUser", {"id": user}
        case TeamsUser(id=user, anonymous=anonymous, cloud=cloud):
            return "microsoftTeamsUser", {"userId": user, "isAnonymous": anonymous, "cloud": cloud.value}
        case TeamsApp(id=app, cloud=cloud):
            return "microsoftTeamsApp", {"appId": app, "cloud": cloud.value}
        case TeamsExtensionUser(user_id=user, tenant_id=tenant, resource_id=resource, cloud=cloud):
            return "teamsExtensionUser", {
                "userId": user,
                "tenantId": tenant,
                "resourceId": resource,
                "cloud": cloud.value,
            }
        case _:
            raise TypeError(f"ACS has no form for {type(someone).kind_name}")


def identifier_of(model: object) -> Identifier | None:
    """Who a received model names; None where it names nobody. Never raises."""
    if model is None:
        return None
    try:
        raw_id = text_of(model, "rawId")
        return parse_identifier(raw_id) if raw_id else _of_typed(model)
    except ValueError:
        return None


def _of_typed(model: object) -> Identifier | None:
    if number := text_of(member(model, "phoneNumber"), "value"):
        asserted = text_of(member(model, "phoneNumber"), "assertedId") or None
        return PhoneNumber(number, asserted_id=asserted) if asserted else parse_identifier(f"4:{number}")
    if user := text_of(member(model, "communicationUser"), "id"):
        return parse_identifier(user)
    if user := text_of(typed := member(model, "microsoftTeamsUser"), "userId"):
        return TeamsUser(user, cloud=_cloud(typed), anonymous=member(typed, "isAnonymous") is True)
    if app := text_of(typed := member(model, "microsoftTeamsApp"), "appId"):
        return TeamsApp(app, cloud=_cloud(typed))
    typed = member(model, "teamsExtensionUser")
    user, tenant, resource = (text_of(typed, name) for name in ("userId", "tenantId", "resourceId"))
    if user and tenant and resource:
        return TeamsExtensionUser(user_id=user, tenant_id=tenant, resource_id=resource, cloud=_cloud(typed))
    return None


def _cloud(typed: object) -> Cloud:
    try:
        return Cloud((text_of(typed, "cloud") or Cloud.PUBLIC).lower())
    except ValueError:
        return Cloud.PUBLIC
