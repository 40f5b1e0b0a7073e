"""CrashLoopBackOff: how long a kubelet waits before it starts a container again. Pure state.

The first restart is at once; each further one waits for 10 s, doubled up to 5 min, until ten minutes have passed since
the last one (k8s.io/client-go/util/flowcontrol.Backoff, as the kubelet's doBackOff uses it).
"""

from dataclasses import dataclass

FIRST, LAST, FORGET = 10.0, 300.0, 600.0


@dataclass(slots=True)
class RestartBackoff:
    """One container's. `first` is 10 s in a cluster."""

    first: float = FIRST
    _delay: float = 0.0
    _restarted: float | None = None

    def after_exit(self, now: float) -> float:
        """The seconds from an exit at `now` to the start that follows it."""
        if self._restarted is None or now - self._restarted > FORGET:
            self._delay = 0.0
        wait = self._delay
        self._delay = self.first if wait == 0 else min(wait * 2, LAST)
        self._restarted = now + wait
        return wait
