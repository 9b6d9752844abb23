"""A certificate of an application and its private key, read for msal."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from transferkit.errors import ConfigError, Problem

__all__ = ["read_certificate"]

_KEY = "providers.acs.certificate"
_FORM = "one RSA private key and its certificate, both in PEM form"


def read_certificate(pem: str, password: str | None) -> dict[str, str]:
    """What msal calls a client credential. Raises `ConfigError`, which shows nothing of `pem`."""
    key = _key(pem.encode(), password.encode() if password else None)
    try:
        certificates = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise _unusable("holds no certificate that can be read") from None
    own = [one for one in certificates if one.public_key() == key.public_key()]
    if not own:
        raise _unusable("holds the private key of another certificate")
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = own[0].public_bytes(serialization.Encoding.PEM)
    return {"private_key": private.decode(), "public_certificate": public.decode()}


def _key(pem: bytes, password: bytes | None) -> RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password)
    except TypeError:  # which is how the library says that the password or the encryption is lacking
        why = "is given, but the private key needs none" if password else "is missing: the key is encrypted"
        raise ConfigError("providers.acs", [Problem(f"{_KEY}_password", why)]) from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("holds no private key that can be read with this password") from None
    if not isinstance(key, RSAPrivateKey):
        raise _unusable("holds a private key of a kind that Entra does not take")
    return key


def _unusable(why: str) -> ConfigError:
    return ConfigError("providers.acs", [Problem(_KEY, why, _FORM)])
