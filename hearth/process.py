"""A role as a process: it works until it is told to stop."""

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

ANNOUNCE = "HEARTH_ANNOUNCE"
"""Environment variable: the path of a Unix datagram socket, on which who starts a role hears where it listens."""


def stop_signal() -> asyncio.Event:
    """An event that is set by what ends a process."""
    stop = asyncio.Event()
    when_stopped(stop.set)
    return stop


def when_stopped(call: Callable[[], object]) -> None:
    """Call this at SIGTERM, SIGINT or, where nobody ignores it as nohup(1) does, when the terminal is closed."""
    hangup = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    for number in (signal.SIGTERM, signal.SIGINT, *hangup):
        asyncio.get_running_loop().add_signal_handler(number, call)


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until `stop` is set; then it is cancelled and awaited. Raises what `work` raises."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (stopping, working):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


def announce(role: str, **ports: int) -> None:
    """Tell who started this process on which ports it serves, if that was asked for: one that was given port 0 can't be
    found otherwise. Raises OSError where nobody hears it."""
    if path := os.environ.get(ANNOUNCE):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(json.dumps({"role": role, "ports": ports}).encode(), path)


def collect_rarely() -> None:
    """Let the garbage collector look at what is new only, and not after each 700 objects: with thousands of held
    requests its walks cost a tenth of a heartbeat (measured). Call it when all that stays is loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of <malloc.h>
_KEPT_BYTES = 64 * 2**20
_OWN_MAPPING_BYTES = 4 * 2**20


def keep_freed_memory() -> bool:
    """Let the C library keep up to 64 MiB that were freed, rather than give them back and ask for them again: a page
    that the kernel hands out is cleared first, which is a quarter of what a prompt of 1 MiB costs (measured).

    mallopt(3) is glibc's; False under another C library, where nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES) and mallopt(_MMAP_THRESHOLD, _OWN_MAPPING_BYTES)
    )


def let_the_loop_in() -> None:
    """Let a thread that works (the one that writes metrics) give Python's lock to the event loop after half a
    millisecond, not after five: tokens wait for it."""
    sys.setswitchinterval(0.0005)


def descriptors() -> int:
    """File descriptors that this process may have, after its soft limit was raised to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**20
