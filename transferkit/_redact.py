"""What may be shown of what must not be shown.

Phone numbers and secrets never reach a log, a `repr`, an exception or a span. Everything that turns
a value into text for people goes through here.
"""

from __future__ import annotations

import re

__all__ = ["MASK", "mask_number", "redact", "safe_repr"]

MASK = "***"

_KEPT_DIGITS = 2

# A number as people and SIP write it, also percent-encoded in a URL. Digit runs inside longer tokens (GUIDs,
# hex ids, timestamps) are no numbers: hence the guards on both sides, which a leading plus overrides.
_NUMBER = re.compile(
    r"(?:\+|%2[Bb])\d[\d\s().-]{5,}\d"  # +14255550123, +1 (425) 555-0123
    r"|(?<![\w.+-])\d{7,15}(?![A-Za-z0-9-])(?!\.\d)"  # 14255550123 by itself, or before an asserted id
    r"|(?<![\w.+-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"  # (425) 555-0123
)
_DIGIT = re.compile(r"(?<!%)\d")
_BEARER = re.compile(r"(?i)\b(bearer|hmac-sha256|sharedkey)\s+[^\s,;\"']+")
_JWT = re.compile(r"\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?")
_KEY_VALUE = re.compile(
    r"(?i)(\b(?:accesskey|access_key|client_secret|client_assertion|access_token|password|signature|sig|secret"
    r"|token)|[?&]code)(['\"]?\s*[=:]\s*['\"]?)[^&;\s\"',]+"
)


def mask_number(number: str) -> str:
    """The number with all digits but the last two starred: enough to recognise, not to call."""
    digits = len(_DIGIT.findall(number))
    hidden = max(digits - _KEPT_DIGITS, 0) if digits > _KEPT_DIGITS else digits
    seen = 0

    def star(_: re.Match[str]) -> str:
        nonlocal seen
        seen += 1
        return "*" if seen <= hidden else _.group()

    return _DIGIT.sub(star, number)


def redact(text: str) -> str:
    """`text` without phone numbers, tokens and keys.

    For text that comes from elsewhere: a provider's message, an exception of a lower layer, a URL.
    """
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _JWT.sub(MASK, text)
    text = _KEY_VALUE.sub(rf"\1\2{MASK}", text)
    return _NUMBER.sub(lambda match: mask_number(match.group()), text)


def safe_repr(value: object) -> str:
    """`repr(value)`, redacted: for attrs fields that hold somebody else's text."""
    return redact(repr(value))
