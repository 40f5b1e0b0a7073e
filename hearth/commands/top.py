"""`hearth top`: every LLMService, live. Reads what its status says, in a cluster and of a `hearth up` alike."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from hearth.api.key import ServiceKey
from hearth.kube.client import KubeClient
from hearth.kube.kinds import LLMSERVICE
from hearth.kube.objects import KubeObject, mapping, name_of, namespace_of, number, text

REFRESH_SECONDS = 1.0
_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 30
_STYLE = {"Ready": "green", "Loading": "yellow", "ScaledToZero": "dim", "Degraded": "red"}


@dataclass(frozen=True, slots=True)
class Row:
    """One LLMService. `queue_depth` is None where nobody said; `eta` in seconds."""

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
    )


def sparkline(values: "list[int] | deque[int]") -> str:
    """Values as bars, the highest as the fullest."""
    most = max(values, default=0)
    return "".join(_BARS[min(len(_BARS) - 1, value * len(_BARS) // (most + 1))] for value in values)


def table(found: list[Row], history: dict[ServiceKey, "deque[int]"]) -> Table:
    """The rows, with what the queues were while we looked."""
    made = Table(box=None, header_style="bold")
    for column in ("NAMESPACE", "NAME", "PHASE", "READY", "MIN-MAX", "QUEUE", "", "COLD START"):
        made.add_column(column, justify="right" if column in ("READY", "MIN-MAX", "QUEUE") else "left")
    for row in found:
        start = row.cold_start or ""
        if row.eta is not None:
            start += f", {row.eta} s to go"
        made.add_row(
            row.namespace,
            row.name,
            Text(row.phase, _STYLE.get(row.phase, "")),
            f"{row.ready}/{row.replicas}",
            f"{row.minimum}-{row.maximum}",
            "" if row.queue_depth is None else str(row.queue_depth),
            sparkline(history[ServiceKey(row.namespace, row.name)]),
            start,
        )
    return made


async def watch(console: Console, look: Callable[[], Any]) -> None:
    """Draw the table anew each second until cancelled; `look` is awaited for the rows."""
    history: dict[ServiceKey, deque[int]] = defaultdict(lambda: deque(maxlen=_HISTORY))
    with Live(console=console, auto_refresh=False) as live:
        while True:
            found = await look()
            for row in found:
                history[ServiceKey(row.namespace, row.name)].append(row.queue_depth or 0)
            live.update(table(found, history), refresh=True)
            await asyncio.sleep(REFRESH_SECONDS)  # a display's rate
