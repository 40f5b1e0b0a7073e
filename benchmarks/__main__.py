"""`make bench`: measure, print a table, write build/bench.json and docs/performance.md."""

import asyncio
from pathlib import Path

from rich.console import Console

from benchmarks import cancel, datapath, footprint, push, release
from benchmarks.figures import Figure
from benchmarks.publish import publish
from benchmarks.report import page, picture, sections
from hearth.logs import configure

FILE = Path("build/bench.json")
PICTURE = Path("docs/performance.svg")


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
    held = datapath.held_clients()

    def whole(text: str, date: str, machine: str) -> str:
        return page(figures, date=date, machine=machine, rounds=datapath.ROUNDS, held=held) + sections(text)

    publish(figures, FILE, console, whole)
    PICTURE.write_text(picture(figures, datapath.YARDSTICK))


if __name__ == "__main__":
    main()
