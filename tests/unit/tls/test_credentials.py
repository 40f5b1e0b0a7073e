"""A certificate's folder: what is taken of it, when, and what stays in use meanwhile."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from hearth.faults import counted
from hearth.local.mounted import swap
from hearth.metrics import RoleRegistry
from hearth.tls import credentials
from hearth.tls.certificates import Unusable
from hearth.tls.credentials import CertificateFolder, Held, tell
from tests.certificates import issue, mount, new_authority, self_signed

AUTHORITY = new_authority()


def pair_of(*names: str) -> dict[str, bytes]:
    made = issue(AUTHORITY, *(names or ("a",)))
    return {"tls.crt": made.certificate, "tls.key": made.key, "ca.crt": AUTHORITY.bundle}


def look(folder: CertificateFolder) -> Held:
    folder.look()
    assert folder.held is not None
    return folder.held


def test_what_is_there_is_taken_and_what_comes_later_by_the_swap_of_a_link(tmp_path: Path) -> None:
    first, second = pair_of(), pair_of()
    told: list[Held] = []
    folder = CertificateFolder(tmp_path / "tls", verifies=True, on_change=told.append)
    folder.look()
    assert folder.held is None
    assert "No such file" in folder.trouble
    swap(tmp_path / "tls", first)
    assert look(folder).pair.certificate == first["tls.crt"]
    assert folder.known.is_set()
    assert not folder.trouble
    swap(tmp_path / "tls", second)
    assert look(folder).pair.key == second["tls.key"]
    look(folder)
    assert [held.pair.certificate for held in told] == [first["tls.crt"], second["tls.crt"]]


HALF: dict[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "a key of another": lambda files: {**files, "tls.key": pair_of()["tls.key"]},
    "half a certificate": lambda files: {**files, "tls.crt": files["tls.crt"][:200]},
    "half a key": lambda files: {**files, "tls.key": files["tls.key"][:80]},
    "nothing in it": lambda files: dict.fromkeys(files, b""),
    "no key": lambda files: {name: content for name, content in files.items() if name != "tls.key"},
    "no authorities": lambda files: {**files, "ca.crt": b"\n"},
    "no file of authorities": lambda files: {name: content for name, content in files.items() if name != "ca.crt"},
}


@pytest.mark.parametrize("change", HALF)
def test_what_cannot_be_used_leaves_what_is_in_use(tmp_path: Path, change: str) -> None:
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    swap(tmp_path / "tls", pair_of())
    before = look(folder)
    swap(tmp_path / "tls", HALF[change](pair_of()))
    assert look(folder) is before
    assert folder.trouble
    after = pair_of()
    swap(tmp_path / "tls", after)
    assert look(folder).pair.certificate == after["tls.crt"]
    assert not folder.trouble


def test_one_that_is_over_is_not_taken(tmp_path: Path) -> None:
    then = datetime.now(UTC) - timedelta(days=2)
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    mount(tmp_path / "tls", issue(AUTHORITY, "a", now=then), AUTHORITY.bundle)
    folder.look()
    assert folder.held is None
    assert folder.trouble.startswith("the certificate ended on")


def test_one_that_begins_later_is_taken_when_it_begins_though_no_file_changes(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    clock = [now]
    folder = CertificateFolder(tmp_path / "tls", verifies=True, clock=lambda: clock[0])
    swap(tmp_path / "tls", pair_of())
    before = look(folder)
    later = issue(AUTHORITY, "a", now=now + timedelta(days=2))
    mount(tmp_path / "tls", later, AUTHORITY.bundle)
    for _ in range(2):
        assert look(folder) is before
        assert folder.trouble.startswith("the certificate is valid from ")
    clock[0] = now + timedelta(days=2)
    assert look(folder).pair == later
    assert folder.trouble == ""


@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA:2048"])
def test_what_grpc_can_use_is_taken(tmp_path: Path, kind: str) -> None:
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    mount(tmp_path / "tls", self_signed(tmp_path, kind), AUTHORITY.bundle)
    look(folder)
    assert folder.trouble == ""


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("SM2", "no private key: "),
        ("P-521", "gRPC can't use a key of secp521r1; expected "),
        ("P-224", "gRPC can't use a key of secp224r1"),
        ("brainpoolP256r1", "gRPC can't use a key of brainpoolP256r1"),
        ("ED25519", "gRPC can't use a key of Ed25519"),
        ("DSA:2048", "gRPC can't use a key of DSA"),
        ("RSA:1024", "gRPC can't use a key of RSA of 1024 bits"),
        ("RSA-PSS:2048", "gRPC can't use a key of RSA"),
    ],
)
def test_a_kind_of_key_that_nobody_shakes_hands_with_leaves_what_is_in_use(tmp_path: Path, kind: str, why: str) -> None:
    """As cert-manager makes them where somebody asks for them, and as a hardware vendor's tools do."""
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    swap(tmp_path / "tls", pair_of())
    before = look(folder)
    mount(tmp_path / "tls", self_signed(tmp_path, kind), AUTHORITY.bundle)
    assert look(folder) is before
    assert folder.trouble.startswith(why)


async def test_a_fault_of_our_own_ends_no_role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = asyncio.Event()

    def broken(held: Held) -> None:
        if looked.is_set():
            again.set()
        looked.set()
        raise RuntimeError("nobody thought of this")

    again = asyncio.Event()
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.01)
    folder = CertificateFolder(tmp_path, verifies=False, on_change=broken)
    swap(tmp_path, pair_of())
    before = counted()["timer"]
    running = asyncio.create_task(folder.run())
    await asyncio.wait_for(again.wait(), 10)
    assert not running.done()
    assert counted()["timer"] > before
    running.cancel()


def test_a_file_that_is_no_certificate_by_its_size_is_not_read_whole(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    swap(tmp_path / "tls", {**pair_of(), "ca.crt": AUTHORITY.bundle * 1000})
    folder.look()
    assert folder.trouble == "ca.crt is larger than 256 KiB"


def test_a_folder_that_goes_leaves_what_is_in_use(tmp_path: Path) -> None:
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    swap(tmp_path / "tls", pair_of())
    before = look(folder)
    shutil.rmtree(tmp_path / "tls")
    assert look(folder) is before
    assert folder.trouble


def test_plain_files_are_read_too_and_written_anew(tmp_path: Path) -> None:
    for name, content in pair_of().items():
        (tmp_path / name).write_bytes(content)
    folder = CertificateFolder(tmp_path, verifies=True)
    before = look(folder)
    after = pair_of("b")
    (tmp_path / "tls.crt").write_bytes(after["tls.crt"])
    assert look(folder) is before, "its key is another one still"
    (tmp_path / "tls.key").write_bytes(after["tls.key"])
    assert look(folder).pair.certificate == after["tls.crt"]


def test_who_can_use_it_has_a_say(tmp_path: Path) -> None:
    def refuse(held: Held) -> None:
        raise Unusable("too short a key")

    folder = CertificateFolder(tmp_path, verifies=False, on_change=refuse)
    swap(tmp_path, pair_of())
    folder.look()
    assert folder.held is None
    assert folder.trouble == "too short a key"


def test_one_that_ends_in_use_is_told(tmp_path: Path) -> None:
    clock = [datetime.now(UTC)]
    registry = RoleRegistry()
    folder = CertificateFolder(tmp_path / "tls", verifies=True, clock=lambda: clock[0])
    tell(registry, "scaler", {"scaler": folder})
    swap(tmp_path / "tls", pair_of())
    held = look(folder)
    unusable = 'hearth_certificate_unusable{certificate="scaler",role="scaler"}'
    assert f"{unusable} 0.0" in generate_latest(registry).decode()
    clock[0] = held.ends
    look(folder)
    assert f"{unusable} 1.0" in generate_latest(registry).decode()


def test_prometheus_is_told_when_it_ends_and_that_another_cannot_be_used(tmp_path: Path) -> None:
    registry = RoleRegistry()
    folder = CertificateFolder(tmp_path / "tls", verifies=True)
    tell(registry, "scaler", {"scaler": folder})
    labels = '{certificate="scaler",role="scaler"}'
    assert f"hearth_certificate_unusable{labels} 1.0" in generate_latest(registry).decode()
    swap(tmp_path / "tls", pair_of())
    held = look(folder)
    told = generate_latest(registry).decode()
    assert f"hearth_certificate_unusable{labels} 0.0" in told
    (line,) = [
        line for line in told.splitlines() if line.startswith(f"hearth_certificate_expiry_timestamp_seconds{labels}")
    ]
    assert float(line.split()[-1]) == pytest.approx(held.ends.timestamp())
    assert f"hearth_certificate_lifetime_seconds{labels} 86400.0" in told
