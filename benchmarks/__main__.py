"""`make bench`: measure, print a table, write build/bench.json and docs/performance.md."""

import asyncio
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import cancel, datapath, footprint, push, release
from benchmarks.figures import Figure, show, write
from benchmarks.report import page, picture, sections
from hearth.logs import configure

FILE = Path("build/bench.json")
PAGE, PICTURE = Path("docs/performance.md"), Path("docs/performance.svg")


async def _run(console: Console) -> list[Figure]:
    figures: list[Figure] = []
    for what, measure in (
        ("the data path beside Go's ReverseProxy and nginx (about ten minutes)", datapath.measure),
        (f"{cancel.CLIENTS} clients that leave", cancel.measure),
        ("memory and start-up", footprint.measure),
        (f"{push.COLD_STARTS} cold starts up to the push", push.measure),
        (f"{release.COLD_STARTS} cold starts from ready to released (about a minute and a half)", release.measure),
    ):
        console.print(f"[dim]measuring {what} …[/]", highlight=False)
        figures += await measure()
    return figures


def main() -> None:
    configure("text", "ERROR")
    console = Console()
    figures = asyncio.run(_run(console))
    show(figures, console)
    write(figures, FILE)
    machine = f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    held = datapath.held_clients()
    written = page(figures, date=date, machine=machine, rounds=datapath.ROUNDS, held=held)
    PAGE.write_text(written + sections(PAGE.read_text()))
    PICTURE.write_text(picture(figures, datapath.YARDSTICK))
    console.print(f"[dim]written to {FILE} and {PAGE}[/]", highlight=False)


if __name__ == "__main__":
    main()
