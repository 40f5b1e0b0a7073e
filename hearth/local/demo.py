"""`hearth demo`: the main job without a person. It asks, watches, and says what it saw; true only if it saw it all."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from hearth.local.up import LocalHearth, UpConfig, local_hearth
from hearth.local.view import describe
from hearth.logs import configure
from hearth.process import when_stopped

# What is changed in the manifest so that the demo takes a minute: less silence before zero, more signs of life.
SETTINGS = (
    "spec.scaling.scaleDownStabilization=5s",
    "spec.endpoint.coldStart.heartbeatInterval=1s",
    "spec.endpoint.coldStart.whitespaceAfter=2s",
)
SIM_SETTINGS = ("start-seconds=1", "load-seconds=4", "tokens-per-second=40")
BURST = 23
_PATIENCE = 120.0  # seconds for any one thing to happen


class NotSeen(Exception):
    """Something that the demo promises did not happen; it is said already."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen. `console` gets a line for each."""

    console: Console

    def check(self, seen: bool, what: str) -> None:
        """Say it. Raises NotSeen where it was not seen: what comes after builds on it."""
        self.console.print(f"[{'green' if seen else 'red'}]{'✓' if seen else '✗'}[/] {what}", highlight=False)
        if not seen:
            raise NotSeen(what)


async def run_demo(config: UpConfig) -> bool:
    """Run the demo on the first LLMService. True where everything was observed."""
    console = Console(soft_wrap=True)
    configure("text", "ERROR")
    console.print(f"[dim]For this demo: {', '.join(SETTINGS)}; simulated engine: {', '.join(SIM_SETTINGS)}[/]")
    report = Report(console)
    demo = asyncio.current_task()
    assert demo is not None
    when_stopped(demo.cancel)
    async with local_hearth(config) as hearth, _narrated(hearth, console):
        try:
            await _observe(hearth, report)
        except NotSeen:
            console.print("[red]The demo ends here.[/]")
            return False
        except httpx.HTTPError as error:
            console.print(f"[red]✗[/] a request was not answered: {type(error).__name__}: {escape(str(error))}")
            return False
    console.print("[green]All of it was observed.[/]")
    return True


async def _observe(hearth: LocalHearth, report: Report) -> None:
    service = hearth.config.services[0]
    key, scaling = service.key, service.spec.scaling
    async with httpx.AsyncClient(base_url=hearth.url, timeout=_PATIENCE, trust_env=False) as client:
        report.check(not hearth.pods(key), f"{'/'.join(key)} has no replica while nobody asks")
        await _cold_streaming(client, key[1], report)
        report.check(len(hearth.pods(key)) == 1, "one request brought one replica (0 → 1)")
        await _silence(hearth, key, report)
        await _cold_whole(client, key[1], report)
        steps = await _burst(hearth, client, key, report)
        wanted = min(scaling.max, -(-BURST // scaling.target))
        report.check(
            steps[:2] == [1, wanted],
            f"a burst of {BURST} at target {scaling.target}: 1 → {wanted} in one step of the HPA "
            f"(replicas asked for: {' → '.join(map(str, steps))})",
        )
        await _silence(hearth, key, report)


async def _cold_streaming(client: httpx.AsyncClient, model: str, report: Report) -> None:
    loop = asyncio.get_running_loop()
    asked = loop.time()
    first_byte: float | None = None
    beats: list[str] = []
    words: list[str] = []
    done = False
    async with client.stream("POST", "/v1/chat/completions", json=_chat(model, stream=True)) as response:
        async for line in response.aiter_lines():
            if first_byte is None:
                first_byte = loop.time() - asked
            if line == "data: [DONE]":
                done = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                if "hearth" in chunk:
                    beats.append(line)
                    report.console.print(f"[dim]  {escape(json.dumps(chunk['hearth']))}[/]", highlight=False)
                words += [choice["delta"].get("content", "") for choice in chunk.get("choices", ())]
                if "error" in chunk:
                    report.console.print(f"[red]  {escape(line)}[/]", highlight=False)
    took = loop.time() - asked
    report.check(
        response.status_code == 200 and first_byte is not None and first_byte < 1.0, "it was held, not refused"
    )
    report.check(len(beats) >= 2, f"{len(beats)} heartbeats while the engine came up")
    report.check(done and bool("".join(words)), f"then the tokens were streamed, {took:.1f} s after the request")


async def _cold_whole(client: httpx.AsyncClient, model: str, report: Report) -> None:
    async with client.stream("POST", "/v1/chat/completions", json=_chat(model, stream=False)) as response:
        pieces = [piece async for piece in response.aiter_raw()]
    spaces = sum(1 for piece in pieces if not piece.strip())
    content = ""
    if "choices" in (answer := json.loads(b"".join(pieces))):
        content = answer["choices"][0]["message"]["content"]
    report.check(spaces >= 1, f"{spaces} bytes of white space kept a non-streaming cold request alive")
    report.check(bool(content), "and its answer is valid JSON all the same")


async def _burst(hearth: LocalHearth, client: httpx.AsyncClient, key: tuple[str, str], report: Report) -> list[int]:
    """Send the burst until the replicas have come up; the replica counts that were asked for on the way."""
    steps = [hearth.wanted(key)]

    async def watch() -> None:
        while True:
            await hearth.until(lambda: hearth.wanted(key) != steps[-1], _PATIENCE)
            steps.append(hearth.wanted(key))

    async def ask() -> int:
        # Answers long enough to last over the HPA's next look.
        body = _chat(key[1], stream=False, max_tokens=int(40 * (hearth.config.hpa_sync_seconds + 5)))
        response = await client.post("/v1/chat/completions", json=body)
        return response.status_code

    watching = asyncio.create_task(watch())
    codes = await asyncio.gather(*(ask() for _ in range(BURST)))
    watching.cancel()
    report.check(codes == [200] * BURST, f"all {BURST} requests of the burst were answered")
    return steps


async def _silence(hearth: LocalHearth, key: tuple[str, str], report: Report) -> None:
    loop = asyncio.get_running_loop()
    since = loop.time()
    try:
        await hearth.until(lambda: not hearth.pods(key), _PATIENCE)
        report.check(True, f"after silence every replica is gone ({loop.time() - since:.0f} s)")
    except TimeoutError:
        report.check(False, f"after silence every replica is gone (still {len(hearth.pods(key))})")


@asynccontextmanager
async def _narrated(hearth: LocalHearth, console: Console) -> AsyncIterator[None]:
    """Print a line whenever the service changes."""

    async def narrate() -> None:
        last = ""
        while True:
            hearth.changed.clear()
            line = describe(hearth.view()[0])
            if line != last:
                console.print(f"[dim]  {line}[/]", highlight=False)
                last = line
            await hearth.changed.wait()

    task = asyncio.create_task(narrate())
    try:
        yield
    finally:
        task.cancel()


def _chat(model: str, *, stream: bool, max_tokens: int = 24) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Where were you?"}]
    return {"model": model, "stream": stream, "max_tokens": max_tokens, "messages": messages}
