"""`make bench`: measure, print a table, write build/bench.json."""

import asyncio
from pathlib import Path

from rich.console import Console

from benchmarks import datapath, footprint, push, release
from benchmarks.figures import Figure, show, write
from hearth.logs import configure

FILE = Path("build/bench.json")


async def _run(console: Console) -> list[Figure]:
    figures: list[Figure] = []
    for what, measure in (
        ("the data path beside Go's ReverseProxy and nginx (about six minutes)", datapath.measure),
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
    console.print(f"[dim]written to {FILE}[/]", highlight=False)


if __name__ == "__main__":
    main()
