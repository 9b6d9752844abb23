"""What may be shown of what must not be shown.

Phone numbers and secrets never reach a log, a `repr`, an exception or a span. Everything that turns
a value into text for people goes through here.
"""

from __future__ import annotations

import re

__all__ = ["MASK", "mask_number", "redact", "safe_repr", "shown_id"]

MASK = "***"

_KEPT_DIGITS = 2

# A number as people and SIP write it, also percent-encoded in a URL. Digit runs inside longer tokens (GUIDs,
# hex ids, timestamps) are no numbers: hence the guards on both sides, which a leading plus overrides.
_NUMBER = re.compile(
    # +14255550123, +1 (425) 555-0123, +1%20425%20555%200123
    r"(?:\+|%2[Bb])\d(?:[\d\s()./-]|%2[089DdEeFf]){5,}\d"
    # 14255550123 by itself, or before an asserted id or an extension
    r"|(?<![\w.+-])\d{7,15}(?![A-Za-z0-9]|-(?!ext))(?!\.\d)"
    # x14255550123, tel_14255550123: behind letters that hexadecimal digits are not, or behind an underscore
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
_KEY_VALUE = re.compile(
    r"(?i)(\b(?:access[_-]?key|account[_-]?key|shared[_-]?access[_-]?(?:key|signature)|api[_-]?key|aeg-sas-key"
    r"|aeg-sas-token|functions-key|subscription-key|client[_-]secret|assertion|client_assertion|access_token"
    r"|id_token|refresh_token|password|passwd|pwd|sas|signature|sig|secret|token)|[?&]code)"
    r"(['\"]?\s*[=:]\s*['\"]?)[^&;\s\"',]+"
)
# PGPASSWORD=, GRAPH_CLIENT_SECRET=, clientSecret=: where a colon follows, it may be prose.
_VARIABLE = re.compile(r"(?i)((?:password|secret|_key|_token)['\"]?=['\"]?)[^&;\s\"',]+")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def mask_number(number: str) -> str:
    """The number with all digits but the last two starred: enough to recognise, not to call.

    What stands percent-encoded between its digits stays.
    """
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
    """`text` without phone numbers, tokens and keys.

    For text that comes from elsewhere: a provider's message, an exception of a lower layer, a URL.
    """
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _PEM.sub(MASK, text)
    text = _IN_URL.sub(rf"\1{MASK}@", text)
    text = _KEY_VALUE.sub(rf"\1\2{MASK}", text)
    text = _VARIABLE.sub(rf"\1{MASK}", text)
    return _NUMBER.sub(lambda match: mask_number(match.group()), text)


def shown_id(text: str) -> str:
    """Somebody else's id, redacted: most are GUIDs, which are told at a glance, but one may hold a number."""
    return text if _GUID.fullmatch(text) else redact(text)


def safe_repr(value: object) -> str:
    """`repr(value)`, redacted: for attrs fields that hold somebody else's text."""
    return redact(repr(value))
