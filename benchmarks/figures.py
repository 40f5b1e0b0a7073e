"""Figures: what a benchmark reports."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `ratio` is value / the value of `ratio_to`, measured in the same run."""

    name: str
    value: float
    unit: str
    ratio_to: str | None = None
    ratio: float | None = None
    goal: str = ""


def percentile(samples: Sequence[float], share: float) -> float:
    """The nearest-rank percentile: the smallest sample that `share` of all samples do not exceed."""
    return sorted(samples)[max(0, math.ceil(len(samples) * share) - 1)]


def percentiles(name: str, samples: Sequence[float], goal: str) -> list[Figure]:
    """p50 and p99 of samples in seconds, as milliseconds."""
    return [
        Figure(f"{name}_p50_ms", percentile(samples, 0.5) * 1000, "ms"),
        Figure(f"{name}_p99_ms", percentile(samples, 0.99) * 1000, "ms", goal=goal),
    ]


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print a table."""
    table = Table("FIGURE", "VALUE", "UNIT", "RATIO", "GOAL", box=None)
    for figure in figures:
        ratio = f"{figure.ratio:.2f} of {figure.ratio_to}" if figure.ratio is not None else ""
        table.add_row(figure.name, f"{figure.value:.2f}", figure.unit, ratio, figure.goal)
    console.print(table)


def write(figures: Sequence[Figure], file: Path) -> None:
    """Write them as a JSON list of {name, value, unit, ratio_to, ratio}."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [{key: value for key, value in asdict(figure).items() if key != "goal"} for figure in figures]
    file.write_text(json.dumps(rows, indent=2) + "\n")
