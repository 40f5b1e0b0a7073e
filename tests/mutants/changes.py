"""Which small changes a module's source allows: one each, at one place, that changes what it does.

Pure: source in, changes out, in the order of the source. Left alone is what no test is meant to pin: words in errors and
logs, types, docstrings, assertions, `__slots__`.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_BOUNDARY: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_WORDS = frozenset(("debug", "info", "warning", "error", "exception", "cast", "TypeVar", "NewType", "getLogger"))
"""Calls whose texts are for people or for the type checker."""


@dataclass(frozen=True, slots=True)
class Change:
    """`function` is where it stands, qualified; `before` and `after` are what is written there, in one line each."""

    line: int
    function: str
    before: str
    after: str
    _path: tuple[tuple[str, int], ...]  # from the module down to the node: a field, and a place in it or -1
    _node: ast.AST | None  # what stands there instead; None drops a statement

    def applied(self, source: str) -> ast.Module:
        """The module with this change."""
        tree = ast.parse(source)
        at: ast.AST = tree
        for field, index in self._path[:-1]:
            at = _child(at, field, index)
        field, index = self._path[-1]
        node = copy.deepcopy(self._node) if self._node is not None else ast.Pass()
        ast.copy_location(node, _child(at, field, index))
        if index < 0:
            setattr(at, field, node)
        else:
            getattr(at, field)[index] = node
        return ast.fix_missing_locations(tree)


def changes(source: str) -> list[Change]:
    """Every change that the source allows."""
    return list(_under(ast.parse(source), (), "", plain=True))


def _under(node: ast.AST, path: tuple[tuple[str, int], ...], function: str, *, plain: bool) -> Iterator[Change]:
    """The changes below this node. `plain`: whether texts in here are the program's, not for people."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        function = f"{function}.{node.name}".lstrip(".")
    for field, index, child in _children(node):
        if _is_left_alone(node, field, child):
            continue
        place = (*path, (field, index))
        texts = plain and not _speaks_to_people(node, child)
        for other in _others(node, field, child, texts=texts):
            before = _in_one_line(child)
            after = "nothing" if other is None else _in_one_line(other)
            if before != after:
                yield Change(getattr(child, "lineno", 0), function, before, after, place, other)
        yield from _under(child, place, function, plain=texts)


def _others(parent: ast.AST, field: str, node: ast.AST, *, texts: bool) -> Iterator[ast.AST | None]:  # noqa: PLR0912 - a table
    """What may stand in this node's place; None for nothing at all."""
    match node:
        case ast.Compare(ops=[operator]):
            for table in (_NEGATED, _BOUNDARY):
                if type(operator) in table:
                    yield ast.Compare(node.left, [table[type(operator)]()], node.comparators)
        case ast.Compare(ops=operators):
            for index, operator in enumerate(operators):
                if type(operator) in _BOUNDARY:
                    changed = [*operators[:index], _BOUNDARY[type(operator)](), *operators[index + 1 :]]
                    yield ast.Compare(node.left, changed, node.comparators)
        case ast.BoolOp(op=operator, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for index in range(len(values)):
                left = values[:index] + values[index + 1 :]
                yield left[0] if len(left) == 1 else ast.BoolOp(operator, left)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _ARITHMETIC:
            if not any(
                isinstance(side, (ast.JoinedStr, ast.List, ast.Tuple)) or _is_text(side) for side in (left, right)
            ):
                yield ast.BinOp(left, _ARITHMETIC[type(operator)](), right)
        case ast.AugAssign(op=operator) if type(operator) in _ARITHMETIC:
            yield ast.AugAssign(node.target, _ARITHMETIC[type(operator)](), node.value)
            yield None
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str() as value) if texts and value and not isinstance(parent, ast.JoinedStr):
            yield ast.Constant("other")
        case ast.Constant(value=bytes() as value) if texts and value:
            yield ast.Constant(b"other")
        case ast.Name(id=name) if name in _NAMES and isinstance(parent, ast.Call) and field == "func":
            yield ast.Name(_NAMES[name], ast.Load())
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Delete() | ast.Raise():
            if not (isinstance(node, ast.Expr) and _is_for_people(node.value)):
                yield None
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]) | ast.Assign(targets=[ast.Tuple()]):
            yield None
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
        case _:
            pass
    if field == "test" and not isinstance(node, (ast.Compare, ast.Constant, ast.UnaryOp)):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type]


def _is_left_alone(parent: ast.AST, field: str, child: ast.AST) -> bool:
    """Whether nothing below this node decides anything at run time."""
    match parent:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() if field == "decorator_list":
            return True
        case ast.FunctionDef() | ast.AsyncFunctionDef() if field == "returns":
            return True
        case ast.arg() | ast.AnnAssign() if field == "annotation":
            return not any(isinstance(inner, ast.Call) for inner in ast.walk(child))  # those say bounds of fields
        case ast.Subscript(value=ast.Name(id="Literal")) | ast.Subscript(value=ast.Attribute(attr="Literal")):
            return True
        case _:
            pass
    match child:
        case ast.Expr(value=ast.Constant()) | ast.Assert() | ast.Import() | ast.ImportFrom():
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
            return True
        case ast.Assign(value=ast.BinOp(op=ast.BitOr())):  # a type's other name
            return field == "body" and isinstance(parent, ast.Module)
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.ClassDef(bases=[*_, ast.Name(id="Protocol")]):
            return True
        case ast.Raise(exc=ast.Name(id="NotImplementedError")):
            return True
        case _:
            return False


def _speaks_to_people(parent: ast.AST, child: ast.AST) -> bool:
    return isinstance(child, (ast.Raise, ast.JoinedStr)) or _is_for_people(child) or isinstance(parent, ast.JoinedStr)


def _is_for_people(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
            return name in _WORDS
        case _:
            return False


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes))


def _children(node: ast.AST) -> Iterator[tuple[str, int, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.AST):
            yield field, -1, value
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield field, index, item


def _child(node: ast.AST, field: str, index: int) -> ast.AST:
    found = getattr(node, field)
    return found if index < 0 else found[index]  # type: ignore[no-any-return]


def _in_one_line(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 160 else text[:157] + "…"
