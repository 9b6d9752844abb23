"""Tokens and the documents with the keys: believed only where a second, plain reading says so as well."""

from __future__ import annotations

import base64
import ipaddress
import json
import math
import socket
from datetime import timedelta
from functools import cached_property
from random import Random
from typing import Any

import httpx

from fuzzing.mutations import ODD_VALUES, altered, altered_bytes, altered_text, written
from fuzzing.target import Case, Target, as_bytes, as_text, promised
from transferkit import CallbackConfig, CallbackError, CallbackRoute, TokenPolicy
from transferkit._callbacks.verification.fetching import FetchError
from transferkit._callbacks.verification.keys import published_keys
from transferkit._callbacks.verification.verifier import Verifier
from transferkit.testing import CallbackSigner, ManualClock

ISSUER = "https://signer.example"
AUDIENCE = "d2c5d8a1-6b1e-4f6c-8b1a-1f4e5e6a7b80"
TENANT = "0f9d2a3b-1111-4c4c-9d9d-2b3c4d5e6f70"
SENDER = "4a5b6c7d-app"
SKEW = timedelta(minutes=2)
CLOCK = ManualClock()
NOW = int(CLOCK.now().timestamp())
POLICY = TokenPolicy(
    openid_url=f"{ISSUER}/openid",
    issuers=(ISSUER, "https://second.example"),
    audience=AUDIENCE,
    tenant_claim="tid",
    allowed_tenants=(TENANT,),
    sender_claims=("azp", "appid"),
    allowed_senders=(SENDER,),
)
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "tid": TENANT, "azp": SENDER, "nbf": NOW, "exp": NOW + 300}
HEADER = {"alg": "RS256", "kid": "KEY", "typ": "JWT", "cty": "JWT"}
ODD_CLAIMS = [
    *ODD_VALUES, NOW, NOW - 119, NOW - 121, NOW + 121, NOW + 119, str(NOW + 300), float(NOW + 300), -1e400,
    AUDIENCE, AUDIENCE.upper(), f"{AUDIENCE} ", [AUDIENCE], [[AUDIENCE]], ISSUER, f"{ISSUER}/", [ISSUER],
    TENANT, TENANT.upper(), SENDER, "RS256", "rs256", "none", "HS256", "PS256", "RS512", "KEY", ["KEY"],
]  # fmt: skip


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Tokens(Target):
    """A `Verifier` with keys of its own, which signs whatever a case says with the right key or another."""

    name = "token"
    weight = 12

    @cached_property
    def _signer(self) -> CallbackSigner:
        return CallbackSigner(issuer=ISSUER, clock=CLOCK)

    @cached_property
    def _stranger(self) -> CallbackSigner:
        return CallbackSigner(issuer=ISSUER, clock=CLOCK)

    @cached_property
    def _verifier(self) -> Verifier:
        return Verifier(clock=CLOCK, config=CallbackConfig(clock_skew=SKEW), fetch=self._signer.fetch)

    def make(self, random: Random) -> Case:
        claims: Any = CLAIMS
        header: Any = HEADER
        how = random.random()
        if how < 0.6:
            claims = (
                _with_odd(CLAIMS, random) if random.random() < 0.7 else altered(CLAIMS, random, ODD_CLAIMS)
            )
        elif how < 0.8:
            header = (
                _with_odd(HEADER, random) if random.random() < 0.7 else altered(HEADER, random, ODD_CLAIMS)
            )
        spelt = json.dumps(claims).encode() if random.random() < 0.8 else written(claims, random)
        signature = random.choice(("genuine",) * 8 + ("stranger", "none", "cut", "zeros", "another's"))
        case = {"header": json.dumps(header), "claims": as_text(spelt), "signature": signature}
        if random.random() < 0.2:
            case["edit"] = [random.randrange(4000), random.choice("AZaz09-_.= \n,\x00é")]
        if random.random() < 0.1:
            case["scheme"] = random.choice(
                ("bearer ", "BEARER  ", "Basic ", "", "Bearer", "Bearer Bearer ", " Bearer ")
            )
        return case

    async def check(self, case: Case) -> None:
        token, genuine = self._token(case)
        given = f"{case.get('scheme', 'Bearer ')}{token}"
        route = CallbackRoute(name="fuzz", policy=POLICY)
        try:
            tenant = await self._verifier.verify(
                route, method="POST", query="", headers={"authorization": given}
            )
        except CallbackError as error:
            said = f"{error} {error!r}"
            shown = [part for part in token.split(".")[1:] if len(part) > 40 and part[:40] in said]
            promised(not shown, "an error shows a token")
            promised("\n" not in said, "an error could pretend to be another line of the log")
            right = genuine and case == _untouched(case) and case["claims"] == json.dumps(CLAIMS)
            promised(not right, f"a right token is refused: {error}")
        else:
            promised(genuine, "a token is believed that the key did not sign")
            promised(
                _believable(json.loads(case["header"]), as_bytes(case["claims"])), "wrong claims are believed"
            )
            promised(isinstance(tenant, str) and tenant.lower() == TENANT, "the tenant is not the token's")

    def _token(self, case: Case) -> tuple[str, bool]:
        """The token, and whether the published key signed just this."""
        key = self._signer._key
        header = case["header"].replace('"KEY"', json.dumps(key.id))
        signed = f"{_base64url(header.encode())}.{_base64url(as_bytes(case['claims']))}"
        right = key.rs256(signed.encode())
        match case["signature"]:
            case "genuine":
                signature = right
            case "stranger":
                signature = self._stranger._key.rs256(signed.encode())
            case "none":
                signature = b""
            case "cut":
                signature = right[:-1]
            case "zeros":
                signature = bytes(len(right))
            case _:
                signature = key.rs256(b"something else")
        token = f"{signed}.{_base64url(signature)}"
        if "edit" in case:
            at, character = case["edit"]
            at %= len(token)
            token = f"{token[:at]}{character}{token[at + 1 :]}"
        head, _, tail = token.rpartition(".")
        return token, head == signed and _unpacked(tail) == right


def _untouched(case: Case) -> Case:
    return {"header": json.dumps(HEADER), "claims": case["claims"], "signature": "genuine"}


def _unpacked(segment: str) -> bytes:
    """What base64 without padding says; the last character has bits that say nothing."""
    try:
        return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return b""


def _with_odd(value: dict[str, Any], random: Random) -> dict[str, Any]:
    return {**value, random.choice([*value, "appid", "crit", "b64"]): random.choice(ODD_CLAIMS)}


def _believable(header: Any, payload: bytes) -> bool:
    """The rules once more, read from the policy's description and not from the code."""
    claims = json.loads(payload)
    if header.get("alg") != "RS256" or {"crit", "b64"} & header.keys():
        return False
    expires, begins = claims.get("exp"), claims.get("nbf")
    if not _is_time(expires) or expires + SKEW.total_seconds() <= NOW:
        return False
    if begins is not None and (not _is_time(begins) or begins - SKEW.total_seconds() > NOW):
        return False
    audience = claims.get("aud")
    said_to = [
        one.lower()
        for one in (audience if isinstance(audience, list) else [audience])
        if isinstance(one, str)
    ]
    sender = claims["azp"] if "azp" in claims else claims.get("appid")
    return (
        claims.get("iss") in POLICY.issuers
        and AUDIENCE in said_to
        and str(claims.get("tid")).lower() == TENANT
        and str(sender).lower() == SENDER
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class Keys(Target):
    """The OpenID document and the key set that it names, from a source that may say anything."""

    name = "keys"
    weight = 5

    def make(self, random: Random) -> Case:
        signer = _SIGNER
        document: Any = signer.openid_configuration(ISSUER)
        keys: Any = {"keys": [{**one, "kid": "one"} for one in signer.jwks()["keys"]]}
        if random.random() < 0.4:
            document["jwks_uri"] = random.choice(_ADDRESSES)
            if random.random() < 0.3:
                document["jwks_uri"] = altered_text(document["jwks_uri"], random)
        elif random.random() < 0.5:
            document = altered(document, random, [keys, 1])
        else:
            keys = altered(keys, random, [document, 1])
        spelt = [json.dumps(one).encode() for one in (document, keys)]
        if random.random() < 0.3:
            spelt[random.randrange(2)] = altered_bytes(random.choice(spelt), random)
        return {"document": as_text(spelt[0]), "keys": as_text(spelt[1])}

    async def check(self, case: Case) -> None:
        asked: list[str] = []

        async def fetch(url: str, *, ca_file: object = None, public: bool = False) -> bytes:
            asked.append(url)
            return as_bytes(case["document" if len(asked) == 1 else "keys"])

        try:
            found = await published_keys(f"{ISSUER}/openid", ca_file=None, fetch=fetch)
        except FetchError:
            found = {}
        else:
            promised(found, "no keys, and no error")
        for address in asked[1:]:
            try:
                url = httpx.URL(address)  # as who fetches it reads it
            except (httpx.InvalidURL, UnicodeEncodeError):
                continue
            promised(url.scheme in {"https", ""}, f"keys were fetched without TLS: {address!r}")
            promised(not _is_inside(url.host), f"keys were fetched inside: {address!r}")
        for key in found.values():
            promised(2048 <= key.key_size <= 8192, "a key of an unsafe size is used")


def _is_inside(host: str) -> bool:
    """Whether a host is this machine or, by its number, in a private network."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        pass
    try:  # numbers as the C library reads them, too: 127.1, 0x7f000001
        return not ipaddress.ip_address(socket.inet_aton(host.rstrip("."))).is_global
    except (OSError, UnicodeEncodeError):
        return host.rstrip(".").lower() == "localhost"


_ADDRESSES = [
    f"{ISSUER}/keys", "http://signer.example/keys", "ftp://signer.example/k", "file:///etc/passwd", "//keys",
    "", "https://", "https://signer.example:99999/k", "https://127.0.0.1/keys", "https://localhost:8080/",
    "https://169.254.169.254/metadata", "https://10.0.0.1/", "https://user:word@10.0.0.1/", "https://[::1]/",
    "https://[fd00::1]/k", "https://[::ffff:127.0.0.1]/k", "https://[fe80::1%25eth0]/", "https://localhost./",
    "https://LOCALHOST/", "https://127.1/", "https://2130706433/", "https://0x7f.0.0.1/",
    "https://\uff11\uff12\uff17.0.0.1/", "https://10.0.0.1\\@signer.example/",
]  # fmt: skip
_SIGNER = CallbackSigner(issuer=ISSUER, clock=CLOCK)
