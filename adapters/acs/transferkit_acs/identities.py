"""Identifiers as ACS's `CommunicationIdentifierModel`, and back.

A request has `kind` and the typed object of that kind, as in the published examples (ACS REST 2026-03-12). A
raw id is optional there and adds nothing. A received model is read by its raw id, which responses must have,
else by its typed object.
"""

from __future__ import annotations

from typing import Any

from transferkit_microsoft.lenient_json import JsonObject

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
from transferkit_acs.settings import ApiVersion

__all__ = ["KINDS_SINCE", "identifier_of", "kinds_of", "model_of", "phone_model_of", "response_model_of"]

KINDS_SINCE: dict[type[Identifier], ApiVersion] = {
    PhoneNumber: ApiVersion.V2023_03_06,
    CommunicationUser: ApiVersion.V2023_03_06,
    TeamsUser: ApiVersion.V2023_03_06,
    TeamsApp: ApiVersion.V2024_04_15,
    TeamsExtensionUser: ApiVersion.V2025_06_15,
}
"""The kinds that have a published typed object, and the api-version that added it."""


def kinds_of(version: ApiVersion) -> tuple[type[Identifier], ...]:
    """The kinds of identifier that an api-version has."""
    return tuple(kind for kind, since in KINDS_SINCE.items() if version >= since)


def model_of(identifier: Identifier) -> dict[str, Any]:
    """The model of an identifier in a request. Raises `TypeError` for a kind that has no published form."""
    kind, typed = _typed(identifier)
    return {"kind": kind, kind: typed}


def response_model_of(identifier: Identifier) -> dict[str, Any]:
    """The model of an identifier in responses and events: with its raw id."""
    if isinstance(identifier, UnknownIdentifier):
        return {"kind": "unknown", "rawId": identifier.raw_id}
    kind, typed = _typed(identifier)
    return {"kind": kind, "rawId": identifier.raw_id, kind: typed}


def phone_model_of(number: PhoneNumber) -> dict[str, Any]:
    """A bare phone number (`PhoneNumberIdentifierModel`)."""
    model: dict[str, Any] = {"value": number.number}
    if number.is_anonymous:
        model["isAnonymous"] = True
    if number.asserted_id is not None:
        model["assertedId"] = number.asserted_id
    return model


def _typed(identifier: Identifier) -> tuple[str, dict[str, Any]]:
    match identifier:
        case PhoneNumber():
            return "phoneNumber", phone_model_of(identifier)
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
            raise TypeError(f"ACS has no form for {type(identifier).kind_name}")


def identifier_of(model: object) -> Identifier | None:
    """The identifier in a received model; None if it contains no identity. Never raises."""
    members = JsonObject(model)
    try:
        raw_id = members.text("rawid")
        return parse_identifier(raw_id) if raw_id else _of_typed(members)
    except ValueError:
        return None


def _of_typed(model: JsonObject) -> Identifier | None:
    phone = model.child("phonenumber")
    if number := phone.text("value"):
        asserted = phone.text("assertedid")
        return PhoneNumber(number, asserted_id=asserted) if asserted else parse_identifier(f"4:{number}")
    if user := model.child("communicationuser").text("id"):
        return parse_identifier(user)
    typed = model.child("microsoftteamsuser")
    if user := typed.text("userid"):
        return TeamsUser(user, cloud=_cloud(typed), anonymous=typed.flag("isanonymous") is True)
    typed = model.child("microsoftteamsapp")
    if app := typed.text("appid"):
        return TeamsApp(app, cloud=_cloud(typed))
    typed = model.child("teamsextensionuser")
    user, tenant, resource = (typed.text(name) for name in ("userid", "tenantid", "resourceid"))
    if user and tenant and resource:
        return TeamsExtensionUser(user_id=user, tenant_id=tenant, resource_id=resource, cloud=_cloud(typed))
    return None


def _cloud(typed: JsonObject) -> Cloud:
    try:
        return Cloud((typed.text("cloud") or Cloud.PUBLIC).lower())
    except ValueError:
        return Cloud.PUBLIC
