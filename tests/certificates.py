"""Certificates for tests, and folders as the kubelet mounts a Secret: swapped by one symbolic link."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hearth.local.mounted import swap
from hearth.tls.certificates import Authority, Lives, Pair, Wanted, authority_now, certificate_now
from hearth.tls.credentials import CertificateFolder
from hearth.tls.names import ACTIVATOR_NAME, KEDA_NAME, SCALER_NAME


def new_authority() -> Authority:
    return authority_now(None, Lives(), datetime.now(UTC))


def issue(authority: Authority, *names: str, life: timedelta = timedelta(days=1), now: datetime | None = None) -> Pair:
    lives = Lives(certificate=life)
    return certificate_now(None, Wanted(names), authority, lives, now or datetime.now(UTC))[0]


def mount(folder: Path, pair: Pair, authorities: bytes) -> Path:
    """Write a Secret as the kubelet does."""
    swap(folder, {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": authorities})
    return folder


@dataclass
class Mounts:
    """The folders of both roles, of one authority."""

    root: Path
    authority: Authority = field(default_factory=new_authority)

    def __post_init__(self) -> None:
        self.activator = mount(self.root / "activator", issue(self.authority, ACTIVATOR_NAME), self.authority.bundle)
        self.scaler = mount(self.root / "scaler", issue(self.authority, SCALER_NAME, KEDA_NAME), self.authority.bundle)

    def folder(self, path: Path) -> CertificateFolder:
        """Read once."""
        made = CertificateFolder(path, verifies=True)
        made.look()
        assert made.held is not None, made.trouble
        return made
