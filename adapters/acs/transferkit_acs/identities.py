"""Identifiers as ACS writes them (`CommunicationIdentifierModel`), and back.

A request carries `kind` and the typed object of that kind, as the published examples do (ACS REST
2026-03-12); a raw id is optional there and would say nothing more. What arrives is read by its raw id, which
responses must have, else by whichever typed object is there.
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
    """The identifier in a received model; None if it names nobody. Never raises."""
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
