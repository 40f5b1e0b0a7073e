"""Makes and renews the certificates of the roles and of KEDA, as Secrets; tells when KEDA's has changed.

A Secret is read at the API server before it is written, and written only as it was read: of two controllers that both
think they lead one is refused. One that somebody else made is never written.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from hearth.controller.issuing import (
    Issuing,
    NotOurs,
    Place,
    authority_data,
    certificate_data,
    is_ours,
    secret,
    shown,
)
from hearth.controller.ownership import MANAGER
from hearth.faults import contained
from hearth.kube.client import KubeClient
from hearth.kube.errors import AlreadyExists, Conflict, KubeError
from hearth.kube.kinds import SECRET
from hearth.kube.objects import KubeObject, secret_data
from hearth.logs import fields
from hearth.metrics import Collected
from hearth.tls.certificates import Authority, Unusable, ends, life
from hearth.tls.credentials import EXPIRY, LIFETIME, UNUSABLE, utc_now

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
AGAIN_SECONDS = 5.0
SETTLE_SECONDS = 10.0
"""How long KEDA's operator has to see its changed Secret, of which it keeps a copy, before ScaledObjects make it read
that."""


class Certificates:
    """`shown` is the fingerprint of the certificate that KEDA is to use; "" where none can be used. `looked` is set
    once the first look is over, however it ended. `on_shown` is called when it is another one."""

    def __init__(
        self,
        kube: KubeClient,
        issuing: Issuing,
        on_shown: Callable[[], None],
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._kube = kube
        self._issuing = issuing
        self._on_shown = on_shown
        self._clock = clock
        self._changed = asyncio.Event()
        self._held: dict[str, bytes] = {}
        self._troubles: dict[str, str] = {}
        self._settling: asyncio.TimerHandle | None = None
        self._latest = ""
        self.shown = ""
        self.looked = asyncio.Event()

    def register(self, registry: CollectorRegistry) -> "Certificates":
        """Let Prometheus know of them."""
        registry.register(Collected(self._families))
        return self

    def changed(self) -> None:
        """One of the Secrets has changed."""
        self._changed.set()

    async def run(self) -> None:
        """Look whenever a Secret changes, and once in a while, until cancelled."""
        while True:
            self._changed.clear()
            with contained("timer", of="certificates"):
                await self.look()
            self.looked.set()
            within = AGAIN_SECONDS if any(self._troubles.values()) else LOOK_SECONDS
            try:
                async with asyncio.timeout(min(within, self._issuing.lives.known.total_seconds() / 4)):
                    await self._changed.wait()
            except TimeoutError:
                continue  # certificates end by the clock

    async def _copy(self) -> None:
        """Bring KEDA's certificate to KEDA where cert-manager has made it: an Issuer signs in its own namespace
        alone."""
        made, place = self._issuing.made_for_keda, self._issuing.keda
        try:
            source = await self._kube.get_object(SECRET.path(*made))
            shown(source, self._clock())
            found = await self._kube.get_object(SECRET.path(*place))
            is_ours(place, found)
            there = secret_data(source)
            await self._write(place, {name: there[name] for name in ("ca.crt", "tls.crt", "tls.key")}, found, "copied")
        except (KubeError, NotOurs) as error:
            self._trouble("keda", place, str(error).partition("\n")[0])
        except Unusable as error:
            self._trouble("keda", made, str(error))
        else:
            self._trouble("keda", place, "")

    async def look(self) -> None:
        """Make every Secret have what it must. What goes wrong with one is told, and of consequence for it alone, but
        for one that is somebody else's: those of the roles and KEDA are of one authority, or they are of no use, so
        that none of them is written then."""
        if self._issuing.mode == "controller":
            await self._make()
        elif self._issuing.made_for_keda != self._issuing.keda:
            await self._copy()
        await self._show()

    async def _make(self) -> None:
        place = self._issuing.authority
        authority: Authority | None = None
        with self._told("authority", place):
            found = await self._find(place)
            authority, data, why = authority_data(found, self._issuing.lives, self._clock())
            await self._keep("authority", place, data, found, why)
        if authority is None:
            return
        there: dict[str, KubeObject | KubeError | NotOurs | None] = {}
        for name, (place, _) in self._issuing.wanted.items():
            try:
                there[name] = await self._find(place)
            except (KubeError, NotOurs) as error:
                there[name] = error
        foreign = [str(self._issuing.wanted[name][0]) for name, found in there.items() if isinstance(found, NotOurs)]
        for name, (place, wanted) in self._issuing.wanted.items():
            with self._told(name, place):
                before = there[name]
                if isinstance(before, KubeError | NotOurs):
                    raise before
                if foreign:
                    raise NotOurs(f"not written while {', '.join(foreign)} is somebody else's: they have one authority")
                data, why = certificate_data(before, wanted, authority, self._issuing.lives, self._clock())
                await self._keep(name, place, data, before, why)

    @contextmanager
    def _told(self, name: str, place: Place) -> Iterator[None]:
        """What goes wrong with one Secret ends the context and is told; that nothing does is told too."""
        try:
            yield
        except (KubeError, NotOurs) as error:
            self._trouble(name, place, str(error).partition("\n")[0])
        else:
            self._trouble(name, place, "")

    async def _find(self, place: Place) -> KubeObject | None:
        """Raises KubeError, NotOurs."""
        found = await self._kube.get_object(SECRET.path(*place))
        is_ours(place, found)
        return found

    async def _keep(self, name: str, place: Place, data: dict[str, bytes], found: KubeObject | None, why: str) -> None:
        """Raises KubeError."""
        await self._write(place, data, found, why or "whom to trust has changed")
        self._held[name] = data["tls.crt"]

    async def _write(self, place: Place, data: dict[str, bytes], found: KubeObject | None, why: str) -> None:
        """Write a Secret where it is not so already. Raises KubeError."""
        wanted = secret(place, data, found)
        if wanted is None:
            return
        log.info("writing a certificate", extra=fields(secret=str(place), reason=why))
        try:
            if found is None:
                await self._kube.create_object(SECRET.within(place.namespace), wanted, MANAGER)
            else:
                await self._kube.replace_object(SECRET.path(*place), wanted, MANAGER)
        except (AlreadyExists, Conflict):
            self.changed()  # another look sees who was quicker
            raise

    async def _show(self) -> None:
        place, found = self._issuing.keda, None
        try:
            found = await self._kube.get_object(SECRET.path(*place))
            now_shown = shown(found, self._clock())
        except (KubeError, Unusable) as error:
            reason = "there is none" if found is None and isinstance(error, Unusable) else str(error)
            self._trouble("keda", place, self._troubles.get("keda") or reason.partition("\n")[0])
            return  # what was shown before may still be in use
        self._held["keda"] = secret_data(found)["tls.crt"]
        if now_shown == self._latest:
            return
        self._latest = now_shown
        if not self.shown:
            self._set(now_shown)
        else:
            if self._settling is not None:
                self._settling.cancel()
            self._settling = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._set, now_shown)

    def _set(self, fingerprint: str) -> None:
        self._settling = None
        log.info("KEDA's certificate is another one", extra=fields(certificate=fingerprint))
        self.shown = fingerprint
        self._on_shown()

    def _trouble(self, name: str, place: Place, reason: str) -> None:
        if reason and self._troubles.get(name) != reason:
            log.warning("certificate can't be made", extra=fields(secret=str(place), reason=reason))
        self._troubles[name] = reason

    def _families(self) -> Iterator[Family]:
        role = "controller"
        yield EXPIRY.of(((role, name), ends(each).timestamp()) for name, each in self._held.items())
        yield LIFETIME.of(((role, name), life(each).total_seconds()) for name, each in self._held.items())
        yield UNUSABLE.of(((role, name), bool(reason)) for name, reason in self._troubles.items())
