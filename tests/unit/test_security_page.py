"""docs/security.md as a threat model: each line of its table names a test that there is."""

import ast

from tests.builders import ROOT

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "security.md").read_text().splitlines()
    if line.startswith("|") and "tests/" in line
]


def test_each_line_has_a_test() -> None:
    assert len(ROWS) > 20
    for _, tries, against, test in ROWS:
        assert tries, test
        assert against, test
        path, _, name = test.partition("::")
        defined = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if hasattr(node, "name")}
        assert name in defined, test


def test_no_line_of_the_table_is_without_one() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    table = page[page.index("| who | tries |") :].splitlines()
    lines = [line for line in table if line.startswith("|")][2:]
    assert len(lines) == len(ROWS)
