"""A dashboard's panels as one SVG, roughly as Grafana lays them out."""

import math
from collections.abc import Callable
from html import escape

from tools.dashboards import GRAPH_HEIGHT, STAT_HEIGHT, WIDTH, Colour, Dashboard, Panel

Lines = dict[str, list[tuple[float, float]]]
"""(seconds, value) of each series, by what the legend calls it."""

CELL_X, CELL_Y, GAP = 44, 26, 6
SHADES: dict[Colour, str] = {"green": "#2f9e44", "yellow": "#e0a100", "orange": "#d9480f", "red": "#c92a2a"}
COLOURS = ("#d9480f", "#1c7ed6", "#2f9e44", "#9c36b5", "#f08c00", "#0c8599", "#495057", "#e64980")


def draw(board: Dashboard, lines: Callable[[Panel], Lines]) -> str:
    """The whole dashboard."""
    x = y = row = 0
    drawn = []
    for panel in board.panels:
        height = STAT_HEIGHT if panel.kind == "stat" else GRAPH_HEIGHT
        if x + panel.width > WIDTH:
            x, y = 0, y + row
        box = (x * CELL_X + GAP, y * CELL_Y + GAP + 30, panel.width * CELL_X - GAP, height * CELL_Y - GAP)
        drawn += _panel(panel, lines(panel), *box)
        x, row = x + panel.width, height
    width, height = WIDTH * CELL_X + GAP, (y + row) * CELL_Y + GAP + 30
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">',
            f'<rect width="{width}" height="{height}" fill="#f4f5f5"/>',
            f'<text x="{GAP}" y="22" font-size="16">{escape(board.title)}</text>',
            *drawn,
            "</svg>\n",
        ]
    )


def _panel(panel: Panel, lines: Lines, x: int, y: int, width: int, height: int) -> list[str]:
    made = [
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="white" stroke="#dddee0"/>',
        f'<text x="{x + 8}" y="{y + 16}" font-weight="bold">{escape(panel.title)}</text>',
    ]
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return [*made, f'<text x="{x + 8}" y="{y + height / 2:.0f}" fill="#868e96">No data</text>']
    if panel.kind == "bar":
        return made + _bars(panel, lines, x, y, width)
    if panel.kind == "stat":
        ((_, last), *_) = reversed(next(iter(lines.values())))
        text = _number(last, panel.unit)
        colour = SHADES[_shade(panel, last)]
        return [*made, f'<text class="stat" x="{x + 8}" y="{y + 60}" font-size="30" fill="{colour}">{text}</text>']
    return made + _graph(panel, lines, x, y, width, height)


def _shade(panel: Panel, value: float) -> Colour:
    return [panel.base, *(colour for bound, colour in panel.thresholds if value >= bound)][-1]


def _bars(panel: Panel, lines: Lines, x: int, y: int, width: int) -> list[str]:
    """A bar for the last value of each series."""
    last = {name: points[-1][1] for name, points in lines.items()}
    most = max(last.values()) or 1.0
    made = []
    for number, (name, value) in enumerate(last.items()):
        at, colour = y + 36 + 24 * number, COLOURS[number % len(COLOURS)]
        made.append(f'<text x="{x + 8}" y="{at + 11}">{escape(name)}</text>')
        long = value / most * (width - 340)
        made.append(f'<rect x="{x + 260}" y="{at}" width="{long:.0f}" height="14" fill="{colour}"/>')
        made.append(f'<text x="{x + 268 + long:.0f}" y="{at + 11}">{_number(value, panel.unit)}</text>')
    return made


def _graph(panel: Panel, lines: Lines, x: int, y: int, width: int, height: int) -> list[str]:
    left, top, bottom = x + 56, y + 26, y + height - 34
    finite = [value for points in lines.values() for _, value in points if math.isfinite(value)]
    most = max(finite, default=0.0) * 1.1 or 1.0
    begin = min(points[0][0] for points in lines.values())
    end = max(begin + 1, *(points[-1][0] for points in lines.values()))
    made = []
    for share in (0.0, 0.5, 1.0):
        at = bottom - share * (bottom - top)
        made.append(f'<line x1="{left}" y1="{at:.0f}" x2="{x + width - 8}" y2="{at:.0f}" stroke="#eeeeee"/>')
        label = _number(most * share, panel.unit)
        made.append(f'<text x="{left - 6}" y="{at + 4:.0f}" text-anchor="end" fill="#868e96">{label}</text>')
    for number, points in enumerate(lines.values()):
        path = " ".join(
            f"{left + (at - begin) / (end - begin) * (x + width - 8 - left):.1f},{bottom - value / most * (bottom - top):.1f}"
            for at, value in points
            if math.isfinite(value)
        )
        colour = COLOURS[number % len(COLOURS)]
        made.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for bound, shade in panel.thresholds:
        if 0 < bound <= most:
            at = bottom - bound / most * (bottom - top)
            dashed = f'stroke="{SHADES[shade]}" stroke-dasharray="6 4"'
            made.append(f'<line x1="{left}" y1="{at:.0f}" x2="{x + width - 8}" y2="{at:.0f}" {dashed}/>')
    legend, at = [], left
    # Where there is no room for all of them, those that say something come first.
    told = sorted(enumerate(lines), key=lambda each: not any(value for _, value in lines[each[1]]))
    for number, name in told:
        if at + 8 + 6 * len(name) > x + width:
            break
        colour = COLOURS[number % len(COLOURS)]
        legend.append(f'<rect x="{at}" y="{y + height - 17}" width="10" height="3" fill="{colour}"/>')
        legend.append(f'<text x="{at + 14}" y="{y + height - 12}">{escape(name)}</text>')
        at += 26 + 6 * len(name)
    return made + legend


def _number(value: float, unit: str) -> str:
    match unit:
        case "percentunit":
            return f"{value:.1%}"
        case "s" if value < 1:
            return f"{value * 1000:.3g} ms"
        case "s":
            return f"{value:.3g} s"
        case "h":
            return f"{value * 60:.2g} min" if value < 1 else f"{value:.3g} h"
        case "Bps":
            return f"{value / 1024:.3g} KiB/s"
        case _:
            return f"{value:.3g}"
