import json
import socket
import subprocess
import sys
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


_KEPT = """
import sys
from hearth.process import keep_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident()
for _ in range(2):  # the C library's own threshold moves with the first that is freed
    held = [b"x" * 2**20 for _ in range(16)]
    del held
print(resident() - before)
"""


@pytest.mark.parametrize(("what", "kept"), [("keep", True), ("nothing", False)])
def test_memory_of_bodies_is_kept_when_they_are_freed(what: str, kept: bool) -> None:
    said = subprocess.run([sys.executable, "-c", _KEPT, what], capture_output=True, text=True, check=True).stdout
    assert (int(said) > 12 * 2**20) is kept
