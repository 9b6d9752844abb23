"""Credentials: the access key of a connection string, or tokens of Entra."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping

from attrs import fields
from azure.core.credentials import AzureKeyCredential

from transferkit.errors import ConfigError, Problem
from transferkit.provider.secret import Secret
from transferkit_acs.settings import AcsSettings, ConnectionString
from transferkit_acs.tokens import Application, EntraCredential, MachineIdentity, PlaceholderToken

__all__ = ["connect", "placeholder"]

_TABLE = "providers.acs"
_SYSTEM = "system"
_ANY_KIND = (
    "a connection string; or endpoint with managed_identity; or endpoint, tenant_id and client_id with "
    "client_secret or certificate"
)


def connect(settings: AcsSettings) -> tuple[str, AzureKeyCredential | EntraCredential]:
    """The endpoint and the credential for it.

    Resolves secrets. Raises `ConfigError`, which names everything that is missing or unusable.
    """
    problems = [*_untrusted(settings), *_missing(settings)]
    secrets = _resolved(settings, problems)
    read, proof = None, None
    try:
        if "connection_string" in secrets:
            read = ConnectionString.read(secrets["connection_string"], key=f"{_TABLE}.connection_string")
        elif settings.certificate_password is None or "certificate_password" in secrets:
            proof = _proof(secrets)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(_TABLE, problems)
    if read is not None:
        endpoint = read.endpoint if settings.endpoint is None else settings.shown_endpoint
        return endpoint, AzureKeyCredential(read.access_key)
    return settings.shown_endpoint, EntraCredential(_source(settings, proof), timeout=settings.timeout)


def _resolved(settings: AcsSettings, problems: list[Problem]) -> dict[str, str]:
    """The secrets that there are; adds to `problems` those that cannot be resolved."""
    found: dict[str, str] = {}
    for attribute in fields(AcsSettings):
        secret = getattr(settings, attribute.name)
        if isinstance(secret, Secret):
            try:
                found[attribute.name] = secret.resolve()
            except ConfigError as error:
                problems.extend(error.problems)
    return found


def _untrusted(settings: AcsSettings) -> Iterator[Problem]:
    """What is wrong with `ca_file`, at which the SDK would fail in the middle of a request."""
    if settings.ca_file is None:
        return
    try:
        ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as error:
        why = f"{settings.ca_file} cannot be used ({type(error).__name__})"
        yield Problem(f"{_TABLE}.ca_file", why, "a file of PEM certificates")


def _missing(settings: AcsSettings) -> Iterator[Problem]:
    if settings.connection_string is not None:
        return
    if not settings.uses_entra:
        yield Problem(f"{_TABLE}.connection_string", "is missing", _ANY_KIND)
        return
    registration = () if settings.managed_identity is not None else ("tenant_id", "client_id")
    for name in ("endpoint", *registration):
        if getattr(settings, name) is None:
            yield Problem(f"{_TABLE}.{name}", "is missing; a token of Entra needs it")
    if not any((settings.managed_identity, settings.client_secret, settings.certificate)):
        yield Problem(f"{_TABLE}.client_secret", "is missing, and there is no certificate in its place")


def _proof(secrets: Mapping[str, str]) -> str | Mapping[str, str] | None:
    """What an application shows the authority; None where it shows nothing. Raises `ConfigError`."""
    if "certificate" not in secrets:
        return secrets.get("client_secret")
    from transferkit_acs.certificates import read_certificate

    return read_certificate(secrets["certificate"], secrets.get("certificate_password"))


def _source(settings: AcsSettings, proof: str | Mapping[str, str] | None) -> Application | MachineIdentity:
    if proof is None:
        return MachineIdentity(
            client_id=None if settings.managed_identity == _SYSTEM else settings.managed_identity,
            timeout=settings.timeout,
            advice="Check managed_identity in [providers.acs], and that this machine has it.",
        )
    kind = "certificate" if settings.certificate else "client_secret"
    return Application(
        client_id=settings.client_id or "",
        proof=proof,
        authority=f"{settings.authority.rstrip('/')}/{settings.tenant_id}",
        timeout=settings.timeout,
        ca_file=settings.ca_file,
        advice=f"Check tenant_id, client_id and {kind} in [providers.acs].",
    )


def placeholder(settings: AcsSettings) -> AzureKeyCredential | PlaceholderToken:
    """A credential of the configured sort that holds no secret."""
    return PlaceholderToken() if settings.uses_entra else AzureKeyCredential("cGxhY2Vob2xkZXI=")
