"""`make bench-engine`: cold starts of a real engine, from a client's first byte to the engine's first byte, by phase.

llama.cpp's server with SmolLM2, as `make up ENGINE=llamacpp` has it: the real activator, scaler and controller, and the
emulators of hearth/local for the cluster. The cluster's parts (scheduler, kubelet, image) are not a cluster's here; the
engine's are its own. Writes its section of docs/performance.md.
"""

import asyncio
import os
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from rich.console import Console

from benchmarks.figures import Figure, percentile
from benchmarks.publish import publish
from benchmarks.report import with_section
from hearth.api.llmservice import LLMService
from hearth.api.manifest import load_llmservices, load_runtimes, parse_llmservice, set_fields
from hearth.emulators.kinds import KubeObject
from hearth.emulators.mounts import Volumes
from hearth.emulators.store import Event
from hearth.local.engines import EngineOptions
from hearth.local.up import LocalHearth, UpConfig, local_hearth
from hearth.logs import configure

COLD_STARTS = 20
FILE = Path("build/bench-engine.json")

# What a cold start consists of, and where each part ends.
PHASES = {
    "asked": "the client's first byte → the Deployment's replicas are 1",
    "made": "→ the engine's process runs; half a second of it stands for making a container",
    "loaded": "→ the engine's first byte reaches the client: it loads 98 MB, is found ready, reads the prompt",
}


@dataclass(slots=True)
class Marks:
    """When what happened first, in seconds of time.perf_counter()."""

    began: float = 0.0
    replicas: float = 0.0
    running: float = 0.0
    first_byte: float = 0.0

    def hear(self, event: Event) -> None:
        """What the API server tells of."""
        now, item = time.perf_counter(), event.object
        if event.resource == "deployments" and item["spec"].get("replicas"):
            self.replicas = self.replicas or now
        elif event.resource == "pods" and _runs(item):
            self.running = self.running or now

    @property
    def phases(self) -> dict[str, float]:
        """Seconds of each phase."""
        at = (self.began, self.replicas, self.running, self.first_byte)
        return dict(zip(PHASES, (after - before for before, after in pairwise(at)), strict=True))


async def measure(engine: Path) -> list[Figure]:
    """Seconds of each phase and of the whole, p50 and the longest, over `COLD_STARTS` cold starts; then one warm."""
    claims = {"smollm2-cache-cpu": str(engine / "models")}
    runtimes = load_runtimes(Path("runtimes"))
    seen: list[Marks] = []
    with tempfile.TemporaryDirectory() as folder:
        volumes = Volumes(Path(folder), Path(folder), claims, {"/app": str(engine)})
        options = EngineOptions("command", volumes=volumes)
        config = UpConfig([_service()], runtimes, Path(folder), "127.0.0.1", 0, options)
        async with local_hearth(config) as hearth, httpx.AsyncClient(trust_env=False, timeout=120) as client:
            for _ in range(COLD_STARTS):
                seen.append(await _cold(hearth, client))
                await hearth.until(lambda: not hearth.pods(("ai-prod", "smollm2")), 60)
            await _cold(hearth, client)
            warm = [(marks := await _asked(hearth, client)).first_byte - marks.began for _ in range(COLD_STARTS)]
    figures = []
    for phase in PHASES:
        figures += _figures(f"cold_{phase}", [marks.phases[phase] for marks in seen])
    figures += _figures("cold_first_byte", [marks.first_byte - marks.began for marks in seen])
    return [*figures, *_figures("warm_first_byte", warm)]


def section(figures: list[Figure], date: str, machine: str) -> str:
    """The section of docs/performance.md."""
    rows = "\n".join(f"| `{figure.name}` | {figure.value:.3f} {figure.unit} |" for figure in figures)
    phases = "\n".join(f"- `cold_{phase}`: {words}." for phase, words in PHASES.items())
    return _SECTION.format(date=date, machine=machine, rows=rows, phases=phases, count=COLD_STARTS)


_SECTION = """## A real engine, cold

Written by `make bench-engine` on {date}: {machine}. llama.cpp's server (b11434) with SmolLM2-135M-Instruct (Q4_1)
under the bundled runtime, behind the real roles, on the local emulators of the cluster; {count} cold starts one after
the other, the model in the page cache. What a cluster adds is a node, an image and its scheduler; what a larger model
adds is loading.

| figure | measured |
|---|---|
{rows}

{phases}
- `cold_first_byte`: all of it. `warm_first_byte`: the same request where the replica is ready.
"""


def _figures(name: str, samples: list[float]) -> list[Figure]:
    return [Figure(f"{name}_p50_s", median(samples), "s"), Figure(f"{name}_max_s", percentile(samples, 1.0), "s")]


async def _cold(hearth: LocalHearth, client: httpx.AsyncClient) -> Marks:
    marks = Marks()
    stop = hearth.store.listen(marks.hear)
    try:
        asked = await _asked(hearth, client)
    finally:
        stop()
    marks.began, marks.first_byte = asked.began, asked.first_byte
    return marks


async def _asked(hearth: LocalHearth, client: httpx.AsyncClient) -> Marks:
    """A streaming request, to its end."""
    marks = Marks(began=time.perf_counter())
    body: dict[str, Any] = {"model": "smollm2", "stream": True, "max_tokens": 8}
    body["messages"] = [{"role": "user", "content": "Hello"}]
    async with client.stream("POST", f"{hearth.url}/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: ") and '"hearth"' not in line:
                marks.first_byte = marks.first_byte or time.perf_counter()
    assert marks.first_byte, "no byte of the engine"
    return marks


def _runs(pod: KubeObject) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return any("running" in each.get("state", {}) for each in statuses)


def _service() -> LLMService:
    (service,) = load_llmservices(["examples/smollm2.yaml"])
    assignments = ["spec.runtime.argsOverride=[--offline]", "spec.scaling.scaleDownStabilization=1s"]
    return parse_llmservice(set_fields(service.to_manifest(), assignments))


def main() -> None:
    configure("text", "ERROR")
    console = Console()
    figures = asyncio.run(measure(Path(os.environ["HEARTH_LLAMACPP"])))
    publish(figures, FILE, console, lambda text, *made: with_section(text, section(figures, *made)))


if __name__ == "__main__":
    main()
