"""The parts of a running `hearth up`: tasks that none may end before the whole does, and roles as processes.

A role tells where it serves by `hearth.process.announce`; a part that dies ends everything at once, in words.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hearth.emulators.causes import cause
from hearth.emulators.process import Processes
from hearth.process import ANNOUNCE

GRACE_SECONDS = 5.0
_TAIL_LINES = 15
_LONGEST_ADDRESS = 103  # sun_path without its NUL: 108 bytes on Linux, 104 on macOS

Start = Callable[[str, Coroutine[Any, Any, None]], None]
"""(name, work): run a part until the context is left."""


class PartDied(Exception):
    """A part ended by itself; the text says which, how, and where to read more."""


@contextlib.asynccontextmanager
async def parts() -> AsyncIterator[Start]:
    """Parts that end with the context, the last first. Where one ends by itself, the context is left at once.

    Raises PartDied, and what the body raises.
    """
    tasks: list[asyncio.Task[None]] = []
    failed: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:

            def begin(name: str, work: Coroutine[Any, Any, None]) -> None:
                task = group.create_task(_part(name, work), name=name)
                task.add_done_callback(lambda _: work.close())  # one that is cancelled before it began never runs
                tasks.append(task)

            try:
                yield begin
            finally:
                for task in reversed(tasks):
                    task.cancel()
    except BaseExceptionGroup as errors:
        failed = cause(errors)
    if failed is not None:
        raise failed  # out here, so that it keeps its own cause


async def _part(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except PartDied:
        raise
    except Exception as error:
        found = cause(error)
        raise PartDied(f"{name} failed: {type(found).__name__}: {found}") from error
    raise PartDied(f"{name} ended by itself")


@dataclass(slots=True)
class Role:
    """A role as a process of this program."""

    name: str
    arguments: list[str]
    folder: Path
    pid: int | None = None
    ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def log_file(self) -> Path:
        return self.folder / f"{self.name}.log"

    def address(self, port: str) -> str:
        """Where it serves this port. Raises KeyError before it was announced."""
        return f"127.0.0.1:{self.ports[port]}"

    async def run(self, announcements: Path) -> None:
        """Run it until cancelled, then stop it. Raises PartDied where it ends by itself."""
        # It is this program, so it has its environment.
        env = {**os.environ, ANNOUNCE: str(announcements)}
        with self.log_file.open("ab") as output:
            processes = await Processes.start([sys.executable, "-m", "hearth", self.name, *self.arguments], env, output)
        self.pid = processes.pid
        try:
            code = await processes.wait()
        finally:
            await _stop(processes)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise PartDied(f"{self.name} {how}; the end of {self.log_file}:\n{self.tail()}")

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log_file.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


async def _stop(processes: Processes) -> None:
    try:
        if processes.terminate():
            async with asyncio.timeout(GRACE_SECONDS):
                await processes.wait()
    except TimeoutError:
        pass  # it is killed, as a kubelet would
    finally:
        processes.kill()
        await processes.wait()


class Announcements(asyncio.DatagramProtocol):
    """What roles tell of themselves, heard on a Unix datagram socket."""

    def __init__(self, roles: Mapping[str, Role]) -> None:
        self._roles = roles
        self._heard = asyncio.Event()

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, path: Path, roles: Mapping[str, Role]) -> AsyncIterator["Announcements"]:
        """Hear them at this path until the context is left. Raises OSError, which says what to do.

        The path is what roles are told, and a Unix socket's address has room for some 100 bytes of it."""
        if len(os.fsencode(path)) > _LONGEST_ADDRESS:
            raise OSError(
                f"TMPDIR: found {str(path.parent.parent)!r}, whose path is too long for a Unix socket in it: "
                f"{len(os.fsencode(path))} bytes with {path.parent.name}/{path.name}, at most {_LONGEST_ADDRESS}; "
                "set TMPDIR to a shorter one, such as /tmp"
            )
        loop = asyncio.get_running_loop()
        # A datagram carries no name of its sender that matters: nobody else can write into the folder.
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.setblocking(False)
        try:
            listening.bind(str(path))
            transport, made = await loop.create_datagram_endpoint(lambda: cls(roles), sock=listening)
        except OSError:
            listening.close()
            raise
        try:
            yield made
        finally:
            transport.close()

    async def all(self) -> None:
        """Wait until every role has told its ports."""
        while not all(role.ports for role in self._roles.values()):
            self._heard.clear()
            await self._heard.wait()

    def datagram_received(self, data: bytes, addr: object) -> None:
        told = json.loads(data)
        self._roles[told["role"]].ports = told["ports"]
        self._heard.set()
