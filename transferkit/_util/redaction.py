"""Removes phone numbers and secrets from text, before it becomes part of a log, `repr`, error or span."""

from __future__ import annotations

import re

__all__ = ["MASK", "mask_number", "redact", "safe_id", "safe_repr"]

MASK = "***"

_KEPT_DIGITS = 2

# Phone numbers as people and SIP write them, also percent-encoded in a URL. Digits inside longer tokens
# (GUIDs, hexadecimal ids, timestamps) are not phone numbers, unless a plus sign precedes them.
_NUMBER = re.compile(
    # +14255550123, +1 (425) 555-0123, +1%20425%20555%200123
    r"(?:\+|%2[Bb])\d(?:[\d\s()./-]|%2[089DdEeFf]){5,}\d"
    # 14255550123 alone, or before an asserted id or an extension
    r"|(?<![\w.+-])\d{7,15}(?![A-Za-z0-9]|-(?!ext))(?!\.\d)"
    # x14255550123, tel_14255550123: after letters that are not hexadecimal digits, or after an underscore
    r"|(?:(?<!\w)(?=[A-Fa-f]*[G-Zg-z_])[A-Za-z_]+|(?<=_))\d{10,15}(?![A-Za-z0-9-])(?!\.\d)"
    # (425) 555-0123, 1-425-555-0123
    r"|(?<![\w.+-])(?:\d{1,3}[ .-])?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"
    # 0151-23456789, 020 7946 0958; 06 12 34 56 78
    r"|(?<![\w.+-])\(?0\d{2,4}\)?[ /-](?:\d{5,10}|\d{3,4}[ -]\d{3,4})(?![\w-])"
    r"|(?<![\w.+-])0[1-9](?:[ .-]\d\d){4}(?![\w-])"
)
_DIGIT = re.compile(r"%2[0-9A-Fa-f]|\d")
_SCHEMES = "basic|bearer|digest|hmac-sha256|negotiate|ntlm|sharedaccesssignature|sharedkey"
_BEARER = re.compile(r"(?i)\b(bearer|hmac-sha256|sharedkey|sharedaccesssignature)\s+(?!tokens?\b)[^\s,;\"']+")
_HEADER = re.compile(rf"(?i)(\bauthorization['\"]?\s*[=:]\s*['\"]?(?:(?:{_SCHEMES})\s+)?)[^\s,;\"']+")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_IN_URL = re.compile(r"(://[^\s:/?#@]*:)[^\s/?#]*@")
_IN_SIP_URI = re.compile(r"(?i)(\bsips?:[^\s:@<>]*:)[^\s@<>]*@")
# Text of our own is shown: about a configuration key (`providers.graph.client_secret: is not set`),
# `no token: why`, and `?secret=…`.
_KEY_VALUE = re.compile(
    r"(?i)(?P<own>\bproviders\.\w+\.)?"
    r"((?<!\bno )\b(?:access[_-]?key|account[_-]?key|shared[_-]?access[_-]?(?:key|signature)|api[_-]?key"
    r"|aeg-sas-key"
    r"|aeg-sas-token|functions-key|subscription-key|client[_-]secret|assertion|client_assertion|access_token"
    r"|id_token|refresh_token|password|passwd|pwd|sas|signature|sig|secret|token)|[?&]code)"
    r"(['\"]?\s*[=:]\s*['\"]?)(?!…)[^&;\s\"',]+"
)
# PGPASSWORD=, GRAPH_CLIENT_SECRET=, clientSecret=. With a colon instead, it may be prose.
_VARIABLE = re.compile(r"(?i)((?:password|secret|_key|_token)['\"]?=['\"]?)(?!…)[^&;\s\"',]+")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def mask_number(number: str) -> str:
    """Replace all digits but the last two with stars. Percent-encoded characters between them stay."""
    digits = sum(not found.startswith("%") for found in _DIGIT.findall(number))
    hidden = max(digits - _KEPT_DIGITS, 0) if digits > _KEPT_DIGITS else digits
    seen = 0

    def star(found: re.Match[str]) -> str:
        nonlocal seen
        if found.group().startswith("%"):
            return found.group()
        seen += 1
        return "*" if seen <= hidden else found.group()

    return _DIGIT.sub(star, number)


def redact(text: str) -> str:
    """Remove phone numbers, tokens and keys from a provider's message, another library's error or a URL."""
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _PEM.sub(MASK, text)
    text = _IN_URL.sub(rf"\1{MASK}@", text)
    text = _IN_SIP_URI.sub(rf"\1{MASK}@", text)
    text = _KEY_VALUE.sub(_without_value, text)
    text = _VARIABLE.sub(rf"\1{MASK}", text)
    return _NUMBER.sub(lambda match: mask_number(match.group()), text)


def _without_value(found: re.Match[str]) -> str:
    own, name, separator = found.groups()
    return found[0] if own and separator == ": " else f"{own or ''}{name}{separator}{MASK}"


def safe_id(text: str) -> str:
    """Redact an id of a provider or an application: most ids are GUIDs, but one may contain a number."""
    return text if _GUID.fullmatch(text) else redact(text)


def safe_repr(value: object) -> str:
    """Return `repr(value)`, redacted: for attrs fields with text of a provider or an application."""
    return redact(repr(value))
