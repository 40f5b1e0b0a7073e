"""A role's certificate: read from a folder, as a Secret is mounted, and read again when it changes.

A folder has tls.crt, tls.key and, where the other side is verified too, ca.crt. What is there is taken when it can be
used: a key that is not the certificate's, half a file, or a certificate that is over leave what was there before in
use, and are told. The kubelet swaps all files of a mounted Secret at once, by one symbolic link (`..data`): they are
read behind it. inotify is not asked: it tells nothing of links that are swapped above a file, and on some file systems
nothing at all (kubernetes-sigs/controller-runtime#2182); to look at three files each second costs nothing.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hearth.faults import contained
from hearth.logs import fields
from hearth.metrics import Collected, Metric, RoleRegistry
from hearth.tls.certificates import MOST_PEM, NotYet, Pair, Unusable, certificates_in, check_grpc, life, usable

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

EXPIRY = Metric(
    "gauge",
    "hearth_certificate_expiry_timestamp_seconds",
    "When the certificate that is in use ends, in seconds since 1970. `certificate` says which: demand, scaler or "
    "clients; of the controller that works: authority, activator, scaler, keda.",
    ("role", "certificate"),
)
LIFETIME = Metric(
    "gauge",
    "hearth_certificate_lifetime_seconds",
    "For how long the certificate that is in use is valid from its making; renewed at two thirds of it.",
    ("role", "certificate"),
)
UNUSABLE = Metric(
    "gauge",
    "hearth_certificate_unusable",
    "1 while a certificate that should be there can't be used or made, or has ended: the one before stays in use, if "
    "there was one; else 0.",
    ("role", "certificate"),
)

METRICS = [EXPIRY, LIFETIME, UNUSABLE]


@dataclass(frozen=True, slots=True)
class Held:
    """What is in use. `authorities` is a bundle, empty where nobody is verified by it."""

    pair: Pair
    authorities: bytes
    ends: datetime
    seconds: float


def utc_now() -> datetime:
    """The clock that certificates live by."""
    return datetime.now(UTC)


class CertificateFolder:
    """`held` is what is in use, None until something could be used; `known` is set with the first. `trouble` says why
    what is there now can't be used, "" where it is in use. `on_change` is called with what is new."""

    def __init__(
        self,
        folder: Path,
        *,
        verifies: bool,
        on_change: Callable[[Held], None] = lambda held: None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self.folder = folder
        self.held: Held | None = None
        self.trouble = "not read yet"
        self.known = asyncio.Event()
        self._verifies = verifies
        self._on_change = on_change
        self._clock = clock
        self._seen: object = None

    @property
    def fails(self) -> bool:
        """Whether what is there can't be used, or what is in use has ended."""
        return bool(self.trouble) or (self.held is not None and self.held.ends <= self._clock())

    async def run(self) -> None:
        """Look again until cancelled."""
        while True:
            with contained("timer", folder=str(self.folder)):
                self.look()
            await asyncio.sleep(LOOK_SECONDS)  # files have no event that can be trusted

    def look(self) -> None:
        """Take what is there, if it is new and can be used."""
        seen: object
        try:
            place = self._place()
            seen = _signature(place)
        except OSError as error:
            place, seen = self.folder, f"{error.filename}: {error.strerror}"
        if seen == self._seen:
            return
        try:
            held = self._read(place)
            if _signature(place) != seen:
                return  # it changes while it is read: the next look sees it whole
            self._on_change(held)
        except (OSError, Unusable) as error:
            if str(error) != self.trouble or not isinstance(error, NotYet):
                self.trouble = str(error)
                log.warning("certificate can't be used", extra=fields(folder=str(self.folder), reason=self.trouble))
            if isinstance(error, NotYet):
                return  # what changes then is the time, and no file
        else:
            again = self.held is not None
            self.held, self.trouble = held, ""
            self.known.set()
            log.info(
                "certificate changed" if again else "certificate read",
                extra=fields(folder=str(self.folder), ends=held.ends.isoformat()),
            )
        self._seen = seen

    def _place(self) -> Path:
        """Where the files are that belong together."""
        data = self.folder / "..data"
        return data.resolve(strict=True) if data.is_symlink() else self.folder

    def _read(self, place: Path) -> Held:
        pair = Pair(_read(place / "tls.crt"), _read(place / "tls.key"))
        end = usable(pair, self._clock())
        authorities = _read(place / "ca.crt") if self._verifies else b""
        if self._verifies:
            check_grpc(pair)
            certificates_in(authorities)
        return Held(pair, authorities, end, life(pair.certificate).total_seconds())


def _read(file: Path) -> bytes:
    """Raises OSError; Unusable where it is too large to be what it should be."""
    with file.open("rb") as opened:
        content = opened.read(MOST_PEM + 1)
    if len(content) > MOST_PEM:
        raise Unusable(f"{file.name} is larger than {MOST_PEM // 1024} KiB")
    return content


def _signature(place: Path) -> object:
    """What differs where a file differs."""
    made = []
    for name in ("tls.crt", "tls.key", "ca.crt"):
        with contextlib.suppress(FileNotFoundError):
            found = (place / name).stat()
            made.append((name, found.st_ino, found.st_mtime_ns, found.st_size))
    return str(place), tuple(made)


def tell(registry: RoleRegistry, role: str, folders: Mapping[str, CertificateFolder]) -> None:
    """Let Prometheus know of a role's certificates, by what each is for."""

    def families() -> Iterator[object]:
        held = {name: folder.held for name, folder in folders.items()}
        yield EXPIRY.of(((role, name), each.ends.timestamp()) for name, each in held.items() if each is not None)
        yield LIFETIME.of(((role, name), each.seconds) for name, each in held.items() if each is not None)
        yield UNUSABLE.of(((role, name), folder.fails) for name, folder in folders.items())

    registry.register(Collected(families))  # type: ignore[arg-type]
