"""The keys of `[providers.acs]`."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, final

from attrs import Attribute, field, frozen

from transferkit.errors import ConfigError, Problem
from transferkit.provider.adapter import TokenPolicy
from transferkit.provider.secret import Secret
from transferkit.provider.urls import split_url

__all__ = ["AcsSettings", "ApiVersion", "ConnectionString"]

_PLACEHOLDER_ENDPOINT = "https://resource.communication.azure.com"
_CONNECTION_STRING_FORM = "endpoint=https://NAME.communication.azure.com/;accesskey=KEY"


class ApiVersion(StrEnum):
    """The Call Automation api-versions that are known here; a later one compares as greater."""

    V2023_03_06 = "2023-03-06"
    V2023_10_15 = "2023-10-15"
    V2024_04_15 = "2024-04-15"
    V2024_09_15 = "2024-09-15"
    V2025_05_15 = "2025-05-15"
    V2025_06_15 = "2025-06-15"
    V2026_03_12 = "2026-03-12"


def _version(value: str) -> ApiVersion:
    try:
        return ApiVersion(value)
    except ValueError:
        known = ", ".join(ApiVersion)
        raise ValueError(f"api_version: {value!r} is not known; known are {known}") from None


def _is_url(*schemes: str) -> Any:
    def check(_: object, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None and not (split_url(value).hostname and split_url(value).scheme in schemes):
            raise ValueError(f"{attribute.name}: expected an address that begins with {schemes[0]}://")

    return check


def _is_a_while(_: object, attribute: Attribute[float], value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name}: expected seconds, more than none")


@final
@frozen(kw_only=True)
class ConnectionString:
    """The two parts of a connection string. Their order and the letter case of their names do not matter."""

    endpoint: str
    access_key: str = field(repr=False)

    @classmethod
    def read(cls, text: str, *, key: str) -> ConnectionString:
        """Read a connection string. Raises `ConfigError`, which names `key` and shows nothing of `text`."""
        parts = {
            name.strip().lower(): value.strip()
            for name, _, value in (part.partition("=") for part in text.split(";"))
        }
        endpoint, access_key = parts.get("endpoint", ""), parts.get("accesskey", "")
        if "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        if not access_key or not split_url(endpoint).hostname:
            _unusable(key, "is no connection string")
        try:
            base64.b64decode(access_key, validate=True)
        except (binascii.Error, ValueError):
            _unusable(key, "has an access key that is not base64")
        return cls(endpoint=endpoint.rstrip("/"), access_key=access_key)


def _unusable(key: str, why: str) -> NoReturn:
    raise ConfigError("providers.acs", [Problem(key, why, _CONNECTION_STRING_FORM)])


# The application under which Event Grid delivers (learn.microsoft.com event-grid/secure-webhook-delivery).
_EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"

_KINDS = ("connection_string", "client_secret", "certificate", "managed_identity")
# What belongs to a registration in Entra says nothing to the others.
_STRAYS = dict.fromkeys(("connection_string", "managed_identity"), ("tenant_id", "client_id"))


@final
@frozen(kw_only=True)
class AcsSettings:
    """`[providers.acs]`.

    One kind of credential:

    * `connection_string`: the resource's endpoint and access key; or
    * `endpoint` with `tenant_id` and `client_id` of an application registered in Entra, and its
      `client_secret`, or its `certificate` together with the private key in PEM form, which
      `certificate_password` opens where it is encrypted; or
    * `endpoint` with `managed_identity`: `"system"`, or the client id of one assigned by the user.

    And for all of them:

    * `resource_id`: the resource's immutable id, which is the audience of its callbacks.
    * `api_version`: which fields there are, and the `version` of the calls' events.
    * `openid_url`, `issuers`: who signs callbacks, where it is not the public cloud's usual signer.
    * `eventgrid_secret`: what Event Grid's requests must have as `secret` in the query of their URL;
      `eventgrid_old_secret` is taken, too, until every subscription has the new one.
    * `eventgrid_audience`: where deliveries are protected by Entra, whom their tokens are for, as the
      subscription has it; `eventgrid_tenant_id` is the tenant that issues them (`tenant_id` unless told), and
      `eventgrid_senders` are the applications that may send (Event Grid's own unless told).
      `eventgrid_openid_url` and `eventgrid_issuers` stand in for the tenant's usual ones.
    * `authority`: the token authority, without a tenant.
    * `ca_file`: the only certificate authorities to trust, for emulators and proxies.
    * `timeout`: seconds to wait for a token, for a connection and for an answer, each.

    `endpoint` goes before the connection string's. Where only a secret knows the endpoint, a preview of a
    request, which resolves no secret, shows a placeholder in its place.
    """

    connection_string: Secret | None = None
    endpoint: str | None = field(default=None, validator=_is_url("https", "http"))
    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    certificate: Secret | None = None
    certificate_password: Secret | None = None
    managed_identity: str | None = None
    resource_id: str | None = None
    api_version: ApiVersion = field(default=ApiVersion.V2026_03_12, converter=_version)
    authority: str = field(default="https://login.microsoftonline.com", validator=_is_url("https"))
    openid_url: str = field(
        default="https://acscallautomation.communication.azure.com/calling/.well-known/acsopenidconfiguration",
        validator=_is_url("https", "http"),
    )
    issuers: tuple[str, ...] = field(
        default=("https://acscallautomation.communication.azure.com",), converter=tuple
    )
    eventgrid_secret: Secret | None = None
    eventgrid_old_secret: Secret | None = None
    eventgrid_audience: str | None = None
    eventgrid_tenant_id: str | None = None
    eventgrid_senders: tuple[str, ...] = field(default=(_EVENT_GRID,), converter=tuple)
    eventgrid_openid_url: str | None = field(default=None, validator=_is_url("https", "http"))
    eventgrid_issuers: tuple[str, ...] = field(default=(), converter=tuple)
    ca_file: Path | None = None
    timeout: float = field(default=30.0, validator=_is_a_while)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._contradictions()):
            raise ValueError("; ".join(problems))

    def _contradictions(self) -> Iterator[str]:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) > 1:
            yield f"{' and '.join(given)}: only one of them may be given"
        for kind, names in _STRAYS.items():
            if kind in given:
                yield from (f"{name}: not beside {kind}" for name in names if getattr(self, name) is not None)
        if self.managed_identity == "":
            yield 'managed_identity: expected "system" or a client id'
        if self.certificate_password is not None and self.certificate is None:
            yield "certificate_password: needs certificate"
        if self.uses_entra and self.endpoint is not None and split_url(self.endpoint).scheme != "https":
            yield "endpoint: a token of Entra is sent over https only"

        if self.eventgrid_old_secret is not None and self.eventgrid_secret is None:
            yield "eventgrid_old_secret: needs eventgrid_secret"
        told = self.eventgrid_openid_url is not None and self.eventgrid_issuers
        if self.eventgrid_audience is not None and self._eventgrid_tenant is None and not told:
            yield "eventgrid_audience: needs eventgrid_tenant_id"

    @property
    def call_policy(self) -> TokenPolicy | None:
        """The token of a call's own callbacks; None while `resource_id` is missing."""
        if self.resource_id is None:
            return None
        return TokenPolicy(
            openid_url=self.openid_url,
            issuers=self.issuers,
            audience=self.resource_id,
            ca_file=self.ca_file,
        )

    @property
    def eventgrid_secrets(self) -> tuple[Secret, ...]:
        """The secrets that Event Grid's requests may carry."""
        return tuple(one for one in (self.eventgrid_secret, self.eventgrid_old_secret) if one is not None)

    @property
    def eventgrid_policy(self) -> TokenPolicy | None:
        """Entra's token of Event Grid's deliveries, of either version; None where they are not so protected.

        Claims: learn.microsoft.com entra/identity-platform/access-token-claims-reference.
        """
        if self.eventgrid_audience is None:
            return None
        tenant = self._eventgrid_tenant
        authority = f"{self.authority.rstrip('/')}/{tenant}/v2.0"
        return TokenPolicy(
            openid_url=self.eventgrid_openid_url or f"{authority}/.well-known/openid-configuration",
            issuers=self.eventgrid_issuers or (authority, f"https://sts.windows.net/{tenant}/"),
            audience=self.eventgrid_audience,
            sender_claims=("azp", "appid"),
            allowed_senders=self.eventgrid_senders,
            ca_file=self.ca_file,
        )

    @property
    def _eventgrid_tenant(self) -> str | None:
        return self.eventgrid_tenant_id or self.tenant_id

    @property
    def uses_entra(self) -> bool:
        """Whether requests carry a token of Entra instead of a signature."""
        return any(getattr(self, name) is not None for name in ("tenant_id", "client_id", *_KINDS[1:]))

    @property
    def shown_endpoint(self) -> str:
        """The endpoint as far as it is known without resolving a secret."""
        if self.endpoint is not None:
            return self.endpoint.rstrip("/")
        if self.connection_string is not None and self.connection_string.value is not None:
            try:
                return self.read_connection_string(self.connection_string).endpoint
            except ConfigError:
                return _PLACEHOLDER_ENDPOINT
        return _PLACEHOLDER_ENDPOINT

    def read_connection_string(self, secret: Secret) -> ConnectionString:
        """Resolve and read the connection string. Raises `ConfigError`."""
        return ConnectionString.read(secret.resolve(), key=secret.key)
