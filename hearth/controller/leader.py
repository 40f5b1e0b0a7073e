"""Leader election by a Lease: of several controllers one works.

As client-go does it (k8s.io/client-go/tools/leaderelection): who holds the Lease renews it; a Lease that nobody renewed
for its duration, by the clock of who looks at it, may be taken. Clocks of machines are never compared. A leader that
stops gives its Lease back, so that the next need not wait.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hearth.faults import contained
from hearth.kube.client import KubeClient
from hearth.kube.errors import Conflict, KubeError, LeadershipLost
from hearth.kube.kinds import LEASE
from hearth.kube.objects import KubeObject, mapping, number, text
from hearth.logs import fields

log = logging.getLogger(__name__)


LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.0
GIVE_UP_SECONDS = 7.0  # a leader that could not renew for so long stops, before anybody else may begin
RETRY_SECONDS = 0.5


@dataclass(slots=True)
class Observed:
    """A Lease as it was seen last, and since when it has not changed, on a monotonic clock. Pure state."""

    spec: KubeObject | None = None
    since: float = 0.0

    def see(self, spec: KubeObject, now: float) -> None:
        """Take the Lease's spec as it is now."""
        if spec != self.spec:
            self.spec, self.since = spec, now

    def may_take(self, identity: str, now: float) -> bool:
        """Whether the Lease is ours, nobody's, or its holder's time is over."""
        assert self.spec is not None
        holder = text(self.spec, "holderIdentity")
        duration = number(self.spec, "leaseDurationSeconds") or LEASE_SECONDS
        return not holder or holder == identity or now - self.since >= duration


class Election:
    """One candidate for the Lease namespace/name."""

    def __init__(self, kube: KubeClient, namespace: str, name: str, identity: str) -> None:
        self._kube = kube
        self._collection = LEASE.within(namespace)
        self._path = LEASE.path(namespace, name)
        self._name = name
        self._identity = identity
        self._observed = Observed()
        self.answered = False
        """Whether the API server has answered once: before, nothing is known of who leads."""

    async def lead(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for the Lease, then run `work` while it is held. Raises LeadershipLost, and what `work` raises."""
        try:
            while not await self._try():
                await asyncio.sleep(RETRY_SECONDS * random.uniform(0.8, 1.2))  # a Lease runs out by the clock alone
        except BaseException:
            work.close()
            raise
        log.info("leading", extra=fields(lease=self._name, identity=self._identity))
        working = asyncio.ensure_future(work)
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, renewing):
                task.cancel()
            results = await asyncio.gather(working, renewing, return_exceptions=True)
            await self._release()
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
                raise result

    async def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while True:
            await asyncio.sleep(RENEW_SECONDS)  # what a Lease asks for
            if await self._try():
                renewed = loop.time()
            elif loop.time() - renewed > GIVE_UP_SECONDS:
                raise LeadershipLost(f"Lease {self._name}: not renewed for {GIVE_UP_SECONDS:g} s")

    async def _try(self) -> bool:
        """Take or renew the Lease, if that may be; whether it is held now."""
        with contained("lease", lease=self._name):
            try:
                async with asyncio.timeout(RENEW_SECONDS):
                    held = await self._take()
                self.answered = True
                return held
            except Conflict:
                self.answered = True  # somebody else was quicker
            except (KubeError, TimeoutError) as error:
                log.warning("Lease not reached", extra=fields(lease=self._name, reason=str(error) or "timed out"))
        return False

    async def _take(self) -> bool:
        now = asyncio.get_running_loop().time()
        stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        mine = {"holderIdentity": self._identity, "leaseDurationSeconds": int(LEASE_SECONDS), "renewTime": stamp}
        lease = await self._kube.get_object(self._path)
        if lease is None:
            new = {**mine, "acquireTime": stamp, "leaseTransitions": 0}
            await self._kube.create_object(self._collection, self._document({"name": self._name}, new))
            return True
        spec = mapping(lease, "spec")
        self._observed.see(spec, now)
        if not self._observed.may_take(self._identity, now):
            return False
        fresh: KubeObject = {**spec, **mine}
        if text(spec, "holderIdentity") != self._identity:
            fresh |= {"acquireTime": stamp, "leaseTransitions": number(spec, "leaseTransitions") + 1}
        await self._replace(lease, fresh)
        return True

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                lease = await self._kube.get_object(self._path)
                spec = mapping(lease, "spec")
                if lease is not None and text(spec, "holderIdentity") == self._identity:
                    await self._replace(lease, {**spec, "holderIdentity": "", "leaseDurationSeconds": 1})
        except (KubeError, TimeoutError) as error:
            log.warning("Lease not given back", extra=fields(lease=self._name, reason=str(error) or "timed out"))

    async def _replace(self, lease: KubeObject, spec: KubeObject) -> None:
        """Write the Lease if it is still the one that was read: its resourceVersion is sent along."""
        await self._kube.replace_object(self._path, self._document(lease["metadata"], spec))

    def _document(self, metadata: KubeObject, spec: KubeObject) -> KubeObject:
        return {**LEASE.names, "metadata": metadata, "spec": spec}
