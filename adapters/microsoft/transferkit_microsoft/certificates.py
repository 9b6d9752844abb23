"""The certificate and private key of an application, read for msal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from transferkit.errors import ConfigError, Problem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

__all__ = ["read_certificate"]

_PRIVATE_KEY = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----")
_FORM = "one RSA private key and its certificate, both in PEM form"


def read_certificate(pem: str, password: str | None = None, *, table: str) -> dict[str, str]:
    """Return msal's client credential for a PEM text that contains a private key and its certificate.

    Other certificates in the text are ignored. msal computes the thumbprint that Entra identifies the
    certificate by (learn.microsoft.com entra/identity-platform/certificate-credentials). Raises
    `ConfigError`, which names the keys of `table` and contains nothing of `pem`.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if len(_PRIVATE_KEY.findall(pem)) > 1:
        raise _unusable(table, "contains several private keys")
    key = _private_key(pem.encode(), password.encode() if password else None, table)
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
        own = [each for each in certificates if each.public_key() == key.public_key()]
    except ValueError:
        raise _unusable(table, "contains no certificate that can be read") from None
    except UnsupportedAlgorithm:
        raise _unusable(table, "contains a certificate whose kind of key is not supported") from None
    if not own:
        raise _unusable(table, "contains no certificate of the private key")
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = own[0].public_bytes(serialization.Encoding.PEM)
    return {"private_key": private.decode(), "public_certificate": public.decode()}


def _private_key(pem: bytes, password: bytes | None, table: str) -> RSAPrivateKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password)
    except TypeError:  # raised for a missing password, and for a password to a key that is not encrypted
        why = "is not needed: the private key is not encrypted" if password else "is missing"
        accepts = "the password of the encrypted private key"
        raise ConfigError(table, [Problem(f"{table}.certificate_password", why, accepts)]) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable(table, "contains no private key that can be read with this password") from None
    if not isinstance(key, RSAPrivateKey):
        raise _unusable(table, "contains a private key that is not RSA, which Entra does not accept")
    return key


def _unusable(table: str, why: str) -> ConfigError:
    return ConfigError(table, [Problem(f"{table}.certificate", why, _FORM)])
