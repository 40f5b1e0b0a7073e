"""docs/clients.md says what is so."""

import asyncio
from pathlib import Path

from tests.clients.table import PAGE, as_markdown, measure, written


def test_the_page_has_what_is_measured(installed: Path) -> None:
    page = PAGE.read_text()
    again = written(page, as_markdown(asyncio.run(measure(installed))))
    assert page == again, "write it anew: python -m tests.clients.table FOLDER"
