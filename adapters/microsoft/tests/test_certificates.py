"""Certificates of an application: the forms that are read, and the messages about others."""

import base64
import json
import re
import ssl

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.entra import Papers
from transferkit_microsoft.certificates import read_certificate
from transferkit_microsoft.credentials import Token

from transferkit.errors import ConfigError
from transferkit.provider.results import Rejected
from transferkit.provider.secret import Secret

SCOPE = "https://service.test/.default"
PASSWORD = "made-up password"


@pytest.fixture(scope="module")
def own():
    return Papers.make()


@pytest.fixture(scope="module")
def other():
    return Papers.make()


def with_an_unknown_key(papers):
    """The certificate with the object identifier of its key's algorithm (RSA) replaced."""
    rsa = bytes.fromhex("06092a864886f70d010101")
    der = papers.certificate.public_bytes(serialization.Encoding.DER)
    assert der.count(rsa) == 1
    return ssl.DER_cert_to_PEM_cert(der.replace(rsa, rsa[:-1] + b"\x63"))


@pytest.mark.parametrize(
    ("make", "password"),
    [
        (lambda own, _: own.public + own.private(), None),
        (lambda own, _: own.private(PASSWORD) + own.public, PASSWORD),
        (lambda own, other: other.public + own.public + own.private(), None),
        (lambda own, _: f"Bag Attributes: none\n{own.private()}\nsubject=CN\n{own.public}", None),
    ],
    ids=["plain", "encrypted", "a chain", "with text between"],
)
async def test_the_assertion_is_signed_with_the_key_of_the_certificate(
    authority, tokens_of, own, other, make, password
):
    app, there = authority
    given = {"tenant_id": "t1", "client_id": "c1", "certificate": make(own, other)}
    getter = tokens_of(**given, certificate_password=password, **there)
    assert isinstance(await getter.get(SCOPE), Token)
    (form,) = app.forms
    assert "client_secret" not in form
    assertion = form["client_assertion"]
    claims = jwt.decode(assertion, own.key.public_key(), algorithms=["PS256"], options={"verify_aud": False})
    assert (claims["iss"], claims["sub"]) == ("c1", "c1")
    digest = base64.urlsafe_b64encode(own.certificate.fingerprint(hashes.SHA256())).decode()
    assert jwt.get_unverified_header(assertion)["x5t#S256"].rstrip("=") == digest.rstrip("=")


async def test_a_renewed_certificate_is_read_after_a_refusal(authority, tokens_of, own, other, tmp_path):
    app, there = authority
    file = tmp_path / "client.pem"
    file.write_text(other.pem())
    getter = tokens_of(tenant_id="t1", client_id="c1", certificate=Secret(file=file), **there)
    app.response = (401, json.dumps({"error": "invalid_client"}).encode())
    assert isinstance(await getter.get(SCOPE), Rejected)
    app.response = (200, json.dumps({"access_token": "x", "expires_in": 3600}).encode())
    file.write_text(own.pem())
    assert isinstance(await getter.get(SCOPE), Token)
    assertions = [form["client_assertion"] for form in app.forms]
    jwt.decode(assertions[1], own.key.public_key(), algorithms=["PS256"], options={"verify_aud": False})


@pytest.mark.parametrize(
    ("make", "password", "key", "why"),
    [
        (lambda _own, _other: "no PEM at all", None, "certificate", "contains no private key"),
        (lambda own, _: own.public, None, "certificate", "contains no private key"),
        (lambda own, _: own.private(), None, "certificate", "contains no certificate that can be read"),
        (lambda own, other: own.public + other.private(), None, "certificate", "of the private key"),
        (lambda own, _: own.pem("right"), "wrong", "certificate", "contains no private key that can be read"),
        (lambda own, _: own.pem("right"), None, "certificate_password", "is missing"),
        (lambda own, _: own.pem(), "needless", "certificate_password", "is not needed"),
        (lambda own, _: own.pem().replace("MII", "!!!"), None, "certificate", "can be read"),
        (
            lambda _own, _other: Papers.make(ec.generate_private_key(ec.SECP256R1())).pem(),
            None,
            "certificate",
            "not RSA",
        ),
        (lambda own, other: own.pem() + other.private(), None, "certificate", "several private keys"),
        (lambda own, other: other.private("right") + own.pem("right"), "right", "certificate", "several"),
        (
            lambda own, _: own.private() + with_an_unknown_key(own),
            None,
            "certificate",
            "is not supported|that can be read",
        ),
    ],
    ids=[
        "no PEM",
        "no key",
        "no certificate",
        "another key's certificate",
        "wrong password",
        "no password given",
        "password for a plain key",
        "broken",
        "not RSA",
        "two private keys",
        "two encrypted private keys",
        "an unknown kind of key",
    ],
)
def test_an_unusable_certificate_is_named_and_not_shown(own, other, make, password, key, why):
    with pytest.raises(ConfigError) as caught:
        read_certificate(make(own, other), password, table="providers.test")
    (problem,) = caught.value.problems
    assert problem.field == f"providers.test.{key}"
    assert re.search(why, problem.message)
    assert "BEGIN" not in str(caught.value)
