"""The keys of `[providers.graph]`."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import ClassVar, final
from urllib.parse import quote

from attrs import field, frozen
from transferkit_microsoft.settings import EntraSettings, is_url

from transferkit.provider.adapter import TokenPolicy
from transferkit.provider.urls import is_loopback, split_url
from transferkit_graph.clouds import CLOUDS, CloudFacts, GraphCloud

__all__ = ["Api", "BodyForm", "CallsPath", "GraphSettings"]


class Api(StrEnum):
    """Graph's version, as in the URL."""

    V1 = "v1.0"
    BETA = "beta"


class CallsPath(StrEnum):
    """The path of calls; all three are published."""

    COMMUNICATIONS = "communications"
    APP = "app"
    """The older alias of `communications`."""
    APPLICATIONS = "applications"
    """The path of the application `app_id` (2018)."""


class BodyForm(StrEnum):
    """The form of a transfer's body."""

    CURRENT = "current"
    """`transferTarget` and `transferee`."""
    Y2018 = "2018"
    """`target`, `clientContext` and `operationContext`."""


@final
@frozen(kw_only=True)
class GraphSettings(EntraSettings):
    """`[providers.graph]`.

    * `tenant_id`, `client_id`: the application's registration in Entra. A call's own tenant takes precedence
      over `tenant_id`. `client_id` is also the audience of callbacks.
    * One of `client_secret`; `certificate`, the private key and its certificate in PEM form, with
      `certificate_password` if the key is encrypted; `client_assertion`, the token of a federated identity
      credential, usually `{ file = "…" }`; `managed_identity`, `"system"` or the client id of a user-assigned
      identity, whose tokens are of its own tenant, `tenant_id`, only; `credential`, an azure-core credential
      object (Python only).
    * `cloud`, `api`, `path` (`applications` needs `app_id`), `body`: which of the published forms is used,
      each independent of the others.
    * `allowed_tenants`: the tenants whose callbacks are accepted; by default every tenant.
    * `openid_url`, `issuers`: who signs callbacks, if it is not the cloud's usual signer.
    * `base_url`, `authority`, `ca_file`: for emulators and proxies: Graph's address, the token authority (its
      path can only be a tenant, which is the default tenant), and the only certificate authorities to trust.
    * `timeout`: seconds to wait for a token, for a connection and for a response, each.
    """

    table: ClassVar[str] = "providers.graph"

    cloud: GraphCloud = field(default=GraphCloud.GLOBAL, converter=GraphCloud)
    api: Api = field(default=Api.V1, converter=Api)
    path: CallsPath = field(default=CallsPath.COMMUNICATIONS, converter=CallsPath)
    app_id: str | None = None
    body: BodyForm = field(default=BodyForm.CURRENT, converter=BodyForm)
    allowed_tenants: tuple[str, ...] = ()
    openid_url: str | None = field(default=None, validator=is_url("https", "http"))
    issuers: tuple[str, ...] = ()
    base_url: str | None = field(default=None, validator=is_url("https", "http"))

    def _contradictions(self) -> Iterator[str]:
        yield from super()._contradictions()
        if self.path is CallsPath.APPLICATIONS and not self.app_id:
            yield "app_id: needed if path is applications"
        base = split_url(self.base_url or "")
        if base.scheme == "http" and not is_loopback(base.hostname or ""):
            yield "base_url: a token is sent over https only, except to this machine"

    @property
    def cloud_facts(self) -> CloudFacts:
        """What differs between the clouds, for the configured one."""
        return CLOUDS[self.cloud]

    @property
    def default_authority(self) -> str:
        """The token authority of the configured cloud."""
        return self.cloud_facts.authority

    @property
    def callback_policy(self) -> TokenPolicy | None:
        """The token that callbacks must carry; None while `client_id`, its audience, is missing."""
        if not self.client_id:
            return None
        return TokenPolicy(
            openid_url=self.openid_url or self.cloud_facts.openid_url,
            issuers=self.issuers or self.cloud_facts.issuers,
            audience=self.client_id,
            tenant_claim="tid",
            allowed_tenants=self.allowed_tenants,
            ca_file=self.ca_file,
        )

    @property
    def calls_url(self) -> str:
        """The address that call ids are appended to."""
        base = (self.base_url or self.cloud_facts.base).rstrip("/")
        owner = f"applications/{quote(self.app_id or '', safe='')}"
        return f"{base}/{self.api}/{owner if self.path is CallsPath.APPLICATIONS else self.path}/calls"

    @property
    def scope(self) -> str:
        """The scope of tokens: the cloud's Graph, also if `base_url` is a proxy's."""
        return f"{self.cloud_facts.base}/.default"
