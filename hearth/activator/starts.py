"""How many cold starts requests may ask for: of one LLMService, and from one client's address. It is told the time.

What costs is an accelerator that begins to work for nobody; a request that finds a replica, or a start under way, costs
no start. Each activator counts for itself.
"""

import ipaddress
from typing import Final

from hearth.activator.allowance import HOUR, Bucket

MOST_ADDRESSES: Final = 10_000
"""That are remembered: who has his whole budget left is forgotten first, then who was seen first."""
_NETWORK: Final = 56  # bits of an IPv6 address that one site's all have in common, of those of RFC 6177


class ServiceStarts:
    """Of one LLMService; without a limit at first."""

    __slots__ = ("_bucket",)

    def __init__(self) -> None:
        self._bucket: Bucket | None = None

    def relimit(self, limit: int | None, now: float) -> None:
        """Allow so many an hour, None: any number; what was used stays used."""
        if limit is None:
            self._bucket = None
        elif self._bucket is None:
            self._bucket = Bucket(limit, HOUR, now)
        elif limit != self._bucket.limit:
            self._bucket = self._bucket.relimited(limit, now)

    def wait(self, now: float) -> float:
        """Seconds until there may be another one; 0 where there may."""
        return self._bucket.wait(1.0, now) if self._bucket is not None else 0.0

    def take(self, now: float) -> None:
        """Count one."""
        if self._bucket is not None:
            self._bucket.take(1.0, now)


class AddressStarts:
    """Of each client's address; `limit` an hour, None: no limit."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self._buckets: dict[str, Bucket] = {}

    def wait(self, client: str, now: float) -> float:
        """Seconds until this address may ask for another one; 0 where it may."""
        bucket = self._buckets.get(network_of(client)) if self.limit is not None else None
        return bucket.wait(1.0, now) if bucket is not None else 0.0

    def take(self, client: str, now: float) -> None:
        """Count one."""
        if self.limit is None:
            return
        name = network_of(client)
        bucket = self._buckets.get(name)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[name] = Bucket(self.limit, HOUR, now)
        bucket.take(1.0, now)

    def _make_room(self, now: float) -> None:
        if len(self._buckets) < MOST_ADDRESSES:
            return
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if bucket.wait(bucket.limit, now)}
        if len(self._buckets) >= MOST_ADDRESSES:
            del self._buckets[next(iter(self._buckets))]


def network_of(client: str) -> str:
    """What an address is counted as: an IPv6 one by its network, of which somebody has them all."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((int(address), _NETWORK), strict=False))
