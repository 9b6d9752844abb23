"""Random changes of JSON values, of text and of bytes, all from one `Random`."""

from __future__ import annotations

import copy
import json
from random import Random
from typing import Any

ODD_VALUES = [
    None, True, False, 0, -1, 1, 7015, 300, 2**31, 2**53 + 1, 2**63, 10**400, 0.5, 1e308, float("nan"),
    float("inf"), "", " ", "0", "null", "none", "\x00", "\ud800", "é", "\U0001f4de", "a" * 5000,
    "+14255550142", "4:+1", "8:acs:_", "8:orgid:", "28:orgid:",
    "2026-02-30T99:00:00Z", "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59", "calling/callConnections/", "/communications/calls/", "https://[::1",
    "/calls/%2F%00/participants", [], {}, [[]], [None], [{}], {"": None}, {"id": {}}, {"subCode": 1e400},
]  # fmt: skip
ODD_NAMES = ["", "id", "ID", "type", "value", "data", "\ud800", "@odata.type", "secret", "source", "state"]
ODD_TEXT = ["\x00", "\n", "\r\n", "\ud800", "é", "İ", "ß", "\u202e", "%00", *'/?#;="', "..", "9" * 400]
ODD_BYTES = [
    b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"1e999", b"NaN", b"-", b",", b"]",
    b"}", b'"', b"\\", b"[" * 70, b"[" * 30_000, b'{"a":' * 200, b"9" * 5000, b'"id":1,', b"/**/",
]  # fmt: skip
ENCODINGS = ["utf-8"] * 12 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]


def altered(value: Any, random: Random, others: list[Any]) -> Any:
    """A copy with one to four changes; parts of `others` may be grafted in."""
    holder = [copy.deepcopy(value)]
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 4))):
        places = _places(holder)
        _change(*random.choice(places), places=places, random=random, others=others)
    return holder[0] if holder else None


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a value, as the container and the key or index in it."""
    found: list[tuple[Any, Any]] = []
    inside = [value]
    while inside:
        container = inside.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                inside.append(container[key])
    return found or [([None], 0)]


def _change(
    container: Any, key: Any, *, places: list[tuple[Any, Any]], random: Random, others: list[Any]
) -> None:
    """Change one place: what is there, its name, or whether it is there."""
    value = container[key]
    match random.choice(
        ("odd", "odd", "away", "named", "twice", "moved", "wrapped", "grafted", "deep", "near")
    ):
        case "away" if isinstance(container, dict):
            del container[key]
        case "named" if isinstance(container, dict):
            name = random.choice((str.upper, str.lower, str.title, str.swapcase))(key)
            container[name if random.random() < 0.7 else random.choice(ODD_NAMES)] = container.pop(key)
        case "twice" if isinstance(container, dict):  # in two letter cases
            container[key.swapcase()] = copy.deepcopy(random.choice(ODD_VALUES))
        case "twice":
            container.insert(key, copy.deepcopy(value))
        case "moved":
            container[key] = _part(places, random)
        case "grafted":
            container[key] = _part(_places([random.choice(others)]), random)
        case "wrapped":
            container[key] = random.choice(([value], {"value": value}, {"id": value}, json.dumps(value)))
        case "deep":
            container[key] = _deep(value, random)
        case "near":
            container[key] = _near(value, random)
        case _:
            container[key] = copy.deepcopy(random.choice(ODD_VALUES))


def _part(places: list[tuple[Any, Any]], random: Random) -> Any:
    container, key = random.choice(places)
    there = isinstance(container, list) or key in container  # else it was taken away before
    return copy.deepcopy(container[key]) if there else None


def _deep(value: Any, random: Random) -> Any:
    for _ in range(random.choice((3, 30, 62, 63, 64, 65, 66, 100))):
        value = [value] if random.random() < 0.5 else {"n": value}
    return value


def _near(value: Any, random: Random) -> Any:
    if isinstance(value, str):
        return altered_text(value, random)
    if isinstance(value, int):
        return random.choice((value + 1, -value, str(value), float(value % 2**60), value * 10))
    return copy.deepcopy(random.choice(ODD_VALUES))


def altered_text(text: str, random: Random) -> str:
    """The text with something put in, taken out, doubled or in another letter case."""
    start, end = sorted((random.randint(0, len(text)), random.randint(0, len(text))))
    match random.randrange(5):
        case 0:
            return text[:start] + random.choice(ODD_TEXT) + text[start:]
        case 1:
            return text[:start] + text[end:]
        case 2:
            return text[:end] + text[start:]
        case 3:
            return random.choice((text.upper(), text.lower(), text.swapcase(), f" {text} "))
        case _:
            return (
                text[:start]
                + chr(random.choice((random.randrange(32, 127), random.randrange(0x3000))))
                + text[end:]
            )


def altered_bytes(data: bytes, random: Random) -> bytes:
    """The bytes with one to three changes that know nothing of what they mean."""
    for _ in range(random.choice((1, 1, 2, 3))):
        start, end = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        match random.randrange(6):
            case 0 if data:
                at = random.randrange(len(data))
                data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
            case 1:
                data = data[:start]
            case 2:
                data = data[:start] + data[min(end, start + 8) :]
            case 3:
                data = data[:end] + data[start:]
            case 4:
                data = data[:start] + random.randbytes(random.randint(1, 6)) + data[start:]
            case _:
                data = data[:start] + random.choice(ODD_BYTES) + data[start:]
    return data


def written(value: Any, random: Random) -> bytes:
    """The value as JSON in some spelling and encoding, now and then damaged."""
    text = json.dumps(value, ensure_ascii=random.random() < 0.5, indent=random.choice((None, None, 1)))
    data = text.encode(random.choice(ENCODINGS), "surrogatepass")
    return altered_bytes(data, random) if random.random() < 0.35 else data
