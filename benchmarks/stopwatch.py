"""An engine that is ready at once and answers with its stopwatch: seconds since its first 200 on /health."""

import asyncio
import sys
import time


class Stopwatch(asyncio.Protocol):
    """One connection; requests are small enough to come in one piece, or their end is awaited."""

    ready_at: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.monotonic()
        if data.startswith(b"GET /health "):
            if Stopwatch.ready_at is None:
                Stopwatch.ready_at = now
            self._answer(b"")
        elif data.startswith(b"POST "):
            ready_at = Stopwatch.ready_at
            self._answer(b"null" if ready_at is None else b"%.6f" % (now - ready_at))
        # Anything else is the rest of a body.

    def _answer(self, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    """Serve on HOST:PORT, the last argument, until killed."""
    host, _, port = sys.argv[-1].rpartition(":")
    server = await asyncio.get_running_loop().create_server(Stopwatch, host, int(port))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
