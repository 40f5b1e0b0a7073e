"""What `hearth up` shows: how to talk to it, then each LLMService as it is.

Live on a terminal, plain lines elsewhere.
"""

import asyncio
import contextlib
import logging

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hearth.local.up import LocalHearth, ServiceView, UpConfig, local_hearth
from hearth.logs import configure
from hearth.process import run_until, stop_signal

_REFRESH_SECONDS = 0.25
_PHASE_STYLE = {"Ready": "green", "Loading": "yellow", "ScaledToZero": "dim", "Degraded": "red"}


async def show(config: UpConfig) -> bool:
    """Run until Ctrl-C or SIGTERM, showing what happens."""
    console = Console()
    # A terminal that can't move its cursor gets lines, as a file does.
    live = console.is_terminal and not console.is_dumb_terminal
    configure("text", "WARNING" if live else "INFO")
    logging.getLogger("hearth.scaler.listener").setLevel(logging.WARNING)
    stop = stop_signal()
    console.print("Starting activator, scaler and controller …")
    async with local_hearth(config) as hearth:
        console.print(welcome(hearth), highlight=False, soft_wrap=True)
        await run_until(stop, _live(hearth, console) if live else _lines(hearth, console))
        console.print("Stopping …")
    return True


def welcome(hearth: LocalHearth) -> str:
    """Where the endpoint is, a curl line to paste, and a Python snippet."""
    model = hearth.config.services[0].metadata.name
    base = f"{hearth.url}/v1"
    body = f'{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'
    metrics = "  ".join(f"http://{role.address('operations')}/metrics" for role in hearth.roles.values())
    return escape(
        f"""
OpenAI endpoint: {base}   (logs: {hearth.config.folder})

  curl -N {base}/chat/completions -H 'Content-Type: application/json' \\
    -d '{body}'

  from openai import OpenAI
  client = OpenAI(base_url="{base}", api_key="none")
  for chunk in client.chat.completions.create(
      model="{model}", messages=[{{"role": "user", "content": "Hello"}}], stream=True):
      print(chunk.choices[0].delta.content or "", end="", flush=True)

Metrics: {metrics}
Beside it, in another terminal: hearth top --kubeconfig {hearth.kubeconfig}

Ctrl-C stops it.
"""
    )


def describe(view: ServiceView) -> str:
    """One LLMService in one plain line."""
    line = (
        f"{view.namespace}/{view.name}  {view.phase}  replicas {view.ready}/{view.wanted}  "
        f"waiting {view.waiting}  in flight {view.in_flight}"
    )
    if view.cold_start:
        line += f"  cold start: {view.cold_start}"
    return line


async def _lines(hearth: LocalHearth, console: Console) -> None:
    """A line for each change."""
    shown: dict[tuple[str, str], str] = {}
    while True:
        hearth.changed.clear()
        for view in hearth.view():
            line = describe(view)
            if shown.get((view.namespace, view.name)) != line:
                shown[view.namespace, view.name] = line
                console.print(line, markup=False, highlight=False, soft_wrap=True)
        with contextlib.suppress(TimeoutError):  # a display's rate: what the activator holds is no event of the store
            async with asyncio.timeout(_REFRESH_SECONDS):
                await hearth.changed.wait()


async def _live(hearth: LocalHearth, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_table(hearth.view()), refresh=True)
            await asyncio.sleep(_REFRESH_SECONDS)  # a display's rate


def _table(views: list[ServiceView]) -> Table:
    table = Table(box=None, header_style="bold")
    for column in ("NAMESPACE", "NAME", "PHASE", "REPLICAS", "WAITING", "IN FLIGHT", "COLD START"):
        table.add_column(column, justify="right" if column in ("REPLICAS", "WAITING", "IN FLIGHT") else "left")
    for view in views:
        table.add_row(
            view.namespace,
            view.name,
            Text(view.phase, _PHASE_STYLE.get(view.phase, "")),
            f"{view.ready}/{view.wanted}",
            str(view.waiting),
            str(view.in_flight),
            _cold_start(view),
        )
    return table


def _cold_start(view: ServiceView) -> Group | Text:
    if view.cold_start is None:
        return Text("")
    if view.remaining is None:
        return Text(f"{view.cold_start}, {view.elapsed:.0f} s")
    total = max(view.elapsed + view.remaining, 0.1)
    words = Text(f"{view.cold_start}, {view.elapsed:.0f} s of about {total:.0f} s")
    return Group(ProgressBar(total=total, completed=view.elapsed, width=30), words)
