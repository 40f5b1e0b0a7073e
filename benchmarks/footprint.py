"""footprint: what `hearth --help` takes, and what idle roles keep in memory."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure, percentile
from benchmarks.services import llmservices
from hearth.local.up import UpConfig, local_roles

RUNS = 15


async def measure() -> list[Figure]:
    """help_s (median of `RUNS`), activator_rss_mib and scaler_rss_mib with one LLMService that nobody asks."""
    hearth = str(Path(sys.executable).with_name("hearth"))
    bare, helped = [], []
    for _ in range(RUNS):  # by turns, so that both see the same machine
        bare.append(_seconds(sys.executable, "-c", "pass"))
        helped.append(_seconds(hearth, "--help"))
    python, help_s = percentile(bare, 0.5), percentile(helped, 0.5)
    figures = [Figure("help_s", help_s, "s", "python -c pass", help_s / python, "≤ 0.3")]
    with tempfile.TemporaryDirectory() as folder:
        config = UpConfig(llmservices(1), (), Path(folder), port=0)
        async with local_roles(config) as running:
            figures += [
                Figure(f"{role}_rss_mib", rss_mib(running.roles[role].pid), "MiB", goal="≤ 100")
                for role in ("activator", "scaler")
            ]
    return figures


def _seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def rss_mib(pid: int | None) -> float:
    """VmRSS of a process, from proc(5)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (rss,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(rss.split()[1]) / 1024
