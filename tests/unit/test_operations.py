"""Where roles listen."""

import errno
import socket
from typing import Any

import pytest

from hearth.operations import bind


def test_everywhere_is_both_families() -> None:
    with bind("[::]:0") as listening:
        port = listening.getsockname()[1]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), timeout=5):
                accepted, _ = listening.accept()
                accepted.close()


def test_one_address_is_that_one_alone() -> None:
    with bind("[::1]:0") as listening:
        assert listening.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    with bind("127.0.0.1:0") as listening:
        assert listening.family == socket.AF_INET


@pytest.mark.parametrize("refused", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_without_ipv6_everywhere_is_all_of_ipv4(monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    """A kernel that was started with ipv6.disable=1, or a network that has it switched off."""

    class NoIPv6(socket.socket):
        def __init__(self, family: int, *arguments: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(refused, "no IPv6 here")
            super().__init__(family, *arguments)

    monkeypatch.setattr("hearth.operations.socket.socket", NoIPv6)
    with bind("[::]:0") as listening:
        assert listening.getsockname()[0] == "0.0.0.0"
    with pytest.raises(OSError, match=r"cannot listen on \[::1\]:0"):
        bind("[::1]:0")


@pytest.mark.parametrize("address", ["[::]:x", "nowhere", "[::]:99999999", "256.0.0.1:0"])
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(OSError, match=r"cannot listen on .*" + address.replace("[", r"\[")):
        bind(address)


def test_a_port_in_use_is_named() -> None:
    with bind("[::]:0") as taken:
        address = f"[::]:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=rf"cannot listen on \[::\]:{taken.getsockname()[1]}"):
            bind(address)
