"""HTTP/1.1 over TLS: takes connections, shakes hands within a time, and hands them to the same code as plain ones.

uvicorn would take them too, but counts a connection when its handshake is over, and gives that a minute: who opens
sockets and says nothing would hold as many as there are descriptors. Here so many may be in their handshake at a time,
and when there are more the oldest goes.
"""

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hearth.logs import fields
from hearth.tls.certificates import Unusable
from hearth.tls.credentials import Held

log = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
_GOODBYE_SECONDS = 5.0  # for the other side's close_notify
_MOST_HANDSHAKES = 1000
_FLIGHTS = 8  # more than a handshake takes from each side
_AT_ONCE = 100  # connections taken in one turn of the event loop
_REST_SECONDS = 0.5  # where the process, or the machine, has no descriptor or memory left
_NOTHING_LEFT = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


class HttpsListener:
    """Takes connections of a listening socket until it is stopped; `connection` makes what serves each. `take` says
    with which certificate from now on; before the first, nobody is served."""

    def __init__(
        self,
        listening: socket.socket,
        connection: Callable[[], Any],
        *,
        handshake_seconds: float = HANDSHAKE_SECONDS,
        most: int = _MOST_HANDSHAKES,
    ) -> None:
        self._listening = listening
        self._connection = connection
        self._handshake_seconds = handshake_seconds
        self._most = most
        self._context: ssl.SSLContext | None = None
        self._shaking: dict[asyncio.Task[None], None] = {}  # the oldest first
        self._leaving: set[asyncio.Task[None]] = set()  # told to end, and not over yet
        self._stopped = False

    @property
    def port(self) -> int:
        """Where it listens."""
        number: int = self._listening.getsockname()[1]
        return number

    @property
    def shaking(self) -> int:
        """Connections in their handshake."""
        return len(self._shaking)

    def take(self, held: Held) -> None:
        """Use this certificate for the handshakes that begin from now on. Raises Unusable."""
        first = self._context is None
        self._context = https_context(held)
        if first and not self._stopped:
            self._listening.setblocking(False)
            self._listen()

    async def stop(self) -> None:
        """Take no more, and end the handshakes; connections that are made stay."""
        if self._stopped:
            return
        self._stopped = True
        if self._context is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
        self._listening.close()
        for task in self._shaking:
            task.cancel()
        await asyncio.gather(*self._shaking, *self._leaving, return_exceptions=True)

    def _listen(self) -> None:
        if not self._stopped:
            asyncio.get_running_loop().add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            try:
                taken, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _NOTHING_LEFT:
                    continue  # of a connection that is gone already
                log.warning("no connection can be taken", extra=fields(reason=error.strerror))
                loop.remove_reader(self._listening)
                loop.call_later(_REST_SECONDS, self._listen)
                return
            if len(self._shaking) >= self._most:
                # It counts no more: a task is over only turns after it was told so, and hundreds come in one turn.
                oldest = next(iter(self._shaking))
                del self._shaking[oldest]
                self._leaving.add(oldest)
                oldest.cancel()
            taken.setblocking(False)
            task = loop.create_task(self._shake_hands(taken))
            self._shaking[task] = None
            task.add_done_callback(partial(self._over, taken))

    def _over(self, taken: socket.socket, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # maybe before its first step
            taken.close()
        self._shaking.pop(task, None)
        self._leaving.discard(task)

    async def _shake_hands(self, taken: socket.socket) -> None:
        assert self._context is not None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection,
                taken,
                ssl=self._context,
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
        except OSError as error:  # TLS' own errors and deadlines are among them
            log.debug("no handshake", extra=fields(reason=str(error) or type(error).__name__))
            taken.close()


def https_context(held: Held) -> ssl.SSLContext:
    """What clients are served with. Raises Unusable where OpenSSL takes less than `hearth.tls.certificates` does, or
    shakes no hands with it: it loads certificates that no client can use."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        with _file(held.pair.certificate) as certificate, _file(held.pair.key) as key:
            context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise Unusable(f"OpenSSL refuses it: {error}") from error
    _shake_hands_alone(context)
    return context


def _shake_hands_alone(context: ssl.SSLContext) -> None:
    """A handshake in memory with a client who trusts anybody. Raises Unusable."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [context.wrap_bio(there, back, server_side=True), anybody.wrap_bio(back, there)]
    for _ in range(2 * _FLIGHTS):
        side = sides.pop()
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            sides.insert(0, side)
        except ssl.SSLError as error:
            raise Unusable(f"no client can shake hands with it: {error.reason}") from error
        if not sides:
            return
    raise Unusable("no client can shake hands with it")


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path for what takes nothing else: in memory alone, where the system has such files."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("hearth")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile() as file:  # for its owner alone
        file.write(content)
        file.flush()
        yield file.name
