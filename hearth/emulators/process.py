"""A container's processes: PID 1 in a session of its own, what runs beside it, and how all of them end.

A container has a PID namespace: signals are for PID 1 alone, PID 1 gets only those that it has a handler for, and when
it is gone the kernel kills the rest. Here that namespace is a process group; what leaves the group is not found again.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

# A process must not outlive us, however we end. Linux tells it so itself (prctl(2), PR_SET_PDEATHSIG), asked for
# between fork and exec in an interpreter of its own, since code in a forked child of a threaded parent may hang.
_LAUNCH = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 15)
try:
    os.execvp(sys.argv[1], sys.argv[1:])
except OSError as error:
    sys.exit(f'exec: "{sys.argv[1]}": {error.strerror}')
"""


class Processes:
    """The processes of one run of a container. `pid` is PID 1's number on this machine."""

    def __init__(self, first: asyncio.subprocess.Process) -> None:
        self._first = first
        self.pid = first.pid

    @classmethod
    async def start(cls, argv: list[str], env: Mapping[str, str], output: IO[bytes]) -> "Processes":
        """PID 1 with exactly this environment."""
        launched = [sys.executable, "-I", "-S", "-c", _LAUNCH, *argv]
        return cls(
            await asyncio.create_subprocess_exec(
                *launched,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # the terminal's Ctrl-C is for us; we stop our pods ourselves
            )
        )

    @property
    def alive(self) -> bool:
        return self._first.returncode is None

    async def wait(self) -> int:
        """PID 1's exit code."""
        return await self._first.wait()

    def terminate(self) -> bool:
        """SIGTERM to PID 1 alone. False: it has no handler for it, so that in a container the kernel drops it."""
        if not self.alive:
            return True
        if not _catches(self.pid, signal.SIGTERM):
            return False
        self._first.terminate()
        return True

    def kill(self) -> None:
        """SIGKILL to all of them."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


async def run_beside(argv: list[str], env: Mapping[str, str], output: IO[bytes] | int) -> asyncio.subprocess.Process:
    """A hook or an exec probe: a process of its own with the container's environment."""
    return await asyncio.create_subprocess_exec(
        *argv,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def end_beside(process: asyncio.subprocess.Process) -> None:
    """Kill it and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _catches(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; where a system does not tell, yes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    caught = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(caught >> (number - 1) & 1)
