"""datapath: what the activator costs in front of every token, beside Go's ReverseProxy and nginx, in one run.

All on loopback, by turns, so that each sees the same machine; the CPU is the proxy process' own. The engine and the
load generator are Go programs (benchmarks/peers), so that they are not the bottleneck. Each process has a session of
its own, as the local pods of Hearth's roles have: the kernel shares busy cores between sessions first (sched(7),
autogroup), as it does between the pods of a node.
"""

import asyncio
import contextlib
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.services import llmservice, put_engine
from hearth.emulators.ports import free_ports
from hearth.local.up import LocalHearth, UpConfig, local_roles

PEERS = Path(__file__).parent / "peers"
BINARIES = Path("build/peers")
ROUNDS = 7
HELD, HELD_SECONDS = 15_000, 30
_KEPT_DESCRIPTORS = 400  # for probes, libraries and files, at each end

YARDSTICK, OURS = "ReverseProxy", "hearth"

NGINX = """
daemon off; master_process off; error_log /dev/null; pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 0;
  client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 4096; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engine; proxy_buffering off; proxy_request_buffering off;
      proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""

Load = dict[str, float]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A proxy that runs: its name in figures, its port, its process."""

    name: str
    port: int
    pid: int


async def measure() -> list[Figure]:
    """CPU per event and per request, throughput, latency, and what held requests cost. Raises CalledProcessError."""
    _build()
    figures: list[Figure] = []
    async with _contestants() as contestants:
        figures += await _streams(contestants, 200, 200)
        figures += await _streams(contestants, 2000, 500)
        figures += await _unary(contestants)
        figures += await _prompts(contestants)
        figures += await _slow(contestants)
    figures += await _held()
    return figures


def held_clients() -> int:
    """How many clients are held: 15,000, or as many as the machine's limit of descriptors lets an activator have, which
    keeps half of them for engines."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return min(HELD, (most - _KEPT_DESCRIPTORS) // 2)


def _build() -> None:
    if shutil.which("go") is None:
        raise RuntimeError("go: not found; the peers of the data path are built from benchmarks/peers")
    subprocess.run(["go", "build", "-o", f"{BINARIES.resolve()}/", "./..."], cwd=PEERS, check=True)


async def _streams(contestants: list[Contestant], streams: int, events: int) -> list[Figure]:
    """`streams` streams of 50 events a second each."""
    runs = await _by_turns(contestants, "stream", f"-streams={streams}", f"-events={events}", "-rate=50")
    return [
        *_figures(
            runs, f"stream{streams}_cpu_per_event", "cpu_per_event_us", "µs", "≤ 0.70" if streams == 200 else "≤ 0.75"
        ),
        *_figures(runs, f"stream{streams}_latency_p99", "latency_p99_ms", "ms", "≤ 1"),
    ]


async def _unary(contestants: list[Contestant]) -> list[Figure]:
    """1 KiB there, 1 KiB back, on 16 kept connections."""
    runs = await _by_turns(contestants, "unary", "-connections=16", "-requests=20000", "-bytes=1024")
    return [
        *_figures(runs, "unary_cpu_per_request", "cpu_per_request_us", "µs", "≤ 0.45"),
        *_figures(runs, "unary_rps", "requests_per_second", "/s", "≥ 1.2"),
    ]


async def _prompts(contestants: list[Contestant]) -> list[Figure]:
    """1 MiB there and back, on 16 connections: what stays afterwards is memory that grows."""
    runs = await _by_turns(contestants, "unary", "-connections=16", "-requests=1000", "-bytes=1048576")
    return [
        *_figures(runs, "prompts_1mib_cpu_per_request", "cpu_per_request_us", "µs", "≤ 1"),
        *_figures(runs, "prompts_1mib_rss_peak", "rss_peak_mib", "MiB", ""),
        # The first round fills the allocator's free lists; memory that grew would grow in the last one too.
        *(
            Figure(
                _label("prompts_1mib_rss_grown", name), loads[-1]["rss_kept_mib"], "MiB", goal="0 ± 4" * (name == OURS)
            )
            for name, loads in runs.items()
        ),
    ]


async def _slow(contestants: list[Contestant]) -> list[Figure]:
    """500 clients that read 1 KiB a second of engines that never pause, and 50 ordinary streams beside them."""
    figures: list[Figure] = []
    for contestant in contestants:
        url = f"-url=http://127.0.0.1:{contestant.port}/v1/chat/completions"
        load = await _load(
            "slow", url, f"-pid={contestant.pid}", "-slow=500", "-seconds=10", "-streams=50", "-events=250"
        )
        _none_lost(load, contestant, "slow")
        figures += [
            Figure(_label(name, contestant.name), load[key], unit, goal=goal if contestant.name == OURS else "")
            for name, key, unit, goal in (
                # Ours may keep a write buffer of 64 KiB and what one read took beyond it.
                ("slow_reader", "slow_kib", "KiB", "≤ 256"),
                ("streams_alone_latency_p99", "alone_p99_ms", "ms", ""),
                ("streams_beside_slow_latency_p99", "beside_p99_ms", "ms", ""),
            )
        ]
    return figures


async def _by_turns(contestants: list[Contestant], kind: str, *options: str) -> dict[str, list[Load]]:
    runs: dict[str, list[Load]] = {contestant.name: [] for contestant in contestants}
    for _ in range(ROUNDS):
        for contestant in contestants:
            url = f"http://127.0.0.1:{contestant.port}/v1/chat/completions"
            load = await _load(kind, f"-url={url}", f"-pid={contestant.pid}", *options)
            _none_lost(load, contestant, kind)
            runs[contestant.name].append(load)
    return runs


def _figures(runs: dict[str, list[Load]], name: str, key: str, unit: str, goal: str) -> Iterator[Figure]:
    """Medians of the rounds; Hearth's is the figure `name`, with its ratio to the yardstick's."""
    medians = {contestant: statistics.median(load[key] for load in loads) for contestant, loads in runs.items()}
    yardstick = medians[YARDSTICK]
    for contestant, value in medians.items():
        label = _label(name, contestant)
        ratio = value / yardstick if yardstick else None  # memory that the yardstick did not need at all
        yield Figure(label, value, unit, YARDSTICK if ratio is not None else None, ratio, goal * (contestant == OURS))


def _none_lost(load: Load, contestant: Contestant, kind: str) -> None:
    """Of ours. What a peer loses is said, and it stays a yardstick."""
    if load["lost"]:
        said = f"{contestant.name}: {load['lost']:.0f} lost in {kind}"
        if contestant.name == OURS:
            raise RuntimeError(said)
        print(said, file=sys.stderr)


def _label(name: str, contestant: str) -> str:
    return name if contestant == OURS else f"{name}_{contestant.lower()}"


async def _held() -> list[Figure]:
    """`held_clients` cold streaming requests on one activator; then five engines come up."""
    held = held_clients()
    service = llmservice("held", maxQueue=2 * held)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ports = free_ports(5)
        for port in ports:
            stack.enter_context(_process(str(BINARIES / "engine"), f"-listen=127.0.0.1:{port}"))
        async with local_roles(UpConfig([service], (), Path(folder), port=0)) as hearth:

            def come_up() -> None:
                for port in ports:
                    put_engine(hearth.store, service, port)

            pid = hearth.roles["activator"].pid
            load = await _load(
                *["held", f"-url={hearth.url}/v1/chat/completions", f"-pid={pid}", "-model=held"],
                *[f"-streams={held}", f"-seconds={HELD_SECONDS}"],
                on_ready=come_up,
            )
    return [
        Figure("held_kib", load["held_kib"], "KiB", goal="≤ 8"),
        Figure("heartbeat_us", load["heartbeat_us"], "µs", goal="≤ 12"),
        Figure("held_drain_seconds", load["drain_seconds"], "s"),
        Figure("held_lost", load["lost"], "", goal="0"),
    ]


@contextlib.asynccontextmanager
async def _contestants() -> AsyncIterator[list[Contestant]]:
    """The proxies, all in front of one engine."""
    engine, proxy, nginx = free_ports(3)
    service = llmservice("bench-0", maxQueue=100_000, concurrency=100_000)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        stack.enter_context(_process(str(BINARIES / "engine"), f"-listen=127.0.0.1:{engine}"))
        reverse = stack.enter_context(
            _process(str(BINARIES / "proxy"), f"-listen=127.0.0.1:{proxy}", f"-target=http://127.0.0.1:{engine}")
        )
        made = [Contestant(YARDSTICK, proxy, reverse.pid)]
        if binary := shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"):
            (folder / "nginx.conf").write_text(NGINX.format(folder=folder, engine=engine, port=nginx))
            made.append(
                Contestant("nginx", nginx, stack.enter_context(_process(binary, "-c", f"{folder}/nginx.conf")).pid)
            )
        async with local_roles(UpConfig([service], (), folder, port=0)) as hearth:
            put_engine(hearth.store, service, engine)
            await _answers(hearth)
            pid = hearth.roles["activator"].pid
            assert pid is not None
            yield [*made, Contestant(OURS, hearth.port, pid)]


async def _answers(hearth: LocalHearth) -> None:
    """Wait until the activator knows its engine: the first request is held until then."""
    url = f"-url={hearth.url}/v1/chat/completions"
    pid = hearth.roles["activator"].pid
    await _load("unary", url, f"-pid={pid}", "-connections=1", "-requests=1")


async def _load(kind: str, *options: str, on_ready: Callable[[], None] | None = None) -> Load:
    """One run of the load generator. Raises RuntimeError with what it said where it failed."""
    process = await asyncio.create_subprocess_exec(
        *(str(BINARIES / "load"), kind, *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    async for line in process.stderr:
        if line == b"ready\n" and on_ready is not None:
            on_ready()
        else:
            said += line.decode()
    answer = await process.stdout.read()
    if await process.wait() != 0:
        raise RuntimeError(f"load {kind}: {said}")
    if said:
        print(said, end="", file=sys.stderr)
    load: Load = json.loads(answer)
    return load


@contextlib.contextmanager
def _process(*command: str) -> "Iterator[subprocess.Popen[bytes]]":
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
