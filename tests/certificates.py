"""Certificates for tests, and folders as the kubelet mounts a Secret: swapped by one symbolic link."""

import subprocess
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


def self_signed(folder: Path, kind: str) -> Pair:
    """A pair as openssl makes it: `kind` is a curve, RSA:BITS, RSA-PSS:BITS, DSA:BITS, or another algorithm."""
    key, certificate = folder / "openssl.key", folder / "openssl.crt"
    algorithm, _, bits = kind.partition(":")
    match algorithm:
        case "RSA" | "RSA-PSS":
            make = ["genpkey", "-algorithm", algorithm, "-pkeyopt", f"rsa_keygen_bits:{bits}", "-out", str(key)]
        case "DSA":
            make = ["dsaparam", "-noout", "-genkey", "-out", str(key), bits]
        case "ED25519" | "ED448":
            make = ["genpkey", "-algorithm", algorithm, "-out", str(key)]
        case curve:
            make = ["genpkey", "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{curve}", "-out", str(key)]
    request = ["req", "-x509", "-new", "-key", str(key), "-days", "2", "-subj", "/CN=a", "-out", str(certificate)]
    for command in (make, [*request, "-addext", "subjectAltName=DNS:a,IP:127.0.0.1"]):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    return Pair(certificate.read_bytes(), key.read_bytes())


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
