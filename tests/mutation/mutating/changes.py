"""Every small change of a source that is tried: found in its syntax tree, made in its text.

They come in the order of the text and are the same for the same text. Left alone is what does nothing
(annotations, docstrings) or what is for people (strings with a space in them, f-strings).
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Sequence
from copy import copy
from difflib import unified_diff
from typing import Any, TypeVar, final

from attrs import frozen

_TURNED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_REPLACED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}

T = TypeVar("T")
_Place = ast.expr | ast.stmt | ast.pattern
_Span = tuple[int, int, int, int]
"""Lines from 1, columns in bytes, as the tree has them."""


@final
@frozen
class Change:
    """A changed source. `what` names the kind of change, `line` the place in the source as it was.

    `function` is the function, or `Class.method`, in whose body alone it is; empty where there is none.
    """

    line: int
    what: str
    source: str
    function: str

    def difference(self, original: str) -> str:
        """The lines taken out and put in, without their indentation."""
        lines = unified_diff(original.splitlines(), self.source.splitlines(), n=0, lineterm="")
        shown = [line for line in list(lines)[2:] if not line.startswith("@@")]
        return "\n".join(f"{line[0]} {line[1:].strip()}" for line in shown)


@final
@frozen
class _Edit:
    """`text` in the place of a node; `cut` says the same by leaving out a piece of the text, if it can."""

    node: _Place
    what: str
    text: str
    cut: _Span | None = None


def changes(source: str, *, within: Collection[str] = ()) -> tuple[Change, ...]:
    """All that are tried of a source; of the functions and assignments of these names alone, if any."""
    tree = ast.parse(source)
    functions = list(_functions(tree.body))
    seen = {ast.dump(tree)}
    found: list[Change] = []
    for edit in _edits(tree, within):
        texts = list(_ways(source, edit))
        meanings = [_meaning(text) for text in texts]
        meant = meanings[-1]  # the most careful way, which is also the ugliest
        if meant is None or meant in seen:  # the same by another change, or none at all
            continue
        seen.add(meant)
        line = edit.node.lineno
        function = next((name for name, lines in functions if line in lines), "")
        found.append(Change(line, edit.what, texts[meanings.index(meant)], function))
    return tuple(found)


def _functions(body: Sequence[ast.stmt], within: str = "") -> Iterator[tuple[str, range]]:
    """Each function that is in none, with the lines of its body."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                last = statement.end_lineno or statement.lineno
                yield f"{within}{statement.name}", range(statement.body[0].lineno, last + 1)
            case ast.ClassDef():
                yield from _functions(statement.body, f"{within}{statement.name}.")


def _ways(source: str, edit: _Edit) -> Iterator[str]:
    node = edit.node
    whole = node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0
    if edit.cut:
        yield _put(source, edit.cut, "")
    yield _put(source, whole, edit.text)
    if isinstance(node, ast.expr):
        yield _put(source, whole, f"({edit.text})")


def _put(source: str, span: _Span, text: str) -> str:
    lines = source.encode().splitlines(keepends=True)
    first, begin, last, end = span
    before, after = lines[first - 1][:begin], lines[last - 1][end:]
    return b"".join([*lines[: first - 1], before, text.encode(), after, *lines[last:]]).decode()


def _meaning(source: str) -> str | None:
    try:
        return ast.dump(ast.parse(source))
    except SyntaxError:
        return None


# --- where to look ------------------------------------------------------------------------------------


def _edits(tree: ast.Module, within: Collection[str]) -> Iterator[_Edit]:
    for statement in _named(tree.body, within) if within else tree.body:
        yield from _inside(statement)


def _named(body: Sequence[ast.stmt], within: Collection[str]) -> Iterator[ast.stmt]:
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in within:
                yield statement
            case ast.Assign(targets=[ast.Name(id=name)]) if name in within:
                yield statement
            case ast.ClassDef(body=inner):
                yield from _named(inner, within)


def _inside(node: ast.AST) -> Iterator[_Edit]:
    yield from _here(node)
    for child in _children(node):
        yield from _inside(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            pass
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case ast.AnnAssign(value=value):
            yield from [value] if value else []
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from [*node.args.defaults, *(default for default in node.args.kw_defaults if default)]
            yield from node.body
        case ast.ClassDef():
            yield from node.body
        case _:
            yield from ast.iter_child_nodes(node)


# --- what to do there ---------------------------------------------------------------------------------


def _here(node: ast.AST) -> Iterator[_Edit]:
    match node:
        case ast.stmt():
            yield from _of_statement(node)
        case ast.expr():
            yield from _of_expression(node)
        case ast.match_case():
            yield from _of_case(node)
        case ast.MatchOr():
            yield from _less(node, "patterns", "pattern dropped")
        case ast.MatchClass():
            for index, pattern in enumerate(node.kwd_patterns):
                left = _with(
                    node,
                    kwd_attrs=_without(node.kwd_attrs, index),
                    kwd_patterns=_without(node.kwd_patterns, index),
                )
                if not _binds(pattern):
                    yield _Edit(node, "pattern dropped", ast.unparse(left))


def _of_statement(node: ast.stmt) -> Iterator[_Edit]:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case ast.If(test=test) | ast.While(test=test):
            yield _Edit(test, "condition turned", _not(test))
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield _Edit(node, "call removed", "pass")
        case ast.Raise():
            yield _Edit(node, "raise removed", "pass")
        case ast.Return(value=None) | ast.Continue() | ast.Break():
            yield _Edit(node, "jump removed", "pass")
        case ast.Return(value=ast.expr() as value):
            yield _Edit(value, "None returned", "None")
        case ast.AugAssign() | ast.Assign(targets=[ast.Attribute() | ast.Subscript(), *_]):
            yield _Edit(node, "assignment removed", "pass")
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name in _names(value):
            yield _Edit(node, "assignment removed", "pass")


def _of_case(case: ast.match_case) -> Iterator[_Edit]:
    if case.guard is None:
        yield _Edit(case.pattern, "case dropped", f"{ast.unparse(case.pattern)} if False")
    else:
        yield _Edit(case.guard, "guard dropped", "True")
        yield _Edit(case.guard, "guard turned", _not(case.guard))
        yield _Edit(case.guard, "case dropped", "False")


def _of_expression(node: ast.expr) -> Iterator[_Edit]:
    match node:
        case ast.Constant(value=value):
            yield from (_Edit(node, "constant moved", repr(other)) for other in _moved(value))
        case ast.IfExp(test=test):
            yield _Edit(test, "condition turned", _not(test))
        case ast.Call():
            yield from _less(node, "args", "argument dropped")
            yield from _less(node, "keywords", "argument dropped")
        case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()) | ast.Set():
            yield from _less(node, "elts", "element dropped")
        case ast.Dict(keys=keys, values=values):
            for index in range(len(keys)):
                left = _with(node, keys=_without(keys, index), values=_without(values, index))
                yield _Edit(node, "element dropped", ast.unparse(left))
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            yield from _of_comprehension(node)
        case _:
            yield from _of_operator(node)


def _of_operator(node: ast.expr) -> Iterator[_Edit]:
    match node:
        case ast.Compare(ops=ops):
            for index, op in enumerate(ops):
                for other in _TURNED[type(op)]:
                    turned = _with(node, ops=[*ops[:index], other(), *ops[index + 1 :]])
                    yield _Edit(node, "comparison turned", ast.unparse(turned))
        case ast.BoolOp(op=op):
            other_op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield _Edit(node, "and, or", ast.unparse(_with(node, op=other_op)))
            yield from _less(node, "values", "operand dropped")
        case ast.UnaryOp(operand=operand):
            yield _Edit(node, "`not` or sign dropped", ast.unparse(operand))
        case ast.BinOp(op=operator) if type(operator) in _REPLACED:
            replaced = _with(node, op=_REPLACED[type(operator)]())
            yield _Edit(node, "arithmetic replaced", ast.unparse(replaced))


def _of_comprehension(node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Iterator[_Edit]:
    for place, loop in enumerate(node.generators):
        for index, test in enumerate(loop.ifs):
            yield _Edit(test, "condition turned", _not(test))
            left = _with(loop, ifs=_without(loop.ifs, index))
            loops = [*node.generators[:place], left, *node.generators[place + 1 :]]
            yield _Edit(node, "condition dropped", ast.unparse(_with(node, generators=loops)))


def _moved(value: object) -> Sequence[object]:
    """Others of the same type; what is true or false is a number too, so it comes first."""
    match value:
        case bool():
            return (not value,)
        case int():
            return (value + 1, value - 1) if value else (1,)
        case float():
            return (value + 1,)
        case str() if " " not in value:
            return (f"{value}~",)
        case _:
            return ()


def _less(node: Any, field: str, what: str) -> Iterator[_Edit]:
    """The node less one of several."""
    items: list[Any] = getattr(node, field)
    for index, item in enumerate(items):
        left = _without(items, index)
        one_operand = left[0] if field in {"values", "patterns"} and len(left) == 1 else None
        text = ast.unparse(one_operand or _with(node, **{field: left}))
        begin, end = (item.lineno, item.col_offset), (item.end_lineno, item.end_col_offset)
        if index + 1 < len(items):
            end = items[index + 1].lineno, items[index + 1].col_offset
        elif index:
            begin = items[index - 1].end_lineno, items[index - 1].end_col_offset
        yield _Edit(node, what, text, cut=(*begin, *end))


def _without(items: list[T], index: int) -> list[T]:
    return items[:index] + items[index + 1 :]


def _with(node: Any, **fields: Any) -> Any:
    changed = copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _not(test: ast.expr) -> str:
    negated = test.operand if isinstance(test, ast.UnaryOp) else ast.UnaryOp(op=ast.Not(), operand=test)
    return ast.unparse(negated)


def _names(node: ast.AST) -> set[str]:
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def _binds(pattern: ast.pattern) -> bool:
    """Whether it gives something a name, without which the case could not go on."""
    return any(isinstance(inner, ast.MatchAs) and inner.name for inner in ast.walk(pattern))
