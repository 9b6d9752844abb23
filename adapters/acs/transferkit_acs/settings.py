"""The keys of `[providers.acs]`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from typing import ClassVar, NoReturn, final

from attrs import field, frozen
from transferkit_microsoft.settings import EntraSettings, is_url

from transferkit.errors import ConfigError, Problem
from transferkit.provider.adapter import TokenPolicy
from transferkit.provider.secret import Secret
from transferkit.provider.urls import split_url

__all__ = ["AcsSettings", "ApiVersion", "ConnectionString"]

_PLACEHOLDER_ENDPOINT = "https://resource.communication.azure.com"
_CONNECTION_STRING_FORM = "endpoint=https://NAME.communication.azure.com/;accesskey=KEY"


class ApiVersion(StrEnum):
    """The known api-versions of Call Automation. A later one compares as greater."""

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


@final
@frozen(kw_only=True)
class ConnectionString:
    """The two parts of a connection string, in any order and with names in any letter case."""

    endpoint: str
    access_key: str = field(repr=False)

    @classmethod
    def read(cls, text: str, *, key: str) -> ConnectionString:
        """Read a connection string. Raises `ConfigError` that names `key` and contains nothing of `text`."""
        parts = {
            name.strip().lower(): value.strip()
            for name, _, value in (part.partition("=") for part in text.split(";"))
        }
        endpoint, access_key = parts.get("endpoint", ""), parts.get("accesskey", "")
        if "://" not in endpoint:
            endpoint = f"https://{endpoint}"
        if not access_key or not split_url(endpoint).hostname:
            _unusable(key, "is not a connection string")
        try:
            base64.b64decode(access_key, validate=True)
        except (binascii.Error, ValueError):
            _unusable(key, "has an access key that is not base64")
        return cls(endpoint=endpoint.rstrip("/"), access_key=access_key)


def _unusable(key: str, why: str) -> NoReturn:
    raise ConfigError("providers.acs", [Problem(key, why, _CONNECTION_STRING_FORM)])


# The application under which Event Grid delivers (learn.microsoft.com event-grid/secure-webhook-delivery).
_EVENT_GRID = "4962773b-9cdb-44cf-a8bf-237846a00ab7"

# Other credentials have no registration in Entra.
_STRAYS = {
    "connection_string": ("tenant_id", "client_id"),
    "managed_identity": ("tenant_id", "client_id"),
    "credential": ("client_id",),
}


@final
@frozen(kw_only=True)
class AcsSettings(EntraSettings):
    """`[providers.acs]`.

    One kind of credential:

    * `connection_string`: the resource's endpoint and access key; or
    * `endpoint` with `tenant_id` and `client_id` of an application registered in Entra, and one of
      `client_secret`; `certificate`, the private key and its certificate in PEM form, with
      `certificate_password` if the key is encrypted; `client_assertion`, the token of a federated identity
      credential, usually `{ file = "…" }`; or
    * `endpoint` with `managed_identity`: `"system"`, or the client id of a user-assigned identity; or
    * `endpoint` with `credential`: an azure-core credential object (Python only), with `tenant_id` if the
      object needs it.

    And for all of them:

    * `resource_id`: the resource's immutable id, which is the audience of its callbacks.
    * `api_version`: which fields requests can have, and the `version` of the calls' events.
    * `openid_url`, `issuers`: who signs callbacks, if it is not the public cloud's usual signer.
    * `eventgrid_secret`: what Event Grid's requests must have as `secret` in the query of their URL;
      `eventgrid_old_secret` is accepted as well, until every subscription has the new one.
    * `eventgrid_audience`: the audience of the tokens of Event Grid's deliveries, if the subscription uses
      Entra. `eventgrid_tenant_id` issues them (by default `tenant_id`), `eventgrid_senders` are the
      applications that may send (by default Event Grid's own), and `eventgrid_openid_url` and
      `eventgrid_issuers` replace the tenant's usual ones.
    * `authority`: the token authority. Its path can only be a tenant, which is the default tenant.
    * `ca_file`: the only certificate authorities to trust, for emulators and proxies.
    * `timeout`: seconds to wait for a token, for a connection and for a response, each.

    `endpoint` takes precedence over the connection string's. A preview of a request resolves no secret, so it
    shows a placeholder if only a secret contains the endpoint.
    """

    table: ClassVar[str] = "providers.acs"

    connection_string: Secret | None = None
    endpoint: str | None = field(default=None, validator=is_url("https", "http"))
    resource_id: str | None = None
    api_version: ApiVersion = field(default=ApiVersion.V2026_03_12, converter=_version)
    openid_url: str = field(
        default="https://acscallautomation.communication.azure.com/calling/.well-known/acsopenidconfiguration",
        validator=is_url("https", "http"),
    )
    issuers: tuple[str, ...] = field(
        default=("https://acscallautomation.communication.azure.com",), converter=tuple
    )
    eventgrid_secret: Secret | None = None
    eventgrid_old_secret: Secret | None = None
    eventgrid_audience: str | None = None
    eventgrid_tenant_id: str | None = None
    eventgrid_senders: tuple[str, ...] = field(default=(_EVENT_GRID,), converter=tuple)
    eventgrid_openid_url: str | None = field(default=None, validator=is_url("https", "http"))
    eventgrid_issuers: tuple[str, ...] = field(default=(), converter=tuple)

    def _contradictions(self) -> Iterator[str]:
        yield from super()._contradictions()
        for kind in self._credential_keys():
            names = [name for name in _STRAYS.get(kind, ()) if getattr(self, name) is not None]
            yield from (f"{name}: not beside {kind}" for name in names)
        if self.uses_entra and self.endpoint is not None and split_url(self.endpoint).scheme != "https":
            yield "endpoint: a token of Entra is sent over https only"
        if self.eventgrid_old_secret is not None and self.eventgrid_secret is None:
            yield "eventgrid_old_secret: needs eventgrid_secret"
        own_issuer = self.eventgrid_openid_url is not None and self.eventgrid_issuers
        if self.eventgrid_audience is not None and self._eventgrid_tenant is None and not own_issuer:
            yield "eventgrid_audience: needs eventgrid_tenant_id"

    @property
    def call_policy(self) -> TokenPolicy | None:
        """The token that mid-call callbacks must carry; None without their audience, `resource_id`."""
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
        """The secrets that requests of Event Grid may have in their URL."""
        return tuple(each for each in (self.eventgrid_secret, self.eventgrid_old_secret) if each is not None)

    @property
    def eventgrid_policy(self) -> TokenPolicy | None:
        """The token of Entra, version 1 or 2, that deliveries must carry; None without `eventgrid_audience`.

        Claims: learn.microsoft.com entra/identity-platform/access-token-claims-reference.
        """
        if self.eventgrid_audience is None:
            return None
        tenant = self._eventgrid_tenant
        authority = f"{self.authority_of(tenant or '')}/v2.0"
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
        return any(each is not None for each in (self.tenant_id, self.client_id, self.credential_kind))

    def _credential_keys(self) -> list[str]:
        own = [] if self.connection_string is None else ["connection_string"]
        return own + super()._credential_keys()

    @property
    def shown_endpoint(self) -> str:
        """The endpoint as far as it is known without resolving a secret."""
        if self.endpoint is not None:
            return self.endpoint.rstrip("/")
        if self.connection_string is not None and self.connection_string.value is not None:
            with suppress(ConfigError):
                return self.read_connection_string().endpoint
        return _PLACEHOLDER_ENDPOINT

    def read_connection_string(self) -> ConnectionString:
        """Resolve and read the connection string. Raises `ConfigError`, also if there is none."""
        secret = self.connection_string or Secret(key=f"{self.table}.connection_string")
        return ConnectionString.read(secret.resolve(), key=f"{self.table}.connection_string")
