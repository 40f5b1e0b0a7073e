"""The tool behind `make mutants`: which changes it makes, and that its table is about what is there."""

import ast
from collections.abc import Callable

import pytest

from tests.builders import ROOT
from tests.mutants.changes import changes
from tests.mutants.table import EQUIVALENTS, ROOMS, Equivalent


def pairs(source: str) -> set[tuple[str, str]]:
    return {(change.before, change.after) for change in changes(source)}


@pytest.mark.parametrize(
    ("source", "before", "after"),
    [
        ("x < 1", "x < 1", "x >= 1"),
        ("x < 1", "x < 1", "x <= 1"),
        ("x < 1", "1", "2"),
        ("a and b", "a and b", "a or b"),
        ("a and b", "a and b", "a"),
        ("not a", "not a", "a"),
        ("if a: f()", "a", "not a"),
        ("if a: f()", "f()", "nothing"),
        ("def f():\n    return g()", "return g()", "return None"),
        ("a + b", "a + b", "a - b"),
        ("a += 1", "a += 1", "nothing"),
        ("a.b = 1", "a.b = 1", "nothing"),
        ("min(a, b)", "min", "max"),
        ("f('word')", "'word'", "'other'"),
        ("f(True)", "True", "False"),
        ("while a:\n    break", "break", "continue"),
        ("raise E", "raise E", "nothing"),
        ("x: Annotated[int, Field(ge=3)]", "3", "4"),
    ],
)
def test_a_change_is_offered(source: str, before: str, after: str) -> None:
    assert (before, after) in pairs(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""Words."""',
        "assert a < 1",
        "raise E('words')\n",
        "__slots__ = ('a', 'b')",
        "x: Literal['a'] = y",
        "@dataclass(frozen=True)\nclass A: pass",
        "log.info('words')",
        "f(f'words {a}')",
    ],
)
def test_words_and_types_are_left_alone(source: str) -> None:
    assert {pair for pair in pairs(source) if "nothing" not in pair} == set()


def test_each_change_is_applied_in_one_place_alone() -> None:
    source = "def f(a, b):\n    if a < 1 and b:\n        g(1)\n    return a + 1\n"
    made = [ast.unparse(change.applied(source)) for change in changes(source)]
    assert len(set(made)) == len(made)
    assert ast.unparse(ast.parse(source)) not in made


def test_a_changed_module_does_something_else() -> None:
    source = "def f(a):\n    return a < 3\n"
    (boundary,) = [change for change in changes(source) if change.after == "a <= 3"]
    scope: dict[str, Callable[[int], bool]] = {}
    exec(compile(boundary.applied(source), "f", "exec"), scope)  # noqa: S102 - that is what it is for
    assert scope["f"](3)
    assert (boundary.line, boundary.function) == (2, "f")


@pytest.mark.parametrize("row", EQUIVALENTS, ids=lambda row: f"{row.module}:{row.before}"[:60])
def test_every_equivalent_is_a_change_that_is_there(row: Equivalent) -> None:
    found = changes((ROOT / row.module).read_text())
    assert (row.function, row.before, row.after) in {(change.function, change.before, change.after) for change in found}
    assert row.reason


def test_every_room_has_modules_and_tests() -> None:
    for room in ROOMS:
        assert all(path.is_file() for path in room.paths())
        assert all((ROOT / test).exists() for test in room.tests)
