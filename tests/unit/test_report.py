"""docs/performance.md has several writers, each of a part of its own."""

from benchmarks.report import sections, with_section

HEAD = "# Performance\n\n| a | b |\n"
ONE, TWO = "## One\n\nold\n", "## Two\n\n- x\n"


def test_a_section_stands_where_it_stood_or_at_the_end() -> None:
    page = with_section(with_section(HEAD, ONE), TWO)
    assert page == f"{HEAD}\n{ONE}\n{TWO}"
    assert with_section(page, "## One\n\nnew\n") == f"{HEAD}\n## One\n\nnew\n\n{TWO}"


def test_whoever_writes_the_head_keeps_the_sections() -> None:
    page = with_section(HEAD, ONE)
    assert HEAD + sections(page) == page
    assert sections(HEAD) == ""
