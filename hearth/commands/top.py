"""`hearth top`: every LLMService, live. Reads what its status says, in a cluster and of a `hearth up` alike.

A terminal that is narrow is shown fewer columns, one that is low fewer rows: those that are not well first. An API
server that goes away, or does not answer, is waited for, and what was seen last is shown with the time since.
"""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hearth.api.key import ServiceKey
from hearth.api.reasons import troubles
from hearth.commands.console import visible
from hearth.kube.client import KubeClient
from hearth.kube.errors import KubeError
from hearth.kube.kinds import LLMSERVICE
from hearth.kube.objects import KubeObject, conditions_of, mapping, name_of, namespace_of, number, text

REFRESH_SECONDS = 1.0
SILENT_SECONDS = 3.0
"""After which an answer that has not come is said."""
_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 30
_STYLE = {"Ready": "green", "Loading": "yellow", "ScaledToZero": "dim", "Degraded": "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """One LLMService. `queue_depth` is None where nobody said; `eta` in seconds; `reason` says why it is not Ready
    until somebody acts, None where it is well."""

    namespace: str
    name: str
    phase: str
    replicas: int
    ready: int
    minimum: int
    maximum: int
    queue_depth: int | None
    cold_start: str | None
    eta: int | None
    reason: str | None = None

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


async def rows(kube: KubeClient, namespace: str | None) -> list[Row]:
    """Every LLMService as it is now, of one namespace or of all. Raises KubeError."""
    items = (await kube.list_objects(LLMSERVICE.within(namespace) if namespace else LLMSERVICE.everywhere)).items
    return sorted((row(item) for item in items), key=lambda row: (row.namespace, row.name))


def row(item: KubeObject) -> Row:
    """Of an LLMService as the API server has it."""
    status, scaling = mapping(item, "status"), mapping(item, "spec", "scaling")
    start = mapping(status, "coldStart")
    return Row(
        namespace_of(item),
        name_of(item),
        text(status, "phase") or "Pending",
        number(status, "replicas"),
        number(status, "readyReplicas"),
        number(scaling, "min"),
        number(scaling, "max", default=1),
        number(status, "queueDepth") if "queueDepth" in status else None,
        text(start, "phase") or None,
        number(start, "eta") if "eta" in start else None,
        _reason(item),
    )


def _reason(item: KubeObject) -> str | None:
    """The worst of what its conditions say, as `hearth status` and doctor have it."""
    return next((reason for reason, _ in troubles(conditions_of(item))), None)


def sparkline(values: "list[int] | deque[int]") -> str:
    """Values as bars, the highest as the fullest."""
    most = max(values, default=0)
    return "".join(_BARS[min(len(_BARS) - 1, value * len(_BARS) // (most + 1))] for value in values)


_ALL = ("NAMESPACE", "NAME", "PHASE", "READY", "MIN-MAX", "QUEUE", "", "WHY")
_SOME = ("NAMESPACE", "NAME", "PHASE", "READY", "QUEUE", "WHY")
_FEW = ("NAME", "PHASE", "READY", "QUEUE")
_RIGHT = ("READY", "MIN-MAX", "QUEUE")


def _columns(width: int) -> tuple[str, ...]:
    if width >= 100:
        return _ALL
    return _SOME if width >= 70 else _FEW


def table(found: list[Row], history: dict[ServiceKey, "deque[int]"], width: int) -> Table:
    """The rows, with what the queues were while we looked, for a terminal of this width."""
    columns = _columns(width)
    made = Table(box=None, header_style="bold")
    for column in columns:
        # What does not fit goes on in the next line: a name that is cut is none.
        made.add_column(column, justify="right" if column in _RIGHT else "left", overflow="fold")
    for row in found:
        cells: dict[str, Text | str] = {
            "NAMESPACE": row.namespace,
            "NAME": row.name if "NAMESPACE" in columns else f"{row.namespace}/{row.name}",
            "PHASE": Text(visible(row.phase), _STYLE.get(row.phase, "")),
            "READY": f"{row.ready}/{row.replicas}",
            "MIN-MAX": f"{row.minimum}-{row.maximum}",
            "QUEUE": "" if row.queue_depth is None else str(row.queue_depth),
            "": sparkline(history[ServiceKey(row.namespace, row.name)]),
            "WHY": _why(row),
        }
        made.add_row(*(cells[column] for column in columns))
    return made


def _why(row: Row) -> Text | str:
    """What is in the way, or how far a cold start is."""
    if row.reason is not None:
        return Text(visible(row.reason), "red")
    start = visible(row.cold_start or "")
    return start if row.eta is None else f"{start}, {row.eta} s to go"


def fitting(found: list[Row], lines: int) -> tuple[list[Row], str]:
    """The rows for so many lines, and what to say of the others. All, in their order, where they fit."""
    if len(found) <= lines:
        return found, ""
    shown = max(lines - 1, 0)  # a line says the rest
    first = sorted(found, key=lambda row: row.reason is None)
    left = first[shown:]
    bad = sum(row.reason is not None for row in left)
    return first[:shown], f"… and {len(left)} more, {bad} of them not well"


async def watch(console: Console, look: Callable[[], Awaitable[list[Row]]]) -> None:
    """Draw the table anew each second until cancelled; `look` is awaited for the rows. Raises KubeError where the first
    look fails; later ones are repeated."""
    history: dict[ServiceKey, deque[int]] = defaultdict(lambda: deque(maxlen=_HISTORY))
    found = await look()
    seen, away = time.monotonic(), ""
    looking: asyncio.Future[list[Row]] | None = None
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                silent = time.monotonic() - seen
                if not away and silent >= SILENT_SECONDS:
                    away = "the API server has not answered yet"
                for row in () if away else found:
                    history[ServiceKey(row.namespace, row.name)].append(row.queue_depth or 0)
                rows, more = fitting(found, console.height - (3 if away else 2))  # the header, and one for the cursor
                shown: list[RenderableType] = [table(rows, history, console.width)]
                if more:
                    shown.append(Text(more, "dim"))
                if away:
                    shown.append(Text(f"seen {silent:.0f} s ago; since then: {visible(away)}", "red"))
                live.update(Group(*shown), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)  # a display's rate
                looking = looking or asyncio.ensure_future(look())
                await asyncio.wait({looking}, timeout=REFRESH_SECONDS)
                if looking.done():
                    answer, looking = looking, None
                    try:
                        found = answer.result()
                    except KubeError as error:
                        away = str(error)
                    else:
                        seen, away = time.monotonic(), ""
    finally:
        if looking is not None:
            looking.cancel()
