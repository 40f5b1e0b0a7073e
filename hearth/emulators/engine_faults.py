"""How the simulated engine fails when it is told to: which faults there are, and those that are bytes of their own.

A fault holds for the process (--fault), for as long as a file names it (--fault-file), or for one request (the header
X-Sim-Fault). Those of a connection's bytes are written here, before the HTTP server sees the request; /health and
/metrics stay as they are unless a request's own header says otherwise, since a fault must not look like another.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

FAULTS = {
    "slow-start": "loading takes ten times as long",
    "crash-while-loading": "the process exits half-way through loading",
    "refuse": "it never listens: connections are refused",
    "crash-on-request": "the process exits when a request has arrived whole",
    "crash-on-prompt": "the process exits when a prompt has arrived whole that contains `kill the engine`",
    "crash-mid-stream": "the process exits in the middle of an answer",
    "error-500": "every request is answered with 500",
    "hang": "requests are taken and never answered",
    "reset": "a connection is reset when its request arrives",
    "redirect": "a redirect to the engine's own address",
    "two-responses": "two responses in one write",
    "body-to-head": "a body behind the answer to HEAD",
    "short-length": "more bytes than content-length says",
    "long-length": "fewer bytes than content-length says, then the end",
    "close-after-head": "a head and the end",
    "invalid-head": "what is no head of HTTP",
    "endless-head": "a head that never ends",
}
POISON = "kill the engine"

_JSON = b"content-type: application/json\r\n"
_STRAY = b'{"stray": "no request of yours"}'
_ENDLESS = b"x-filler: " + b"x" * 1000 + b"\r\n"
_BYTES: dict[str, Callable[[str], bytes]] = {
    "redirect": lambda own: (
        f"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{own}/elsewhere\r\ncontent-length: 0\r\n\r\n".encode()
    ),
    "two-responses": lambda own: _answer(b"{}", 2) + _answer(_STRAY, len(_STRAY)),
    "body-to-head": lambda own: _answer(_STRAY, len(_STRAY)),
    "short-length": lambda own: _answer(b"{}" + _STRAY, 2),
    "long-length": lambda own: _answer(b"{}", 1000),
    "close-after-head": lambda own: _answer(b"", 1000),
    "invalid-head": lambda own: b"HTTP/1.1 OK\x00 two hundred\r\nno field\r\n\r\n",
    "endless-head": lambda own: b"HTTP/1.1 200 OK\r\n" + _ENDLESS,
    "reset": lambda own: b"",
}
_CLOSING = ("long-length", "close-after-head", "invalid-head")
_PROBED = (b"/health", b"/metrics")


def _answer(body: bytes, length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + _JSON + f"content-length: {length}\r\n\r\n".encode() + body


def fault_protocol(active: Callable[[], frozenset[str]], own_address: str) -> type[asyncio.Protocol]:
    """A protocol class for uvicorn.Config(http=…): uvicorn's own, behind what writes the faults of bytes."""

    class FaultProtocol(asyncio.Protocol):
        """One connection. Requests that no fault is for reach uvicorn's protocol as they come."""

        def __init__(
            self,
            config: uvicorn.Config,
            server_state: Any,
            app_state: dict[str, Any],
            _loop: asyncio.AbstractEventLoop | None = None,
        ) -> None:
            self._inner = HttpToolsProtocol(config, server_state, app_state, _loop)
            self._head = b""
            self._body_left = 0
            self._unmeasured = False  # a body without a length: what follows it is not told apart
            self._dropping = False  # the body of a request that was answered already is for nobody
            self._endless = self._filling = False
            self._transport: asyncio.Transport | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._transport = cast("asyncio.Transport", transport)
            self._inner.connection_made(self._transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._filling = False
            self._inner.connection_lost(exc)

        def eof_received(self) -> None:
            self._inner.eof_received()

        def pause_writing(self) -> None:
            self._filling = False
            self._inner.pause_writing()

        def resume_writing(self) -> None:
            self._inner.resume_writing()
            if self._endless:
                self._fill()

        def data_received(self, data: bytes) -> None:
            assert self._transport is not None
            while data and not self._transport.is_closing():
                if self._unmeasured or self._body_left:
                    end = len(data) if self._unmeasured else self._body_left
                    piece, data = data[:end], data[end:]
                    self._body_left = max(0, self._body_left - len(piece))
                    if not self._dropping:
                        self._inner.data_received(piece)
                    continue
                self._head += data
                head, blank, data = self._head.partition(b"\r\n\r\n")
                if not blank:
                    return
                self._head = b""
                self._begin(head, blank)

        def _begin(self, head: bytes, blank: bytes) -> None:
            """A head is whole."""
            lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
            fields = {name.strip().lower(): value.strip() for name, _, value in lines}
            method, target, *_ = *head.split(b" ", 2), b""
            fault = self._fault(method, target, fields.get(b"x-sim-fault", b"").decode("latin-1"))
            length = fields.get(b"content-length", b"0")
            self._unmeasured = b"transfer-encoding" in fields or not length.isdigit()
            self._body_left = 0 if self._unmeasured else int(length)
            self._dropping = fault is not None
            if fault is None:
                self._inner.data_received(head + blank)
            else:
                self._fail(fault)

        @staticmethod
        def _fault(method: bytes, target: bytes, told: str) -> str | None:
            names = frozenset(told.split())
            if not target.startswith(_PROBED):
                names |= active()
            if method != b"HEAD":
                names -= {"body-to-head"}
            return next((name for name in _BYTES if name in names), None)

        def _fail(self, fault: str) -> None:
            assert self._transport is not None
            if fault == "reset":
                # A close with a linger of zero is a reset (socket(7)).
                own = self._transport.get_extra_info("socket")
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._transport.abort()
                return
            self._transport.write(_BYTES[fault](own_address))
            if fault in _CLOSING:
                self._transport.close()
            elif fault == "endless-head":
                self._endless = True
                asyncio.get_running_loop().call_soon(self._fill)

        def _fill(self) -> None:
            """Write until the client takes no more; resume_writing goes on."""
            assert self._transport is not None
            self._filling = True
            while self._filling and not self._transport.is_closing():
                self._transport.write(_ENDLESS * 16)

    return FaultProtocol
