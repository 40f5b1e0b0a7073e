"""Whether KEDA's operator is at work, by the Lease that it renews every 2 s. Pure: Leases and a clock in.

A KEDA that is away writes no condition: its ScaledObjects go on saying that they are ready. Times are our own clock's
between two looks, as leader election has it: the clocks of two machines need not agree. A KEDA without leader election
(--leader-elect=false) has no Lease, and nothing is said of it.
https://github.com/kedacore/keda/blob/main/cmd/operator/main.go (LeaderElectionID)
"""

from collections.abc import Iterable

from hearth.kube.objects import KubeObject, ObjectKey, key_of, text

LEASE_NAME = "operator.keda.sh"
AWAY_SECONDS = 45.0
"""A successor takes over within 15 s of a crash (controller-runtime's lease duration)."""


class KedaLease:
    """`see` what there is each time that it was looked at."""

    def __init__(self) -> None:
        self._renewed: dict[ObjectKey, tuple[str, float]] = {}
        self._looked = self._at_work = False

    def see(self, leases: Iterable[KubeObject], now: float) -> None:
        """These are the Leases of KEDA's operators; `now` is a monotonic clock's, in seconds."""
        self._looked = True
        found = {key_of(lease): text(lease, "spec", "renewTime") for lease in leases}
        self._at_work = self._at_work or any(
            before[0] != found.get(key, before[0]) for key, before in self._renewed.items()
        )
        self._renewed = {
            key: before if (before := self._renewed.get(key)) is not None and before[0] == renewed else (renewed, now)
            for key, renewed in found.items()
        }

    def known(self, now: float) -> bool:
        """Whether it was seen to renew, or to be silent for long enough, or to have no Lease: who has just begun to
        look can't tell an operator that has ended from one that renews in a moment."""
        return self._looked and (self._at_work or not self._renewed or self.away(now) is not None)

    def away(self, now: float) -> str | None:
        """Why nothing starts or stops, in words; None where some operator is at work, or none has a Lease."""
        if not self._renewed:
            return None
        key, (renewed, seen) = max(self._renewed.items(), key=lambda pair: pair[1][1])
        if now - seen < AWAY_SECONDS:
            return None
        return (
            f"KEDA's operator has renewed its Lease {key} last at {renewed}: it is not running, and nothing starts or "
            f"stops replicas; kubectl get pods -n {key.namespace} says why"
        )
