"""What of a command is rewritten where pods share a machine: addresses that mean all, and a port that can't be had."""

import socket

import pytest

from hearth.emulators.container import Start
from hearth.emulators.listening import Place

ADDRESS = "127.7.8.9"


def told(*argv: str, port: int = 8000, **env: str) -> Start:
    return Place(ADDRESS, 8000, port).told(Start(list(argv), env))


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["--host", "0.0.0.0", "--port", "8000"], ["--host", ADDRESS, "--port", "8000"]),
        (["--host=0.0.0.0"], [f"--host={ADDRESS}"]),
        (["--host", "::"], ["--host", ADDRESS]),
        (["--host=::"], [f"--host={ADDRESS}"]),
        (["--bind", "[::]:8000"], ["--bind", f"{ADDRESS}:8000"]),
        (["sh", "-c", "exec serve --host 0.0.0.0 -p 8000"], ["sh", "-c", f"exec serve --host {ADDRESS} -p 8000"]),
    ],
)
def test_all_addresses_become_the_pods_and_the_port_stays(given: list[str], made: list[str]) -> None:
    assert told(*given).argv == made


@pytest.mark.parametrize(
    "words",
    [
        ["--host", "127.0.0.1"],
        ["--host", "localhost"],
        ["--allow", "0.0.0.0/0"],
        ["--version", "10.0.0.0.0"],
        ["--max-model-len", "8000"],
        ["--path", "/a::/b"],
        ["--chat-template", "{{ a::b }}"],
    ],
)
def test_nothing_else_is_touched(words: list[str]) -> None:
    assert told(*words, port=9001).argv == words


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["--port", "8000", "--max-model-len", "8000"], ["--port", "9001", "--max-model-len", "8000"]),
        (["--port=8000", "--max-model-len=8000"], ["--port=9001", "--max-model-len=8000"]),
        (["-p", "8000"], ["-p", "9001"]),
        (["--listen", "0.0.0.0:8000"], ["--listen", f"{ADDRESS}:9001"]),
        (["sh", "-c", "serve --port 8000 --len 8000"], ["sh", "-c", "serve --port 9001 --len 8000"]),
        (["--port", "80000"], ["--port", "80000"]),
        (["--metrics-port", "8000"], ["--metrics-port", "8000"]),
    ],
)
def test_a_port_that_cannot_be_had_moves_in_port_options_alone(given: list[str], made: list[str]) -> None:
    assert told(*given, port=9001).argv == made


def test_variables_follow_by_their_names() -> None:
    env = told(port=9001, HEARTH_ENGINE_PORT="8000", LLAMA_ARG_HOST="0.0.0.0", LIMIT="8000", PATH="/a::/b").env
    assert env == {"HEARTH_ENGINE_PORT": "9001", "LLAMA_ARG_HOST": ADDRESS, "LIMIT": "8000", "PATH": "/a::/b"}


def test_in_a_hook_loopback_is_the_pod() -> None:
    script = "curl http://127.0.0.1:8000/metrics http://localhost:8000 http://mylocalhost 127.0.0.10"
    assert Place(ADDRESS, 8000, 8000).enter(1, ["sh", "-c", script]) == [
        "sh",
        "-c",
        f"curl http://{ADDRESS}:8000/metrics http://{ADDRESS}:8000 http://mylocalhost 127.0.0.10",
    ]


def test_in_a_hook_a_port_that_moved_is_found_where_it_is() -> None:
    place = Place(ADDRESS, 8000, 9001)
    assert place.enter(1, ["curl", "http://localhost:8000/metrics", "127.0.0.1:80001", "8000"]) == [
        "curl",
        f"http://{ADDRESS}:9001/metrics",
        f"{ADDRESS}:80001",
        "8000",
    ]


class TestPlace:
    def test_where_a_system_has_one_address_pods_share_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hearth.emulators.listening.can_listen", lambda address, port: False)
        one, two = Place.found(8000), Place.found(8000)
        assert (one.address, two.address) == ("127.0.0.1", "127.0.0.1")
        assert 8000 not in (one.port, two.port)

    def test_two_pods_have_the_declared_port_at_addresses_of_their_own(self) -> None:
        one, two = Place.found(38211), Place.found(38211)
        assert one.address != two.address
        assert {one.port, two.port} == {38211}
        assert "127.0.0.1" not in (one.address, two.address)

    def test_a_port_that_somebody_has_on_all_addresses_moves(self) -> None:
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            port = taken.getsockname()[1]
            place = Place.found(port)
        assert place.port != port
        assert place.declared == port
