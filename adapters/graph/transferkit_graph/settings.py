"""The keys of `[providers.graph]`."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from attrs import Attribute, field, frozen

from transferkit.provider.adapter import TokenPolicy
from transferkit.provider.secret import Secret
from transferkit.provider.urls import is_loopback, split_url
from transferkit_graph.clouds import CLOUDS, CloudFacts, GraphCloud

__all__ = ["Api", "BodyForm", "CallsPath", "CredentialKind", "GraphSettings"]


class Api(StrEnum):
    """Graph's version, as it stands in the URL."""

    V1 = "v1.0"
    BETA = "beta"


class CallsPath(StrEnum):
    """Under which path Graph keeps the calls; all three are published."""

    COMMUNICATIONS = "communications"
    APP = "app"
    """The older alias of `communications`."""
    APPLICATIONS = "applications"
    """The application named by `app_id` (2018)."""


class BodyForm(StrEnum):
    """The form of a transfer's body."""

    CURRENT = "current"
    """`transferTarget` and `transferee`."""
    Y2018 = "2018"
    """`target`, `clientContext` and `operationContext`."""


class CredentialKind(StrEnum):
    """How the application proves who it is: the key that says so."""

    CLIENT_SECRET = "client_secret"  # noqa: S105 - the key's name
    CERTIFICATE = "certificate"
    MANAGED_IDENTITY = "managed_identity"


def _is_url(*schemes: str) -> Any:
    def check(_: object, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None and not (split_url(value).hostname and split_url(value).scheme in schemes):
            raise ValueError(f"{attribute.name}: expected an address that begins with {schemes[0]}://")

    return check


def _keeps_tokens_secret(_: object, attribute: Attribute[Any], value: str | None) -> None:
    parts = split_url(value or "")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"{attribute.name}: a token is sent over https only, but to this machine")


def _is_span(_: object, attribute: Attribute[Any], value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name}: expected seconds, more than none")


def _has_app_id(settings: GraphSettings, _: object, value: CallsPath) -> None:
    # attrs runs validators when all fields are set, so that one may look at another.
    if value is CallsPath.APPLICATIONS and not settings.app_id:
        raise ValueError("app_id: needed where path is applications")


def _has_one_credential(settings: GraphSettings, _: object, identity: str | None) -> None:
    """Every contradiction of the keys about credentials, in one error."""
    given = [kind for kind in CredentialKind if getattr(settings, kind) is not None]
    wrong: list[str] = []
    if len(given) > 1:
        wrong.append(f"{' and '.join(given)}: only one of them may be given")
    if settings.certificate_password is not None and settings.certificate is None:
        wrong.append("certificate_password: needs certificate")
    if identity == "":
        wrong.append('managed_identity: expected "system" or a client id')
    if wrong:
        raise ValueError("; ".join(wrong))


@final
@frozen(kw_only=True)
class GraphSettings:
    """`[providers.graph]`.

    * `tenant_id`, `client_id`: the application's registration in Entra. A call's own tenant goes before
      `tenant_id`; `client_id` is the audience of callbacks, too.
    * One of `client_secret`; `certificate`, a private key and its certificate in PEM form, with
      `certificate_password` where the key is encrypted; and `managed_identity`, `"system"` or the client id
      of one assigned by the user, whose tokens are of its own tenant, `tenant_id`, only.
    * `cloud`, `api`, `path` (`applications` needs `app_id`), `body`: which of the published forms is used,
      each independent of the others.
    * `allowed_tenants`: the tenants whose callbacks are taken; every tenant unless told.
    * `openid_url`, `issuers`: who signs callbacks, where it is not the cloud's usual signer.
    * `base_url`, `authority`, `ca_file`: for emulators and proxies; Graph's address, the token authority (a
      tenant in its path is the default tenant), and the only certificate authorities to trust.
    * `timeout`: seconds to wait for a token, for a connection and for an answer, each.
    """

    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    certificate: Secret | None = None
    certificate_password: Secret | None = None
    managed_identity: str | None = field(default=None, validator=_has_one_credential)
    cloud: GraphCloud = field(default=GraphCloud.GLOBAL, converter=GraphCloud)
    api: Api = field(default=Api.V1, converter=Api)
    path: CallsPath = field(default=CallsPath.COMMUNICATIONS, converter=CallsPath, validator=_has_app_id)
    app_id: str | None = None
    body: BodyForm = field(default=BodyForm.CURRENT, converter=BodyForm)
    allowed_tenants: tuple[str, ...] = ()
    openid_url: str | None = field(default=None, validator=_is_url("https", "http"))
    issuers: tuple[str, ...] = ()
    base_url: str | None = field(default=None, validator=[_is_url("https", "http"), _keeps_tokens_secret])
    authority: str | None = field(default=None, validator=_is_url("https"))
    ca_file: Path | None = None
    timeout: float = field(default=30.0, validator=_is_span)

    @property
    def facts(self) -> CloudFacts:
        """The chosen cloud's."""
        return CLOUDS[self.cloud]

    @property
    def credential(self) -> CredentialKind | None:
        """Which kind is given; None where none is."""
        return next((kind for kind in CredentialKind if getattr(self, kind) is not None), None)

    @property
    def callback_policy(self) -> TokenPolicy | None:
        """The token of callbacks, which is for the application; None while `client_id` is missing."""
        if not self.client_id:
            return None
        return TokenPolicy(
            openid_url=self.openid_url or self.facts.openid_url,
            issuers=self.issuers or self.facts.issuers,
            audience=self.client_id,
            tenant_claim="tid",
            allowed_tenants=self.allowed_tenants,
            ca_file=self.ca_file,
        )

    def reaches(self, tenant: str | None) -> bool:
        """Whether tokens of `tenant` are to be had: a managed identity has its own tenant's only."""
        if self.managed_identity is None or tenant is None or self.default_tenant is None:
            return True
        return tenant.lower() == self.default_tenant.lower()

    @property
    def calls_url(self) -> str:
        """The address that call ids are appended to."""
        base = (self.base_url or self.facts.base).rstrip("/")
        owner = f"applications/{quote(self.app_id or '', safe='')}"
        return f"{base}/{self.api}/{owner if self.path is CallsPath.APPLICATIONS else self.path}/calls"

    @property
    def default_tenant(self) -> str | None:
        """The tenant of calls that name none."""
        in_authority = split_url(self.authority or "").path.strip("/").partition("/")[0]
        return self.tenant_id or in_authority or None

    def authority_of(self, tenant: str) -> str:
        """The address that issues tokens of `tenant`."""
        parts = split_url(self.authority or self.facts.authority)
        return f"{parts.scheme}://{parts.netloc}/{quote(tenant, safe='')}"

    @property
    def scope(self) -> str:
        """What tokens are asked for: the cloud's Graph, whatever stands in front of it."""
        return f"{self.facts.base}/.default"
