"""docs/performance.md and its picture, from the figures of a run. Pure: figures in, text out."""

import re
from collections.abc import Sequence

from benchmarks.figures import Figure

_HEAD = """# Performance

Written by `make bench` on {date}: {machine}. Everything is on loopback, by turns in one run; the ratio is to Go's
`httputil.ReverseProxy` (flushing after each write) in the same run, and nginx (`proxy_buffering off`) stands beside it.
CPU is that of the proxy process; Hearth's hot path is compiled, as in its image. Medians of {rounds} rounds. Machines
are noisy: compare ratios, not microseconds.

![Ratios to Go's ReverseProxy](performance.svg)

| figure | measured | ratio | goal |
|---|---|---|---|
"""

_TAIL = """
- `streamN_…`: N streams of 50 events a second each. With 200 the proxies wait more than they work, and an event costs
  a wake-up; 2,000 are more than two cores can do for engine, proxy and clients, and who has time reads several events
  at once.
- `unary_…`: 1 KiB there and 1 KiB back on 16 kept connections. ReverseProxy loses one request of some thousands here
  (golang/go#40747), which the benchmark says while it runs; of Hearth's none may be lost.
- `prompts_1mib_…`: 1 MiB there and back. `rss_peak` is above the process without requests, `rss_grown` what the last
  round left behind.
- `slow_reader`: memory of the proxy for each of 500 clients that read 1 KiB a second of engines that never pause;
  `streams_…`: 50 ordinary streams without them and beside them.
- `held_…`: {held:,} cold streaming requests open on one activator, a heartbeat each 10 s; then five engines come up.
  `heartbeat_us` is the process' CPU above what it uses when idle, by the beats in that time.
- `cancel_…`: a client of a stream is gone → the engine sees that nobody wants its answer.
- `push_…`: a cold request's first byte → the scaler's push. `release_…`: the engine's first 200 to its probe → the held
  request reaches it.
"""


def page(figures: Sequence[Figure], *, date: str, machine: str, rounds: int, held: int) -> str:
    """The page, in Markdown."""
    rows = []
    for figure in figures:
        ratio = f"{figure.ratio:.2f} of {figure.ratio_to}" if figure.ratio is not None else ""
        rows.append(f"| `{figure.name}` | {figure.value:,.2f} {figure.unit} | {ratio} | {figure.goal} |")
    return _HEAD.format(date=date, machine=machine, rounds=rounds) + "\n".join(rows) + "\n" + _TAIL.format(held=held)


def sections(text: str) -> str:
    """What other benchmarks wrote behind it: the page's sections."""
    found = re.search(r"^## ", text, re.MULTILINE)
    return "" if found is None else "\n" + text[found.start() :]


def with_section(text: str, section: str) -> str:
    """The page with this section instead of the one that has its heading, or behind all others."""
    heading = section.splitlines()[0]
    there = re.compile(rf"^{re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if found := there.search(text):
        between = "\n" if found.end() < len(text) else ""
        return f"{text[: found.start()]}{section}{between}{text[found.end() :]}"
    return f"{text.rstrip()}\n\n{section}"


def picture(figures: Sequence[Figure], yardstick: str) -> str:
    """Bars of the ratios to the yardstick, as SVG."""
    shown = [f for f in figures if f.ratio is not None and f.ratio_to == yardstick and f.ratio != 1.0]
    scale, row, left = 180, 22, 300
    most = max((figure.ratio or 0 for figure in shown), default=1.0)
    width, height = left + int(scale * most) + 60, row * len(shown) + 40
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, figure in enumerate(shown):
        y, ratio = 10 + number * row, figure.ratio or 0
        colour = "#9aa5b1" if figure.name.endswith("nginx") else "#d9480f"
        lines += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{figure.name}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{scale * ratio:.0f}" height="{row - 8}" fill="{colour}"/>',
            f'<text x="{left + scale * ratio + 5:.0f}" y="{y + 13}">{ratio:.2f}</text>',
        ]
    one = left + scale
    lines += [
        f'<line x1="{one}" y1="5" x2="{one}" y2="{height - 22}" stroke="black" stroke-dasharray="3"/>',
        f'<text x="{one}" y="{height - 8}" text-anchor="middle">1 = {yardstick}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"
