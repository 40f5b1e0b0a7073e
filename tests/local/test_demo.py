import os
import subprocess
import sys
from pathlib import Path

from tests.builders import SEED


def demo(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """`hearth demo` on the example, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "hearth", "demo", "-f", str(SEED), "--port", "0", *arguments],
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_demo_observes_all_that_it_promises(tmp_path: Path) -> None:
    """Cold streaming, zero, cold whole, a burst of 23 from 1 to 5 in one step, zero: it exits 0 only if it saw them."""
    made = demo(
        tmp_path,
        *["--hpa-sync-seconds", "3", "--sim", "load-seconds=1.5"],
        *["--set", "spec.endpoint.coldStart.whitespaceAfter=500ms"],
        *["--set", "spec.endpoint.coldStart.heartbeatInterval=300ms"],
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "✗" not in made.stdout
    assert "a burst of 23 at target 5: 1 → 5 in one step of the HPA" in made.stdout
    assert made.stdout.endswith("All of it was observed.\n")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_happen_is_said_and_fails(tmp_path: Path) -> None:
    """An engine that answers 500: heartbeats come, tokens do not."""
    made = demo(tmp_path, *["--hpa-sync-seconds", "1", "--sim", "load-seconds=0.5", "--sim", "fault=error-500"])
    assert made.returncode == 1, made.stdout + made.stderr
    assert "heartbeats while the engine came up" in made.stdout
    assert "✗ then the tokens were streamed" in made.stdout
    assert made.stdout.endswith("The demo ends here.\n")
