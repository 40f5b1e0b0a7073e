"""Which replica a request goes to. Pure.

Least outstanding, ties by turn. An activator sees only what it sent itself, but all of that, so there is nothing to
sample: of a few replicas the best one is found as fast as the better of two.

With an affinity (what a prompt begins with), the replica whose prefix cache has seen it: rendezvous hashing, so that a
replica that comes or goes moves only its own share, with bounded loads, so that one popular prompt can't bury its
replica (Mirrokni, Thorup, Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2018).
"""

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import NamedTuple

BOUND = 1.25
"""How far above the mean a replica's outstanding requests may be before the next one in its order is taken."""


class Load(NamedTuple):
    """A replica's outstanding requests, and when it was last chosen."""

    outstanding: int
    turn: int


def choose(loads: Mapping[str, Load], affinity: bytes | None = None) -> str:
    """The address (host:port) of one of these replicas, of which there is at least one."""
    if affinity is not None:
        total = sum(load.outstanding for load in loads.values())
        bound = math.ceil(BOUND * (total + 1) / len(loads))
        within = [address for address, load in loads.items() if load.outstanding < bound]
        return max(within, key=lambda address: blake2b(affinity + address.encode(), digest_size=8).digest())
    return min(loads, key=lambda address: (loads[address], address))
