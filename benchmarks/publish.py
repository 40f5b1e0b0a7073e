"""Tells the figures of a run: a table for whoever watches, a file of them, and their place in docs/performance.md."""

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.figures import Figure, show, write

PAGE = Path("docs/performance.md")


def publish(figures: Sequence[Figure], file: Path, console: Console, page: Callable[[str, str, str], str]) -> None:
    """`page` makes the page of what it was, the date and the machine in general words."""
    show(figures, console)
    write(figures, file)
    machine = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    PAGE.write_text(page(PAGE.read_text(), datetime.now(UTC).strftime("%Y-%m-%d"), machine))
    console.print(f"[dim]written to {file} and {PAGE}[/]", highlight=False)
