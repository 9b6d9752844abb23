"""Hypothesis strategies that damage JSON, text and bytes, and the corpus of inputs that once failed."""

import copy
import json
from importlib.util import find_spec
from pathlib import Path

from hypothesis import strategies as st

CORPUS = Path(__file__).resolve().parents[1] / "fuzz" / "corpus"

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
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\\ud800", b"1e999", b"NaN", b"-", b",", b"]", b"}",
    b'"', b"\\", b"[" * 70, b"[" * 30_000, b'{"a":' * 200, b"9" * 5000, b'"id":1,', b"/**/",
]  # fmt: skip
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"]


def installed(distribution):
    """Whether an adapter is installed here."""
    return find_spec(distribution) is not None


def corpus(target):
    """The inputs that once failed, by the name of their file. Bytes are text in Latin-1."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))["case"]
        for path in sorted(CORPUS.glob(f"{target}-*.json"))
    }


def one_in(number):
    """True for about one of `number` examples."""
    return st.integers(1, number).map(lambda drawn: drawn == number)


def _damaged(draw, data, pieces):
    start, end = sorted(draw(st.tuples(st.integers(0, len(data)), st.integers(0, len(data)))))
    match draw(st.sampled_from(["insert", "remove", "repeat", "replace"])):
        case "insert":
            return data[:start] + draw(pieces) + data[start:]
        case "remove":
            return data[:start] + data[end:]
        case "repeat":
            return data[:end] + data[start:]
        case _:
            return data[:start] + draw(pieces) + data[end:]


@st.composite
def damaged_text(draw, text):
    """Text with a part inserted, removed, repeated or replaced, or in another letter case."""
    if draw(one_in(5)):
        return draw(st.sampled_from([text.upper(), text.lower(), text.swapcase(), f" {text} "]))
    return _damaged(draw, text, st.sampled_from(ODD_TEXT) | st.text(max_size=3))


@st.composite
def damaged_bytes(draw, data):
    """Bytes with one to three parts inserted, removed, repeated or replaced."""
    for _ in range(draw(st.integers(1, 3))):
        data = _damaged(draw, data, st.sampled_from(ODD_BYTES) | st.binary(max_size=6))
    return data


@st.composite
def damaged_json(draw, seeds, parts=()):
    """One of the seeds with one to four changes of its structure; parts of other seeds may be put in."""
    holder = [copy.deepcopy(draw(st.sampled_from(seeds)))]
    for _ in range(draw(st.integers(1, 4))):
        _change(draw, *draw(st.sampled_from(_places(holder) or [(holder, 0)])), [*seeds, *parts])
    return holder[0]


def _places(value):
    """Every place in a value: the container, and the key or index in it."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = [(value, key) for key in keys]
    for key in keys:
        if isinstance(value[key], (dict, list)):
            found += _places(value[key])
    return found


def _near(value):
    if isinstance(value, str):
        return damaged_text(value)
    if isinstance(value, int):
        return st.sampled_from([value + 1, -value, str(value), float(value % 2**60)])
    return st.sampled_from(ODD_VALUES).map(copy.deepcopy)


def _change(draw, container, key, seeds):
    value = container[key]
    kinds = ["odd", "graft", "wrap", "deep", "near", "remove", "rename", "twice"]
    match draw(st.sampled_from(kinds)):
        case "graft":
            other, place = draw(st.sampled_from(_places([draw(st.sampled_from(seeds))])))
            container[key] = copy.deepcopy(other[place])
        case "wrap":
            container[key] = draw(
                st.sampled_from([[value], {"value": value}, {"id": value}, json.dumps(value)])
            )
        case "deep":
            for _ in range(draw(st.sampled_from([3, 30, 62, 63, 64, 65, 66, 100]))):
                container[key] = [container[key]]
        case "near":
            container[key] = draw(_near(value))
        case "remove" if isinstance(container, dict):
            del container[key]
        case "rename" if isinstance(container, dict):
            name = draw(st.sampled_from([key.upper(), key.lower(), key.title(), *ODD_NAMES]))
            container[name] = container.pop(key)
        case "twice" if isinstance(container, dict):  # the same name in two letter cases
            container[key.swapcase()] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))
        case "twice":
            container.insert(key, copy.deepcopy(value))
        case _:
            container[key] = copy.deepcopy(draw(st.sampled_from(ODD_VALUES)))


@st.composite
def written_json(draw, values):
    """A value as the bytes of a JSON text, in one of the encodings; one of three texts is damaged."""
    value = draw(values)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))
    encoding = draw(st.sampled_from(ENCODINGS)) if draw(one_in(4)) else "utf-8"
    data = text.encode(encoding, "surrogatepass")
    return draw(damaged_bytes(data)) if draw(one_in(3)) else data


def bodies(seeds):
    """Bodies of callbacks: damaged in their structure, in their bytes, or in both."""
    return written_json(damaged_json(seeds) | st.sampled_from(seeds))


def as_text(data):
    """Bytes in the form that the corpus stores."""
    return data.decode("latin-1")


def as_bytes(text):
    """The bytes that the corpus stores as text."""
    return text.encode("latin-1")
