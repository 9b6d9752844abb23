"""The configuration keys and validators that both Microsoft providers share."""

from __future__ import annotations

import math
import re
import ssl
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from attrs import Attribute, field, frozen

from transferkit.errors import ConfigError, Problem
from transferkit.provider.secret import Secret
from transferkit.provider.urls import split_url
from transferkit_microsoft.credentials import TokenCredential
from transferkit_microsoft.ids import GUID

__all__ = ["CredentialKind", "EntraSettings", "is_seconds", "is_url", "run_all"]


def run_all(source: str, *steps: Callable[[], Any]) -> list[Any]:
    """Run the steps and return their results. Raises one `ConfigError` with the problems of all of them."""
    results: list[Any] = []
    problems: list[Problem] = []
    for step in steps:
        try:
            results.append(step())
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(source, problems)
    return results


class CredentialKind(StrEnum):
    """The ways to get tokens from Microsoft Entra, by the name of the key that selects each."""

    CLIENT_SECRET = "client_secret"  # noqa: S105 - the key's name
    CERTIFICATE = "certificate"
    CLIENT_ASSERTION = "client_assertion"
    MANAGED_IDENTITY = "managed_identity"
    CREDENTIAL = "credential"


_REGISTERED = (CredentialKind.CLIENT_SECRET, CredentialKind.CERTIFICATE, CredentialKind.CLIENT_ASSERTION)


_TENANT = re.compile(rf"{GUID}|[\w-]+(\.[\w-]+)+|common|organizations")
"""What the path of an authority may be: entra/identity-platform/msal-client-application-configuration."""


def is_url(*schemes: str) -> Callable[[Any, Attribute[Any], str | None], None]:
    """Return a validator that accepts absolute URLs of these schemes, and None."""

    def check(_: object, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None and not (split_url(value).hostname and split_url(value).scheme in schemes):
            raise ValueError(f"{attribute.name}: expected an address that begins with {schemes[0]}://")

    return check


def is_seconds(_: object, attribute: Attribute[float], value: float) -> None:
    """Validate a finite number of seconds greater than 0."""
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{attribute.name}: expected seconds, more than 0")


@frozen(kw_only=True)
class EntraSettings:
    """The keys that say how requests are authenticated with Microsoft Entra, and how it is reached.

    The subclasses document them. A `client_assertion` is read again for each token, because it expires. The
    path of `authority` is replaced by the tenant of each request, so it can be nothing but a tenant: the
    default one, unless there is `tenant_id`.
    """

    table: ClassVar[str]
    """The name of the configuration table, for messages."""

    tenant_id: str | None = None
    client_id: str | None = None
    client_secret: Secret | None = None
    certificate: Secret | None = None
    certificate_password: Secret | None = None
    client_assertion: Secret | None = None
    managed_identity: str | None = None
    credential: TokenCredential | None = field(default=None, repr=False)
    authority: str | None = field(default=None, validator=is_url("https"))
    ca_file: Path | None = None
    timeout: float = field(default=30.0, validator=is_seconds)

    def __attrs_post_init__(self) -> None:
        if problems := list(self._contradictions()):
            raise ValueError("; ".join(problems))

    def _contradictions(self) -> Iterator[str]:
        """What is wrong with several keys together."""
        given = self._credential_keys()
        if len(given) > 1:
            yield f"{' and '.join(given)}: only one of them may be given"
        if self.certificate_password is not None and self.certificate is None:
            yield "certificate_password: needs certificate"
        if self.managed_identity == "":
            yield 'managed_identity: expected "system" or a client id'
        path = self._authority_path
        if path and path != self.tenant_id and not _TENANT.fullmatch(path):
            yield "authority: expected no path but a tenant's id or domain name"

    def _credential_keys(self) -> list[str]:
        return [kind.value for kind in CredentialKind if getattr(self, kind) is not None]

    @property
    def credential_kind(self) -> CredentialKind | None:
        """Which kind of credential is configured, if any."""
        return next((kind for kind in CredentialKind if getattr(self, kind) is not None), None)

    @property
    def uses_registration(self) -> bool:
        """Whether the application proves its own registration in Entra, which takes tenant and client id."""
        return self.credential_kind in (None, *_REGISTERED)

    @property
    def default_authority(self) -> str:
        """The token authority of the configured cloud."""
        return "https://login.microsoftonline.com"

    @property
    def default_tenant(self) -> str | None:
        """The tenant of calls whose own tenant is not known."""
        return self.tenant_id or self._authority_path or None

    @property
    def _authority_path(self) -> str:
        return urlsplit(self.authority or "").path.strip("/")

    def authority_of(self, tenant: str) -> str:
        """The URL of the token authority for a tenant."""
        parts = urlsplit(self.authority or self.default_authority)
        return f"{parts.scheme}://{parts.netloc}/{quote(tenant, safe='')}"

    def reaches(self, tenant: str | None) -> bool:
        """Whether tokens of `tenant` can be had: a managed identity has those of its own tenant only."""
        if self.managed_identity is None or tenant is None or self.default_tenant is None:
            return True
        return tenant.lower() == self.default_tenant.lower()

    def ssl_context(self) -> ssl.SSLContext | None:
        """What `ca_file` trusts; None without it. Raises `ConfigError` if the file cannot be used."""
        if self.ca_file is None:
            return None
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:
            why = f"{self.ca_file} cannot be used ({type(error).__name__})"
            problem = Problem(f"{self.table}.ca_file", why, "a file of PEM certificates")
            raise ConfigError(self.table, [problem]) from None
