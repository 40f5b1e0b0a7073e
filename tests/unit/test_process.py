import json
import socket
from pathlib import Path

import pytest

from hearth.process import ANNOUNCE, announce


def test_a_role_tells_who_started_it_where_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ANNOUNCE, str(tmp_path / "announced"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "announced"))
        announce("scaler", grpc=1, operations=2)
        assert json.loads(listening.recv(1000)) == {"role": "scaler", "ports": {"grpc": 1, "operations": 2}}


def test_where_nobody_asked_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ANNOUNCE, raising=False)
    announce("scaler", grpc=1)


def test_where_nobody_hears_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ANNOUNCE, str(tmp_path / "nobody"))
    with pytest.raises(OSError, match="No such file"):
        announce("scaler", grpc=1)
