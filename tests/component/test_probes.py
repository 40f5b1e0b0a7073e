"""An httpGet probe against servers that say any bytes: what the kubelet takes for success.

The source of each: k8s.io/kubernetes, pkg/probe/http, and Go's net/http client under it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hearth.emulators.listening import Place
from hearth.emulators.probes import Prober, ProbeSpec

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Answers each path with bytes, then closes; remembers the heads of the requests."""

    def __init__(self, address: str, port: int, answers: dict[str, bytes]) -> None:
        self.address, self.port, self.answers = address, port, answers
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        writer.write(self.answers[head.split()[1]])
        writer.close()

    async def ask(self, path: str = "/", **handler: object) -> bool:
        spec = ProbeSpec({"httpGet": {"path": path, "port": "http", **handler}}, timeout=5)
        return await Prober(self.address, {"http": self.port}).ask(spec)


@contextlib.asynccontextmanager
async def serving(answers: dict[str, bytes]) -> AsyncIterator[Server]:
    place = Place.found(0)
    made = Server(place.address, 0, answers)
    server = await asyncio.start_server(made.serve, place.address, 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("answer", "success"),
    [
        (OK, True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", True),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n" + b"x" * 20_000, True),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\ncut", False),
        (b"", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
    ],
)
async def test_what_is_success(answer: bytes, success: bool) -> None:
    async with serving({"/": answer}) as server:
        assert await server.ask() is success


async def test_a_redirect_on_the_same_host_is_followed() -> None:
    async with serving({"/": redirect("/ready"), "/ready": OK}) as server:
        assert await server.ask()
        assert [head.split()[1] for head in server.heads] == ["/", "/ready"]


async def test_to_where_it_fails() -> None:
    async with serving({"/": redirect("/login"), "/login": b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"}) as server:
        assert not await server.ask()


async def test_to_another_port_of_the_same_host_it_is_followed_too() -> None:
    async with serving({"/": OK}) as first:
        answers: dict[str, bytes] = {}
        made = Server(first.address, 0, answers)
        second = await asyncio.start_server(made.serve, first.address, 0)
        made.port = second.sockets[0].getsockname()[1]
        answers["/"] = redirect(f"http://{first.address}:{first.port}/")
        async with second:
            assert await made.ask()
        assert len(first.heads) == 1


async def test_a_redirect_to_another_host_is_success_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with serving({"/": redirect("http://elsewhere.invalid/")}) as server:
        assert await server.ask()
        assert len(server.heads) == 1
    assert "redirected to another host" in caplog.text


@pytest.mark.parametrize("location", ["http://[", "http://{address}:99999999/", "ftp://{address}:1/"])
async def test_a_redirect_to_no_url_is_a_failure(location: str) -> None:
    """Go's client fails on what it can't parse or reach."""
    answers: dict[str, bytes] = {}
    async with serving(answers) as server:
        answers["/"] = redirect(location.format(address=server.address))
        assert await server.ask() is False


async def test_the_eleventh_redirect_is_one_too_many() -> None:
    async with serving({"/": redirect("/")}) as server:
        assert not await server.ask()
        assert len(server.heads) == 11


async def test_it_sends_what_the_kubelet_sends() -> None:
    async with serving({"/": OK, "/x?y=1": OK}) as server:
        await server.ask("x?y=1", httpHeaders=[{"name": "Host", "value": "model.example"}, {"name": "A", "value": "b"}])
        (head,) = server.heads
        assert head.startswith("GET /x?y=1 HTTP/1.1\r\n")
        for line in ("host: model.example", "user-agent: kube-probe/", "accept: */*", "a: b", "connection: close"):
            assert line in head
