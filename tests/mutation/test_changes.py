"""The changes that the mutation run makes, and that what it names is there."""

import ast

import pytest
from mutating.changes import changes
from mutating.parts import PARTS
from mutating.trial import ROOT


def differences(source, **asked):
    return [change.difference(source).splitlines()[-1] for change in changes(source, **asked)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["+ x = a <= b", "+ x = a >= b"]),
        ("x = a and not b", ["+ x = a or not b", "+ x = not b", "+ x = a", "+ x = a and b"]),
        ("x = not (a or b) * c", ["+ x = (a or b) * c", "+ x = not (a or b) / c", *3 * [None]]),
        ("f(a, key=7)", ["+ pass", "+ f(key=7)", "+ f(a, )", "+ f(a, key=8)", "+ f(a, key=6)"]),
        ("def f():\n    return 'ä', 'ö' if 'ü' else 1", 9 * [None]),
        ("if flag:\n    raise Wrong('for people')", ["+ if not flag:", "+ pass", "+ raise Wrong()"]),
        ("x = {'a': 1}", ["+ x = {}", "+ x = {'a~': 1}", "+ x = {'a': 2}", "+ x = {'a': 0}"]),
        ("x: Literal['a'] = True", ["+ x: Literal['a'] = False"]),
        ("match x:\n    case A() | B() if y:\n        pass", 5 * [None]),
        ("match x:\n    case A(b=C()):\n        pass", ["+ case A(b=C()) if False:", "+ case A():"]),
        ("x = [y for y in z if y]", ["+ x = [y for y in z if not y]", "+ x = [y for y in z]"]),
    ],
)
def test_what_is_changed(source, expected):
    found = differences(source)
    assert len(found) == len(expected)
    assert all(wanted in {None, line} for line, wanted in zip(found, expected, strict=True)), found


@pytest.mark.parametrize(
    "source",
    [
        "'''For people.'''",
        "import a",
        "x = f'{a < b}'",
        "__all__ = ['x']",
        "@frozen(order=True)\nclass A: ...",
    ],
)
def test_what_does_nothing_is_left_alone(source):
    assert changes(source) == ()


def test_only_what_was_asked_for_is_changed():
    source = (
        "A = 1\nB = 2\nclass C:\n    def d(self):\n        return 3\n    def e(self):\n        return 4\n"
    )
    assert {change.line for change in changes(source, within=("B", "e"))} == {2, 7}


@pytest.mark.parametrize("part", PARTS.values(), ids=lambda part: part.name)
def test_what_a_part_names_is_there(part):
    for file, within in part.files.items():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        named = {
            node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        }
        named |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        assert named.issuperset(within)
    for tests in part.rounds:
        assert all((ROOT / test).is_file() for test in tests if test.endswith(".py"))
