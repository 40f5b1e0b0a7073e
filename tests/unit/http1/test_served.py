"""A client's connection on a clock that the test moves, without a socket: turns, refusals, deadlines, back pressure."""

import asyncio
from typing import Any, cast

import pytest

from hearth.http1.connection import Connection
from hearth.http1.limits import Budget, Limits
from hearth.http1.message import Refusal, Request
from hearth.http1.response import TransportResponse
from tests.clock import Clock

GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


def post(body: bytes, *fields: bytes, length: int | None = None) -> bytes:
    head = [b"POST /p HTTP/1.1", b"host: x", *fields, b"content-length: %d" % (len(body) if length is None else length)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


def chunked(*parts: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return b"POST /p HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that keeps what is written and how it ended."""

    def __init__(self, **extra: Any) -> None:
        super().__init__()
        self._extra = {"peername": ("192.0.2.7", 4711), **extra}
        self.data = b""
        self.closing = self.aborted = self.half_closed = self.paused = False
        self.pauses = 0
        self.unread: int | None = None  # bytes after which writing is paused; None: asyncio's own

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._extra.get(name, default)

    def write(self, data: Any) -> None:
        assert not self.closing
        self.data += bytes(data)

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.unread = high

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


class Server:
    """The handler, and what uvicorn has of a server: keeps what is asked, answers where `answers`."""

    def __init__(self, budget: int = 10_000, *, answers: bool = True, **limits: Any) -> None:
        self.limits = Limits(**limits)
        self.budget = Budget(budget)
        self.connections: set[Any] = set()
        self.answers = answers
        self.asked: list[tuple[Request, TransportResponse]] = []
        self.bodies: list[bytes] = []
        self.refused: list[Refusal] = []
        self.failures: list[str] = []
        self.away = 0
        self.refusal: Refusal | None = None
        self.broken = self.leaving = False
        self.clock = Clock()

    def refused_by_head(self, request: Request) -> Refusal | None:
        return self.refusal

    def body_limit(self, request: Request) -> int:
        return self.limits.body_bytes if request.method != "OPTIONS" else self.limits.body_bytes // 10

    def take(self, request: Request, response: TransportResponse) -> None:
        if self.broken:
            raise OverflowError("a mistake of ours")
        self.asked.append((request, response))
        self.bodies.append(bytes(request.body))
        if self.answers:
            response.answer(200, [], b"ok")

    def refuse(self, request: Request, response: TransportResponse, refusal: Refusal) -> None:
        if self.broken:
            raise OverflowError("a mistake of ours")
        self.refused.append(refusal)
        response.answer(refusal.status, [], b"no")

    def failed(self, where: str, error: BaseException) -> None:
        self.failures.append(where)

    def turned_away(self) -> None:
        self.away += 1

    def connect(self, wire: Wire | None = None) -> "Peer":
        return Peer(self, wire or Wire())

    @property
    def paths(self) -> list[str]:
        return [request.path for request, _ in self.asked]


class Peer:
    def __init__(self, server: Server, wire: Wire) -> None:
        self.server, self.wire = server, wire
        self.connection = Connection(
            None,
            server,
            {},
            cast("asyncio.AbstractEventLoop", server.clock),
            handler=server,
            limits=server.limits,
            budget=server.budget,
        )
        self.connection.connection_made(wire)

    def send(self, *pieces: bytes) -> "Peer":
        for piece in pieces:
            self.connection.data_received(piece)
        return self

    def later(self, seconds: float = 0.0) -> "Peer":
        self.server.clock.advance(seconds)
        return self

    @property
    def statuses(self) -> list[int]:
        return [int(part[:3]) for part in self.wire.data.split(b"HTTP/1.1 ")[1:]]


class TestRequests:
    def test_what_was_asked_and_by_whom(self) -> None:
        server = Server()
        server.connect().send(b"POST /a%20b?q=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\ncontent-length: 2\r\n\r\nhi")
        ((request, _),) = server.asked
        assert (request.method, request.path, request.query) == ("POST", "/a%20b", b"q=1")
        assert (request.client, request.scheme, request.http11) == ("192.0.2.7", "http", True)
        assert request.headers == [(b"host", b"h"), (b"x-a", b"1"), (b"x-a", b"2"), (b"content-length", b"2")]
        assert server.bodies == [b"hi"]

    @pytest.mark.parametrize("peer", ["", "/run/client.sock", None, ()])
    def test_over_tls_and_over_a_path_in_the_file_system(self, peer: Any) -> None:
        server = Server()
        wire = Wire(peername=peer, sslcontext=object())
        server.connect(wire).send(GET)
        ((request, _),) = server.asked
        assert (request.client, request.scheme) == ("", "https")
        assert wire.unread == 64 * 1024, "as in plain text"

    @pytest.mark.parametrize(
        ("target", "path", "host"),
        [
            (b"http://other:8080/x", "/x", b"other:8080"),
            (b"http://other", "/", b"other"),
            (b"/x", "/x", b"x"),
        ],
    )
    def test_the_targets_host_counts(self, target: bytes, path: str, host: bytes) -> None:
        server = Server()
        server.connect().send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % target)
        ((request, _),) = server.asked
        assert (request.path, request.fields[b"host"]) == (path, host)
        assert sum(name == b"host" for name, _ in request.headers) == 1

    def test_options_of_the_server_as_a_whole(self) -> None:
        server = Server()
        server.connect().send(b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n")
        assert server.paths == ["*"]

    @pytest.mark.parametrize("cut", range(1, 60, 7))
    def test_a_body_in_any_pieces_and_framing_is_one(self, cut: int) -> None:
        for message in (post(b"0123456789" * 5), chunked(b"0123456789" * 3, b"0123456789" * 2)):
            server = Server()
            server.connect().send(*[message[at : at + cut] for at in range(0, len(message), cut)])
            assert server.bodies == [b"0123456789" * 5]

    def test_a_large_body_needs_no_parser_and_what_follows_it_is_the_next(self) -> None:
        server = Server(budget=2**20)
        body = b"x" * 100_000
        server.connect().send(post(body) + GET + GET).later()
        assert [len(found) for found in server.bodies] == [100_000, 0, 0]
        assert server.paths == ["/p", "/a", "/a"]

    def test_trailers_are_read_and_dropped(self) -> None:
        server = Server()
        peer = server.connect()
        peer.send(chunked(b"x")[:-2] + b"host: evil\r\nx-a: 1\r\n\r\n" + GET).later()
        assert server.paths == ["/p", "/a"]
        assert b"x-a" not in server.asked[0][0].fields

    def test_an_offered_upgrade_is_not_taken_and_its_body_is_the_requests(self) -> None:
        server = Server()
        peer = server.connect()
        peer.send(post(b"hello", b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c") + GET).later()
        assert server.bodies == [b"hello", b""]
        peer.send(chunked(b"again").replace(b"host: x", b"host: x\r\nconnection: upgrade\r\nupgrade: h2c")).later()
        assert server.bodies[2:] == [b"again"]


class TestTurns:
    def test_the_next_one_waits_until_the_one_before_is_over(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(GET + GET)
        assert len(server.asked) == 1
        assert not peer.wire.paused, "nothing else would tell that the client has left"
        server.asked[0][1].answer(200, [], b"one")
        assert len(server.asked) == 1, "never in the other's stack"
        peer.later()
        assert len(server.asked) == 2

    def test_many_that_are_answered_at_once_take_no_stack(self) -> None:
        server = Server(pipelined=5000)
        peer = server.connect()
        for _ in range(20):
            peer.send(GET * 50).later()
        assert len(server.asked) == 1000

    def test_more_than_may_be_sent_ahead_are_refused(self) -> None:
        server = Server(answers=False, pipelined=3)
        peer = server.connect().send(GET * 5)
        while len(server.asked) < 10 and (waiting := [r for _, r in server.asked if not r.complete]):
            waiting[0].answer(200, [], b"")
            peer.later()
        assert len(server.asked) in (3, 4)
        assert [refusal.status for refusal in server.refused] == [400]

    def test_after_the_last_one_nothing_is_heard(self) -> None:
        server = Server()
        peer = server.connect().send(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert b"connection: close\r\n" in peer.wire.data
        assert peer.wire.closing
        peer.send(GET).later()
        assert len(server.asked) == 1

    def test_a_mistake_of_ours_costs_one_connection(self) -> None:
        server = Server()
        server.broken = True
        peer = server.connect().send(GET + GET).later()
        assert peer.statuses == [500]
        assert server.failures == ["request"]
        assert peer.wire.closing

    def test_a_mistake_in_the_parsers_callbacks_is_told(self) -> None:
        server = Server()
        peer = server.connect()

        def fail(event: str) -> None:
            raise OverflowError("a mistake of ours")

        peer.connection._step = fail  # type: ignore[method-assign]
        peer.send(GET)
        assert (server.failures, peer.wire.closing, server.asked) == (["parser"], True, [])

    def test_a_mistake_while_refusing_is_told_too(self) -> None:
        server = Server()
        server.broken = True
        peer = server.connect().send(b"nonsense\r\n\r\n").later()
        assert (peer.statuses, server.failures) == ([500], ["request"])


class TestRefusals:
    @pytest.mark.parametrize(
        ("message", "status", "code"),
        [
            (b"nonsense\r\n\r\n", 400, "bad_request"),
            (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
            (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400, "bad_request"),
            (b"GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 400, "bad_request"),
            (b"TRACE / HTTP/1.1\r\nhost: x\r\n\r\n", 405, "method_not_allowed"),
            (b"CONNECT a:1 HTTP/1.1\r\nhost: x\r\n\r\n", 405, "method_not_allowed"),
            (post(b"", length=101), 413, "request_too_large"),
            (chunked(b"x" * 60, b"x" * 60), 413, "request_too_large"),
            (post(b"", length=11).replace(b"POST", b"OPTIONS"), 413, "request_too_large"),
            (chunked(b"x" * 6, b"x" * 6).replace(b"POST", b"OPTIONS"), 413, "request_too_large"),
            (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 10 + b"\r\n", 431, "head_too_large"),
            (b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % (b"x" * 2000), 431, "head_too_large"),
            (b"GET / HTTP/1.1\r\nhost: x\r\na: %b\r\n\r\n" % (b"x" * 2000), 431, "head_too_large"),
        ],
    )
    def test_it_is_said_once_and_nothing_behind_it_is_served(self, message: bytes, status: int, code: str) -> None:
        server = Server(body_bytes=100, head_bytes=1000, fields=9)
        peer = server.connect().send(message + GET, GET).later()
        ((said, word, _),) = server.refused
        assert (said, word, peer.statuses) == (status, code, [status])
        assert server.asked == []
        assert b"connection: close" in peer.wire.data

    @pytest.mark.parametrize("message", [post(b"x" * 90)[:-90], chunked(b"x" * 90), GET])
    def test_one_that_is_refused_by_its_head_is_so_before_its_body(self, message: bytes) -> None:
        server = Server(body_bytes=100)
        server.refusal = Refusal(401, "invalid_api_key", "who are you?")
        peer = server.connect().send(message, b"x" * 90, GET).later()
        assert (server.refused, peer.statuses) == ([server.refusal], [401])
        assert (server.asked, server.budget.used) == ([], 0)
        assert b"connection: close" in peer.wire.data

    def test_one_that_is_refused_by_its_head_has_its_turn(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(GET)
        server.refusal = Refusal(401, "invalid_api_key", "who are you?")
        peer.send(GET).later()
        assert peer.statuses == []
        server.asked[0][1].answer(200, [], b"ok")
        peer.later()
        assert peer.statuses == [200, 401]

    @pytest.mark.parametrize("message", [post(b"x" * 100), chunked(b"x" * 100), b"GET / HTTP/1.0\r\n\r\n"])
    def test_what_just_fits_is_served(self, message: bytes) -> None:
        server = Server(body_bytes=100, head_bytes=1000, fields=9)
        server.connect().send(message)
        assert (len(server.asked), server.refused) == (1, [])

    def test_over_everybodys_budget_it_is_not_kept(self) -> None:
        server = Server(budget=50, answers=False)
        server.connect().send(post(b"x" * 40))
        peer = server.connect().send(post(b"x" * 40))
        assert [(refusal.status, refusal.code) for refusal in server.refused] == [(503, "overloaded")]
        assert server.budget.used == 40, "what is refused takes no room"
        server.asked[0][1].answer(200, [], b"")
        assert server.budget.used == 0
        assert peer.wire.half_closed

    def test_the_refused_hears_the_answer_though_it_is_still_sending(self) -> None:
        server = Server(body_bytes=10, linger_seconds=3.0)
        peer = server.connect().send(post(b"x" * 11))
        assert (peer.wire.half_closed, peer.wire.closing) == (True, False)
        peer.send(b"x" * 1000).later(2.9)
        assert not peer.wire.closing
        peer.later(0.2)
        assert peer.wire.closing

    def test_who_sends_on_is_heard_longer_and_not_for_ever(self) -> None:
        """An upload over the limit that takes a while: it reads the 413 when it has sent all."""
        server = Server(body_bytes=10, linger_seconds=3.0)
        peer = server.connect().send(post(b"x" * 11))
        for _ in range(12):
            peer.send(b"x" * 1000).later(2.0)
            assert not peer.wire.closing
        for _ in range(6):
            peer.send(b"x" * 1000).later(2.0)
        assert peer.wire.closing

    def test_the_refused_who_does_not_read_is_cut_off(self) -> None:
        server = Server(body_bytes=10, linger_seconds=3.0, write_seconds=10.0)
        peer = server.connect().send(post(b"x" * 11)).later(3.1)
        assert (peer.wire.closing, peer.wire.aborted) == (True, False)
        peer.later(10.1)
        assert peer.wire.aborted

    def test_heads_that_wait_for_their_turn_are_in_the_budget(self) -> None:
        server = Server(budget=2_000, answers=False)
        long = b"GET /a HTTP/1.1\r\nhost: x\r\nx-long: " + b"y" * 900 + b"\r\n\r\n"
        peer = server.connect().send(GET + long + long + long)
        assert 1_800 < server.budget.used <= 2_000
        for _ in range(3):
            server.asked[-1][1].answer(200, [], b"")
            peer.later(0.001)
        assert peer.statuses == [200, 200, 200, 503]
        assert server.budget.used == 0

    def test_one_too_many_is_turned_away_at_the_door(self) -> None:
        server = Server(connections=1)
        server.connect()
        peer = server.connect().send(GET)
        assert (peer.statuses, server.away, server.asked) == ([503], 1, [])
        assert b"retry-after: 1\r\n" in peer.wire.data
        assert peer.wire.closing
        assert len(server.connections) == 1

    def test_a_place_is_free_when_its_connection_is_gone(self) -> None:
        server = Server(connections=1)
        server.connect().connection.connection_lost(None)
        assert server.connect().send(GET).statuses == [200]


class TestExpectation:
    WAITS = b"POST /p HTTP/%b\r\nhost: x\r\nexpect: 100-Continue\r\ncontent-length: 5\r\n\r\n"

    def test_who_waits_for_a_word_gets_it_once(self) -> None:
        server = Server()
        peer = server.connect().send(self.WAITS % b"1.1")
        assert peer.wire.data == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"he", b"llo")
        assert (peer.statuses, server.bodies) == ([100, 200], [b"hello"])

    def test_who_sends_at_once_needs_none_and_1_0_knows_none(self) -> None:
        for first, version in ((b"hello", b"1.1"), (b"", b"1.0")):
            peer = Server().connect().send(self.WAITS % version + first)
            assert b"100 Continue" not in peer.wire.data


class TestDeadlines:
    def test_a_silent_connection_is_closed_without_a_word(self) -> None:
        peer = Server(silent_seconds=75.0).connect().later(74.9)
        assert not peer.wire.closing
        peer.later(0.2)
        assert (peer.wire.closing, peer.wire.data) == (True, b"")

    def test_silence_counts_from_the_last_answer(self) -> None:
        peer = Server(silent_seconds=75.0, keep_alive_seconds=620.0).connect().later(70).send(GET).later(600)
        assert not peer.wire.closing
        assert peer.send(GET).later(621).wire.closing
        assert peer.statuses == [200, 200]

    def test_half_a_head_is_told_after_its_time(self) -> None:
        server = Server(head_seconds=30.0)
        peer = server.connect().send(GET[:20]).later(20).send(GET[20:22]).later(9.9)
        assert server.refused == []
        peer.later(0.2)
        assert [(refusal.status, "head" in refusal.text) for refusal in server.refused] == [(408, True)]

    def test_a_body_may_be_slow_but_not_slower_than_its_rate(self) -> None:
        server = Server(body_seconds=30.0, body_rate=10.0)
        peer = server.connect().send(post(b"x" * 100, length=1000)).later(20).send(b"x" * 300).later(29)
        assert server.refused == [], "300 bytes in 30 s are enough"
        peer.send(b"x" * 200).later(0.5)
        assert server.refused == []
        peer.later(0.7)
        assert [(refusal.status, "body" in refusal.text) for refusal in server.refused] == [(408, True)]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ((GET[:20], GET[20:]), (GET[:20], GET[20:])),
            ((post(b"ab", length=4), b"cd"), (post(b"ef", length=4), b"gh")),
        ],
        ids=["head", "body"],
    )
    def test_what_is_pipelined_has_a_time_of_its_own(self, first: tuple[bytes, ...], second: tuple[bytes, ...]) -> None:
        server = Server(answers=False, head_seconds=30.0, body_seconds=30.0)
        peer = server.connect().send(first[0]).send(first[1]).later(20).send(second[0]).later(20)
        assert server.refused == []
        peer.send(second[1])
        for number in range(2):
            server.asked[number][1].answer(200, [], b"")
            peer.later(0)
        assert peer.statuses == [200, 200]

    def test_an_answer_under_way_has_no_deadline(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(GET).later(10_000)
        assert not peer.wire.closing
        server.asked[0][1].answer(200, [], b"late")
        assert peer.statuses == [200]

    def test_who_does_not_read_is_cut_off(self) -> None:
        server = Server(answers=False, write_seconds=300.0)
        peer = server.connect().send(GET)
        peer.connection.pause_writing()
        peer.later(299.9)
        assert not peer.wire.aborted
        peer.later(0.2)
        assert peer.wire.aborted

    @pytest.mark.parametrize("begun", [b"", post(b"", length=10), GET[:-2]])
    def test_so_is_one_who_has_begun_another_request(self, begun: bytes) -> None:
        server = Server(answers=False, write_seconds=300.0, body_seconds=30.0, head_seconds=30.0)
        peer = server.connect().send(GET + begun)
        peer.connection.pause_writing()
        peer.later(299.9)
        assert not peer.wire.aborted
        peer.later(0.2)
        assert peer.wire.aborted

    def test_half_a_head_behind_a_request_has_a_heads_time(self) -> None:
        server = Server(answers=False, head_seconds=30.0, keep_alive_seconds=620.0)
        peer = server.connect().send(GET + GET[:10])
        server.asked[0][1].answer(200, [], b"")
        peer.later(30.1)
        assert peer.statuses == [200, 408]

    def test_who_reads_again_is_not(self) -> None:
        server = Server(answers=False, write_seconds=300.0)
        peer = server.connect().send(GET)
        peer.connection.pause_writing()
        peer.later(200)
        peer.connection.resume_writing()
        peer.later(200)
        assert not peer.wire.closing


class TestEnds:
    def test_a_client_that_goes_is_told_of_and_frees_everything(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(post(b"x" * 10) + post(b"y" * 10))
        gone: list[int] = []
        server.asked[0][1].attach(lambda: gone.append(1))
        assert 20 < server.budget.used < 20 + len(post(b"")), "and the head of the one that waits"
        peer.connection.connection_lost(None)
        assert (gone, server.budget.used, server.connections) == ([1], 0, set())
        peer.send(GET).later(1000)
        assert len(server.asked) == 1

    def test_a_mistake_while_it_is_told_is_told(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(GET)
        server.asked[0][1].attach(lambda: int("no"))
        peer.connection.connection_lost(None)
        assert server.failures == ["connection_lost"]

    def test_a_server_that_stops_lets_the_answer_under_way_end(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(GET)
        peer.connection.shutdown()
        assert not peer.wire.closing
        server.asked[0][1].answer(200, [], b"last")
        assert peer.wire.closing
        assert b"connection: close" in peer.wire.data

    def test_it_closes_who_is_silent_and_refuses_who_is_half(self) -> None:
        server = Server()
        silent, half = server.connect(), server.connect().send(post(b"x", length=9))
        for peer in (silent, half):
            peer.connection.shutdown()
        assert (silent.wire.closing, silent.wire.data) == (True, b"")
        assert half.statuses == [503]
        assert [refusal.code for refusal in server.refused] == ["stopping"]

    def test_back_pressure_reaches_the_answer(self) -> None:
        server = Server(answers=False)
        peer = server.connect().send(GET)
        flow: list[str] = []
        server.asked[0][1].set_flow(lambda: flow.append("pause"), lambda: flow.append("resume"))
        peer.connection.pause_writing()
        peer.connection.resume_writing()
        assert flow == ["pause", "resume"]

    def test_a_long_read_of_small_pieces_is_work_for_several_turns(self) -> None:
        server = Server(budget=2**20)
        peer = server.connect().send(chunked(*[b"xy"] * 15_000))
        assert server.asked == []
        assert peer.wire.paused
        peer.later()
        assert [len(body) for body in server.bodies] == [30_000]
        assert not peer.wire.paused
