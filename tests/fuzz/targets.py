"""What is fed with bytes that nobody meant to send: the client's protocol, and the look into a body.

A target takes bytes, and raises where something is broken. The unit tests feed it with hypothesis and with the corpus,
`make fuzz` with atheris, which looks at what the bytes reach.
"""

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any, cast

from prometheus_client import CollectorRegistry
from uvicorn.server import ServerState

from hearth.activator.demand import DemandBoard
from hearth.activator.errors import ApiError
from hearth.activator.lane.door import Door
from hearth.activator.lane.inference import Inference
from hearth.activator.paths import PATHS
from hearth.activator.server import http_server
from hearth.http1.limits import Limits
from hearth.http1.message import Request
from tests.builders import llmservice_manifest

CORPUS = Path(__file__).parent / "corpus"


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.ended = False

    def write(self, data: Any) -> None:
        assert not self.closed, "written after it was closed"
        assert not self.ended, "written after its end"
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    abort = close


async def _settled() -> None:
    """Let what Starlette answers in tasks be answered."""
    for _ in range(50):
        await asyncio.sleep(0)


def heard(pieces: list[bytes]) -> tuple[bytes, bool]:
    """What a client that sends these pieces is told, and whether it is then cut off."""

    async def exchange() -> tuple[bytes, bool]:
        door = Door(DemandBoard(), CollectorRegistry(), Limits(body_bytes=500))
        door.directory.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai"))
        config = http_server(door, lambda: True, grace_seconds=1).config
        config.load()
        protocol = cast("Any", config.http_protocol_class)(config=config, server_state=ServerState(), app_state={})
        wire = Wire()
        protocol.connection_made(wire)
        for piece in pieces:
            if wire.closed or wire.ended:
                break
            protocol.data_received(piece)
            await _settled()
        protocol.connection_lost(None)
        door.close()
        return wire.written, wire.closed or wire.ended

    return asyncio.run(exchange())


class _NoMistake(logging.Handler):
    """The protocol logs what fails in here and goes on; a fuzzer must see it."""

    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage()) from (record.exc_info[1] if record.exc_info else None)


def protocol(data: bytes) -> None:
    """Requests as bytes, in pieces: the first two bytes say where they are cut."""
    cuts = sorted({cut % (len(data) + 1) for cut in data[:2]})
    data = data[2:]
    watching = _NoMistake(level=logging.ERROR)
    logger = logging.getLogger("hearth")
    logger.addHandler(watching)
    try:
        heard([data[a:b] for a, b in itertools.pairwise([0, *cuts, len(data)]) if a < b])
    finally:
        logger.removeHandler(watching)


_FORM = [(b"content-type", b"multipart/form-data; boundary=b")]


def words(data: bytes) -> None:
    """A body: JSON, a form, or neither. What was read of it is what it says after the model is renamed, too."""
    for headers in ([], _FORM):
        path = "/v1/audio/transcriptions" if headers else "/v1/chat/completions"
        plain = Request("POST", path, b"", list(headers))
        plain.body = data
        request = Inference(plain, path, "", PATHS[path])
        try:
            request.read_words()
            if request.model is None:
                continue
            stream = request.stream
            request.rename_model("renamed")
        except ApiError:
            continue  # refused: no JSON, maybe in a part that nobody had looked at
        request.read_words()
        assert (request.model, request.stream) == ("renamed", stream)


TARGETS = {target.__name__: target for target in (protocol, words)}
