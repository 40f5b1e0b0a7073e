"""Whether KEDA's operator is at work, by the Lease that it renews every 2 s. Pure: Leases and a clock in.

A KEDA that is away writes no condition: its ScaledObjects go on saying that they are ready. Times are our own clock's
between two looks, as leader election has it: the clocks of two machines need not agree. A KEDA without leader election
(--leader-elect=false) has no Lease, and nothing is said of it. A Lease that was seen to be renewed and is gone is of a
KEDA that was uninstalled, and its namespace with it.
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
        self._gone: dict[ObjectKey, tuple[str, float]] = {}  # of those that were seen to be renewed
        self._renewing: set[ObjectKey] = set()
        self._looked = self._at_work = False

    def see(self, leases: Iterable[KubeObject], now: float) -> None:
        """These are the Leases of KEDA's operators; `now` is a monotonic clock's, in seconds."""
        self._looked = True
        found = {key_of(lease): text(lease, "spec", "renewTime") for lease in leases}
        self._renewing |= {key for key, before in self._renewed.items() if before[0] != found.get(key, before[0])}
        self._at_work = self._at_work or bool(self._renewing)
        if any(key in self._renewing for key in found):
            self._gone.clear()  # installed again, maybe in another namespace
        self._gone |= {key: before for key, before in self._renewed.items() if key in self._renewing - found.keys()}
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
        known = {**self._gone, **self._renewed}
        if not known:
            return None
        key, (renewed, seen) = max(known.items(), key=lambda pair: pair[1][1])
        if now - seen < AWAY_SECONDS:
            return None
        end = "; it is gone now" if key not in self._renewed else ""
        return (
            f"KEDA's operator has renewed its Lease {key} last at {renewed}{end}: it is not running, and nothing "
            f"starts or stops replicas; kubectl get pods -n {key.namespace} says why"
        )
