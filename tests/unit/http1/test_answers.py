"""An engine's connection, one rule at a time, and the pool that keeps idle ones: without a socket but to a closed port."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from hearth.http1.upstream import MAX_HEAD_BYTES, Pool, UpstreamConnection, UpstreamError
from tests.unit.http1.test_upstream import Sink, Wire

ASK = b"GET / HTTP/1.1\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"


WIRES: list[Wire] = []


@pytest.fixture(autouse=True)
def every_socket_is_closed() -> Iterator[None]:
    yield
    while WIRES:
        WIRES.pop().close()


def connected() -> tuple[UpstreamConnection, Wire]:
    connection, wire = UpstreamConnection(), Wire()
    WIRES.append(wire)
    connection.connection_made(wire)
    return connection, wire


class Told(Sink):
    """A sink that also keeps the head's fields and the error."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: Any = []
        self.bodies: list[bytes] = []
        self.error: UpstreamError | None = None

    def head(self, status: int, headers: Any) -> None:
        super().head(status, headers)
        self.headers = headers

    def body(self, data: bytes) -> None:
        super().body(data)
        self.bodies.append(data)

    def failed(self, error: UpstreamError) -> None:
        super().failed(error)
        self.error = error


class Flowing(Wire):
    def __init__(self) -> None:
        super().__init__()
        self.flow: list[str] = []

    def pause_reading(self) -> None:
        self.flow.append("pause")

    def resume_reading(self) -> None:
        self.flow.append("resume")


def asked(*, head_request: bool = False) -> tuple[UpstreamConnection, Wire, Told]:
    connection, wire = connected()
    sink = Told()
    connection.send(ASK, b"", sink, head_request=head_request)
    return connection, wire, sink


class TestRequest:
    @pytest.mark.parametrize(("size", "writes"), [(0, 1), (1, 1), (16 * 1024, 1), (16 * 1024 + 1, 2)])
    def test_a_long_body_is_not_copied_and_a_short_one_is_one_write(self, size: int, writes: int) -> None:
        connection, wire = connected()
        connection.send(ASK, b"x" * size, Told())
        assert len(wire.written) == writes
        assert b"".join(wire.written) == ASK + b"x" * size

    def test_the_kernel_reads_ahead_a_little_only(self) -> None:
        _, wire = connected()
        # Linux doubles what is asked for.
        assert wire._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 64 * 1024
        assert wire._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1

    def test_back_pressure_is_the_transports_while_there_is_one(self) -> None:
        connection = UpstreamConnection()
        connection.pause_reading()
        connection.resume_reading()
        wire = Flowing()
        connection.connection_made(wire)
        connection.pause_reading()
        connection.resume_reading()
        wire.close()
        connection.pause_reading()
        connection.resume_reading()
        assert wire.flow == ["pause", "resume"]


class TestAnswer:
    def test_what_comes_in_one_read_is_given_in_one_piece(self) -> None:
        connection, _, sink = asked()
        connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n")
        assert sink.bodies == [b"ab"]
        connection.data_received(b"0\r\n\r\n")
        assert (sink.over, sink.data, connection.open) == ("end", b"ab", True)

    def test_names_are_lower_case_and_trailers_are_no_fields(self) -> None:
        connection, _, sink = asked()
        connection.data_received(
            b"HTTP/1.1 200 OK\r\nX-A: B\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-late: 1\r\n\r\n"
        )
        assert sink.headers == [(b"x-a", b"B"), (b"transfer-encoding", b"chunked")]

    def test_hints_before_it_are_not_it(self) -> None:
        connection, _, sink = asked()
        connection.data_received(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        assert sink.status == 0
        connection.data_received(OK)
        assert (sink.status, sink.headers, sink.over) == (200, [(b"content-length", b"2")], "end")

    def test_head_has_no_body_whatever_it_says_and_ends_the_connection(self) -> None:
        connection, wire, sink = asked(head_request=True)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")
        assert (sink.over, sink.data) == ("end", b"")
        assert wire.closed
        assert not connection.open

    @pytest.mark.parametrize(
        "head",
        [
            b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
            b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nhi",
        ],
    )
    def test_who_says_that_it_closes_is_not_asked_again(self, head: bytes) -> None:
        connection, wire, sink = asked()
        connection.data_received(head)
        assert (sink.over, wire.closed, connection.open) == ("end", True, False)

    @pytest.mark.parametrize("behind", [OK, b"junk", b"\r\n\r\nHTTP/1.1 200 OK\r\n"])
    def test_nothing_behind_its_end_is_anybodys(self, behind: bytes) -> None:
        connection, _, sink = asked()
        connection.data_received(OK + behind)
        assert (sink.over, sink.data, sink.status) == ("end", b"hi", 200)
        assert not connection.open

    def test_one_without_a_length_ends_with_the_connection(self) -> None:
        connection, wire, sink = asked()
        connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nall")
        assert not sink.over
        wire.close()
        connection.connection_lost(None)
        assert (str(sink.over), sink.data) == ("end", b"all")

    @pytest.mark.parametrize(
        ("came", "how"),
        [
            (b"HTTP/1.1 200 OK\r\n\r\nall", ConnectionResetError("reset by peer")),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nall", None),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nall\r\n", None),
            (b"HTTP/1.1 200 OK\r\n", None),
            (b"", None),
        ],
    )
    def test_a_cut_is_a_failure(self, came: bytes, how: Exception | None) -> None:
        connection, wire, sink = asked()
        if came:
            connection.data_received(came)
        assert connection.received is bool(came)
        wire.close()
        connection.connection_lost(how)
        assert sink.error is not None
        assert (sink.over, sink.error.why) == ("failed", "closed")
        assert ("reset by peer" in str(sink.error)) is (how is not None)

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"SSH-2.0-OpenSSH\r\n", "not HTTP"),
            (b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "changes the protocol"),
            (b"HTTP/1.1 200 OK\r\na: " + b"x" * (MAX_HEAD_BYTES + 1), "fields are over 65536 bytes"),
        ],
    )
    def test_what_is_no_answer_is_broken(self, data: bytes, words: str) -> None:
        connection, wire, sink = asked()
        connection.data_received(data)
        assert sink.error is not None
        assert (sink.over, sink.error.why, wire.closed) == ("failed", "broken", True)
        assert words in str(sink.error)

    def test_the_bound_is_of_what_is_told_of_nothing_else(self) -> None:
        connection, _, sink = asked()
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n")
        for _ in range(30):
            connection.data_received(b"x" * 10_000)
        assert (sink.over, len(sink.data)) == ("end", 300_000)

    def test_an_endless_trailer_is_cut_off(self) -> None:
        connection, wire, sink = asked()
        connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n")
        for _ in range(20):
            if sink.over is None:
                connection.data_received(b"a: " + b"x" * 5_000 + b"\r\n")
        assert (sink.over, wire.closed) == ("failed", True)

    def test_it_is_known_whether_it_was_used_and_whether_anything_came(self) -> None:
        connection, _, _ = asked()
        assert (connection.used, connection.received) == (False, False)
        connection.data_received(OK)
        assert (connection.used, connection.received) == (True, True)
        connection.send(ASK, b"", Told())
        assert (connection.used, connection.received) == (True, False)

    def test_between_two_chunks_alone_the_short_way_is_taken(self) -> None:
        connection, _, sink = asked()
        connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n5")
        connection.data_received(b"\r\n1\r\na\r\r\n")
        assert sink.whole_reads == 0
        assert sink.data == b"abc1\r\na\r"


class TestPool:
    def idle(self) -> UpstreamConnection:
        connection, _, _ = asked()
        connection.data_received(OK)
        return connection

    def test_the_one_used_last_comes_first_and_each_once(self) -> None:
        pool = Pool()
        pool.welcome("a:1")
        first, second = self.idle(), self.idle()
        pool.release("a:1", first)
        pool.release("a:1", second)
        pool.welcome("a:1")
        assert [pool.idle("a:1"), pool.idle("a:1"), pool.idle("a:1")] == [second, first, None]
        assert pool.idle("b:1") is None

    def test_one_that_was_closed_meanwhile_is_passed_over(self) -> None:
        pool = Pool()
        pool.welcome("a:1")
        alive, dead = self.idle(), self.idle()
        pool.release("a:1", alive)
        pool.release("a:1", dead)
        dead.close()
        assert pool.idle("a:1") is alive

    def test_no_more_are_kept_than_may_be_nor_of_who_is_not_welcome(self) -> None:
        pool = Pool(max_idle=1)
        pool.welcome("a:1")
        kept, over, strange = self.idle(), self.idle(), self.idle()
        pool.release("a:1", kept)
        pool.release("a:1", over)
        pool.release("b:1", strange)
        assert (kept.open, over.open, strange.open) == (True, False, False)

    def test_a_server_that_is_gone_takes_its_connections_with_it(self) -> None:
        pool = Pool()
        for address in ("a:1", "b:1"):
            pool.welcome(address)
        one, other = self.idle(), self.idle()
        pool.release("a:1", one)
        pool.release("b:1", other)
        pool.forget("a:1")
        assert (one.open, other.open) == (False, True)
        late = self.idle()
        pool.release("a:1", late)
        assert not late.open, "what was under way when it went is not kept"
        pool.close()
        assert not other.open

    async def test_a_closed_port_is_not_reached(self) -> None:
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{held.getsockname()[1]}"
            with pytest.raises(UpstreamError, match=f"cannot connect to {address}: ") as raised:
                await Pool().open(address)
        assert raised.value.why == "unreached"

    @pytest.mark.parametrize(("number", "why"), [(errno.EMFILE, "exhausted"), (errno.ECONNREFUSED, "unreached")])
    async def test_what_this_process_lacks_is_not_the_servers_fault(
        self, number: int, why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(*_: Any) -> Any:
            raise OSError(number, "…")

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
        with pytest.raises(UpstreamError) as raised:
            await Pool().open("127.0.0.1:1")
        assert raised.value.why == why

    async def test_who_does_not_answer_in_time_is_not_reached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def hang(*_: Any) -> Any:
            await asyncio.Event().wait()

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang)
        with pytest.raises(UpstreamError, match="timed out"):
            await Pool(connect_timeout=0.01).open("127.0.0.1:1")

    async def test_an_address_of_ipv6_has_its_brackets_taken_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked_for: list[Any] = []

        async def note(_: Any, host: str, port: int) -> Any:
            asked_for.append((host, port))
            return None, UpstreamConnection()

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", note)
        await Pool().open("[fd00::1]:8000")
        assert asked_for == [("fd00::1", 8000)]
