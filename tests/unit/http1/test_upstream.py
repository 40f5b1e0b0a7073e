"""An engine's connection fed with bytes, without a socket: what an answer is does not depend on how it is cut."""

import asyncio
import itertools
import socket
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hearth.http1.chunked import chunks_data
from hearth.http1.headers import Headers
from hearth.http1.upstream import UpstreamConnection, UpstreamError
from tests.machines import far_enough


class Sink:
    """Keeps what it is given, and fails where it is given something in a wrong order."""

    def __init__(self) -> None:
        self.status = 0
        self.data = b""
        self.over: str | None = None
        self.whole_reads = 0

    def head(self, status: int, headers: Headers) -> None:
        assert self.status == 0
        assert self.over is None
        self.status = status

    def body(self, data: bytes) -> None:
        assert self.status
        assert self.over is None
        self.data += data

    def chunks(self, raw: bytes, size: int) -> None:
        assert self.status
        assert self.over is None
        data = chunks_data(raw)
        assert len(data) == size
        self.data += data
        self.whole_reads += 1

    def end(self) -> None:
        assert self.status
        assert self.over is None
        self.over = "end"

    def failed(self, error: UpstreamError) -> None:
        assert self.over is None
        self.over = "failed"


class Wire(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self._socket = socket.socket()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written.append(data)

    def writelines(self, list_of_data: Any) -> None:
        assert not self.closed
        self.written.extend(list_of_data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True
        self._socket.close()

    abort = close


def connected() -> tuple[UpstreamConnection, Wire]:
    connection, wire = UpstreamConnection(), Wire()
    connection.connection_made(wire)
    return connection, wire


ANSWERS = [
    (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", b""),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", b"hi"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-trailer: 1\r\n\r\n", b"a"),
]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(ANSWERS), min_size=1, max_size=4), st.lists(st.integers(0, 150), max_size=6))
def test_answers_one_after_the_other_in_any_pieces(answers: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    connection, wire = connected()
    for answer, body in answers:
        assert connection.open
        sink = Sink()
        connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", sink)
        bounds = [0, *sorted({cut % len(answer) for cut in cuts}), len(answer)]
        for start, end in itertools.pairwise(bounds):
            assert sink.over is None
            connection.data_received(answer[start:end])
        assert (sink.over, sink.data) == ("end", body)
    wire.close()


CHUNKS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=40).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
        st.binary(min_size=1, max_size=40).map(lambda data: b"%X;a=b\r\n%b\r\n" % (len(data), data)),
        st.just(b"5\r\n3\r\n\r\n\r\n"),  # what looks like a chunk inside of one
        st.just(b"c\r\n0\r\n\r\n5\r\nab\r\n\r\n"),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(CHUNKS, st.sets(st.integers(2, 8)), st.lists(st.integers(0, 600), max_size=8))
def test_chunks_in_any_pieces_are_what_the_parser_makes_of_them(
    chunks: list[bytes], joined: set[int], cuts: list[int]
) -> None:
    """The short way for whole chunks, mixed with the parser's, beside a parser that gets all of it at once."""
    whole = b"".join(chunks) + b"0\r\n\r\n"
    expected, given_ = Sink(), Sink()
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    one, wire_one = connected()
    one.send(b"GET / HTTP/1.1\r\n\r\n", b"", expected)
    one.data_received(head + whole)
    two, wire_two = connected()
    two.send(b"GET / HTTP/1.1\r\n\r\n", b"", given_)
    ends = list(itertools.accumulate(map(len, chunks), initial=0))
    apart = (end for number, end in enumerate(ends) if number not in joined)
    bounds = sorted({*apart, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    two.data_received(head + (chunks[0] if chunks else b""))
    for start, end in itertools.pairwise(bounds[bounds.index(ends[1]) :] if chunks else [0, len(whole)]):
        two.data_received(whole[start:end])
    assert (given_.over, given_.data) == (expected.over, expected.data) == ("end", expected.data)
    assert two.open
    wire_one.close()
    wire_two.close()


def test_whole_chunks_take_the_short_way() -> None:
    connection, wire = connected()
    sink = Sink()
    connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", sink)
    connection.data_received(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    for piece in (b"2\r\nde\r\n", b"1\r\nf\r\n2\r\n\r\n\r\n", b"2;x=y\r\nde\r\n", b"0x1\r\nh\r\n"):
        connection.data_received(piece)
    assert (sink.whole_reads, sink.data) == (2, b"abcdef\r\nde"), "what is written otherwise is the parser's"
    assert sink.over == "failed", "and 0x1 is no size"
    wire.close()


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.sampled_from(ANSWERS).map(lambda pair: pair[0])), st.integers(0, 200))
def test_an_answer_that_is_cut_or_is_none_ends_once(data: bytes, length: int) -> None:
    connection, wire = connected()
    sink = Sink()
    connection.send(b"GET / HTTP/1.1\r\n\r\n", b"", sink)
    connection.data_received(data[:length] or b"\0")
    if not wire.closed:
        wire.close()
        connection.connection_lost(None)
    assert sink.over in {"end", "failed"}
    assert not connection.open


class Life(RuleBasedStateMachine):
    """A connection through everything that can happen to it, beside what ought to be so."""

    def __init__(self) -> None:
        super().__init__()
        self.connection, self.wire = connected()
        self.sink: Sink | None = None
        self.left = b""
        self.dead = False

    def teardown(self) -> None:
        self.wire.close()

    @precondition(lambda self: self.sink is None and not self.dead)
    @rule(answer=st.sampled_from(ANSWERS), long=st.booleans())
    def ask(self, answer: tuple[bytes, bytes], long: bool) -> None:
        self.sink, self.left = Sink(), answer[0]
        self.connection.send(b"POST / HTTP/1.1\r\n\r\n", b"x" * (20_000 if long else 1), self.sink)

    @precondition(lambda self: self.sink is not None)
    @rule(count=st.integers(1, 60))
    def hear(self, count: int) -> None:
        piece, self.left = self.left[:count], self.left[count:]
        self.connection.data_received(piece)
        assert self.sink is not None
        assert self.sink.over == ("end" if not self.left else None)
        if not self.left:
            self.sink = None

    @precondition(lambda self: self.dead)
    @rule()
    def connect_anew(self) -> None:
        self.connection, self.wire = connected()
        self.dead = False

    @precondition(lambda self: not self.dead)
    @rule()
    def lose(self) -> None:
        self.wire.close()
        self.connection.connection_lost(ConnectionResetError())
        assert self.sink is None or self.sink.over == "failed"
        self.sink, self.dead = None, True

    @precondition(lambda self: not self.dead)
    @rule()
    def give_up(self) -> None:
        self.connection.close()
        assert self.wire.closed
        assert self.sink is None or self.sink.over is None, "who gives up is told nothing"
        self.sink, self.dead = None, True

    @precondition(lambda self: self.sink is None and not self.dead)
    @rule()
    def speak_unasked(self) -> None:
        self.connection.data_received(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        assert self.wire.closed
        self.dead = True

    @invariant()
    def may_be_used_when_idle_and_alive(self) -> None:
        assert self.connection.open == (self.sink is None and not self.dead)


TestLife = Life.TestCase
TestLife.settings = far_enough()
