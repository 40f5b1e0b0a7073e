"""Objects that somebody else changes back: an admission that stamps one of our fields, a second installation.

Who writes last would never be settled, and both would write as fast as the API server lets them. The same object is
applied so many times a minute, then once in a while, and the log says so.
"""

import logging
from collections import defaultdict
from dataclasses import dataclass, field

from hearth.api.key import ServiceKey
from hearth.controller.ownership import ObjectName
from hearth.kube.objects import KubeObject
from hearth.logs import fields

log = logging.getLogger(__name__)

TIMES = 6
WITHIN_SECONDS = 60.0
REST_SECONDS = 30.0


@dataclass(slots=True)
class _Fight:
    wanted: KubeObject
    times: list[float] = field(default_factory=list)
    rests_until: float = 0.0


class Fights:
    """`now` is a monotonic clock's, in seconds."""

    def __init__(self) -> None:
        self._of: dict[ServiceKey, dict[ObjectName, _Fight]] = defaultdict(dict)

    def may(self, key: ServiceKey, name: ObjectName, wanted: KubeObject, now: float) -> bool:
        """Whether to apply it now; it is counted then. What is wanted anew may be applied at once."""
        fight = self._of[key].get(name)
        if fight is None or fight.wanted != wanted:
            self._of[key][name] = _Fight(wanted, [now])
            return True
        if now < fight.rests_until:
            return False
        fight.times = [at for at in fight.times if now - at < WITHIN_SECONDS]
        if len(fight.times) >= TIMES:
            fight.rests_until = now + REST_SECONDS
            fight.times.clear()
            kind, named = name
            about = fields(service=str(key), kind=kind, name=named, seconds=REST_SECONDS)
            log.warning("somebody else changes it back each time, resting", extra=about)
            return False
        fight.times.append(now)
        return True

    def rests(self, key: ServiceKey, now: float) -> float | None:
        """Seconds until something of it may be applied again; None where nothing rests."""
        waits = [fight.rests_until - now for fight in self._of.get(key, {}).values() if fight.rests_until > now]
        return min(waits, default=None)

    def forget(self, key: ServiceKey) -> None:
        """The LLMService is gone."""
        self._of.pop(key, None)
