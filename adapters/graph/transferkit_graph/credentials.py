"""How the application proves who it is, and the msal client that asks for its tokens.

A client secret and a certificate are of a registration in Entra, which gets tokens of any tenant that knows
it (learn.microsoft.com entra v2-oauth2-client-creds-grant-flow, certificate-credentials). A managed identity
is of the machine that it runs on: its tokens are of its own tenant, whoever asks (learn.microsoft.com entra
managed-identities how-to-use-vm-token). Nothing here is loaded or resolved before the first token is wanted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, final

from transferkit.errors import ConfigError, Problem
from transferkit_graph.settings import CredentialKind, GraphSettings
from transferkit_graph.transport import trust

if TYPE_CHECKING:
    import requests

__all__ = ["HttpClients", "Source", "open_source", "require"]

Source = Callable[[], Any]
"""Asks for a token, or takes msal's cached one; blocks. The answer is OAuth's, as a dict."""

_SOURCE = "configuration"
_SYSTEM = "system"
_PEM = re.compile(r"-----BEGIN (?P<label>[A-Z0-9 ]+)-----.+?-----END (?P=label)-----", re.DOTALL)
# What a machine's own endpoint answers while it is not ready (learn.microsoft.com how-to-use-vm-token).
_UNREADY = frozenset({404, 410, 429})


def require(settings: GraphSettings, tenant: str | None) -> None:
    """Raise `ConfigError`, with every key that is missing to get tokens of `tenant`."""
    problems = [Problem(f"providers.graph.{key}", "is missing") for key in _missing(settings, tenant)]
    if settings.credential is None:
        kinds = ", ".join(kind.value for kind in CredentialKind)
        problems.append(Problem("providers.graph.client_secret", "is missing", f"one of {kinds}"))
    if problems:
        raise ConfigError(_SOURCE, problems)


def _missing(settings: GraphSettings, tenant: str | None) -> Iterator[str]:
    if settings.credential is not CredentialKind.MANAGED_IDENTITY:
        if tenant is None:
            yield "tenant_id"
        if settings.client_id is None:
            yield "client_id"


@final
class HttpClients:
    """The connections beneath msal, opened when first needed, by whichever thread.

    They are of msal's own kind, requests: it insists on it for some machines, and hands over a certificate's
    assertion as bytes, which httpx would not put into a form as they are.
    """

    def __init__(self, settings: GraphSettings) -> None:
        self._settings = settings
        self._authority: requests.Session | None = None
        self._machine: requests.Session | None = None
        self._opening = Lock()

    def authority(self) -> requests.Session:
        """To an authority."""
        with self._opening:
            if self._authority is None:
                self._authority = _session(self._settings)
            return self._authority

    def machine(self) -> requests.Session:
        """To the machine's own endpoint, never through a proxy."""
        with self._opening:
            if self._machine is None:
                self._machine = _session(self._settings)
                self._machine.trust_env = False
                self._machine.hooks["response"] = [_ready]
            return self._machine

    def close(self) -> None:
        """Close them; they open again when needed."""
        for session in (self._authority, self._machine):
            if session is not None:
                session.close()
        self._authority = self._machine = None


def _session(settings: GraphSettings) -> requests.Session:
    """A session with a time limit on every request, and whose `ca_file` no REQUESTS_CA_BUNDLE overrules."""
    import requests

    trust(settings)  # so that a file that cannot be used is said in our words
    session = requests.Session()
    verify = True if settings.ca_file is None else str(settings.ca_file)
    session.verify = verify
    session.request = partial(  # type: ignore[method-assign]  # a session has no time limit of its own
        session.request, timeout=settings.timeout, verify=verify
    )
    return session


def _ready(response: requests.Response, *_: Any, **__: Any) -> None:
    """Raise where the endpoint could not answer, which msal would take for an answer."""
    import requests

    if response.status_code in _UNREADY or response.status_code >= 500:  # noqa: PLR2004 - server errors
        raise requests.HTTPError(f"status {response.status_code}", response=response)


def open_source(settings: GraphSettings, tenant: str | None, http: HttpClients) -> Source:
    """Where tokens come from; `tenant` says nothing to a managed identity.

    Finding an authority is I/O. Raises `ConfigError`, and what msal and its HTTP client raise.
    """
    import msal

    require(settings, tenant)
    if settings.managed_identity is not None:
        identity = (
            msal.SystemAssignedManagedIdentity()
            if settings.managed_identity == _SYSTEM
            else msal.UserAssignedManagedIdentity(client_id=settings.managed_identity)
        )
        client = msal.ManagedIdentityClient(identity, http_client=http.machine())
        return partial(client.acquire_token_for_client, resource=settings.facts.base)
    application = msal.ConfidentialClientApplication(
        settings.client_id,
        client_credential=_client_credential(settings),
        authority=settings.authority_of(tenant or ""),
        # The authority is ours or the operator's choice, and other clouds need not reach the global one.
        instance_discovery=False,
        http_client=http.authority(),
    )
    return partial(application.acquire_token_for_client, [settings.scope])


def _client_credential(settings: GraphSettings) -> str | dict[str, str]:
    """In msal's form. With a certificate, msal computes its thumbprint and sends the chain along."""
    if settings.certificate is None:
        return settings.client_secret.resolve() if settings.client_secret else ""
    pem = settings.certificate.resolve()
    password = settings.certificate_password.resolve() if settings.certificate_password else None
    blocks = [(match["label"], match[0]) for match in _PEM.finditer(pem)]
    keys = [block for label, block in blocks if label.endswith("PRIVATE KEY")]
    certificates = [block for label, block in blocks if label == "CERTIFICATE"]
    if len(keys) != 1 or not certificates:
        raise _unusable(
            f"holds {len(keys)} private keys and {len(certificates)} certificates",
            "one private key and its certificate, both in PEM form",
        )
    chain = _chain(keys[0], certificates, password)
    credential = {"private_key": keys[0], "public_certificate": "\n".join(chain)}
    return credential if password is None else {**credential, "passphrase": password}


def _chain(key: str, certificates: list[str], password: str | None) -> list[str]:
    """The certificates, that of the private key first."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        private = load_pem_private_key(key.encode(), password.encode() if password else None)
    except TypeError:  # how the library says that there is a password and no need for it, or the reverse
        why = "is missing: the private key is encrypted" if password is None else "the private key has none"
        raise _unusable(why, "the password of the private key", "certificate_password") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        why = f"the private key cannot be read ({type(error).__name__})"
        accepts = "an RSA key" if password is None else "an RSA key, and its password in certificate_password"
        raise _unusable(why, accepts) from None
    if not isinstance(private, RSAPrivateKey):
        raise _unusable("the private key is not RSA", "an RSA key, as Entra asks for")
    try:
        publics = [load_pem_x509_certificate(each.encode()).public_key() for each in certificates]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unusable(f"a certificate cannot be read ({type(error).__name__})", "PEM") from None
    if private.public_key() not in publics:
        raise _unusable("no certificate in it is that of the private key", "the private key's certificate")
    own = publics.index(private.public_key())
    return [certificates[own], *certificates[:own], *certificates[own + 1 :]]


def _unusable(why: str, accepts: str, key: str = "certificate") -> ConfigError:
    return ConfigError(_SOURCE, [Problem(f"providers.graph.{key}", why, accepts)])
