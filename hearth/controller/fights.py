"""Objects that somebody else changes back: a GitOps tool, a second installation, a webhook that never writes the same.

Who writes last would never be settled, and both would write as fast as the API server lets them. The same object is
applied so many times a minute, then once in a while; the log and the condition UpToDate say so.
"""

import logging
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from hearth.api.key import ServiceKey
from hearth.controller.applied import differs
from hearth.controller.ownership import ObjectName
from hearth.controller.verdict import Verdict
from hearth.kube.objects import KubeObject, mapping, mappings, metadata, text
from hearth.logs import fields

log = logging.getLogger(__name__)

TIMES = 6
WITHIN_SECONDS = 60.0
REST_SECONDS = 30.0


@dataclass(slots=True)
class _Fight:
    meant: KubeObject
    times: list[float] = field(default_factory=list)
    rests_until: float = -math.inf
    said: str = ""

    @property
    def told_until(self) -> float:
        """One that goes on rests again before that."""
        return self.rests_until + WITHIN_SECONDS


class Fights:
    """`now` is a monotonic clock's, in seconds."""

    def __init__(self) -> None:
        self._of: dict[ServiceKey, dict[ObjectName, _Fight]] = defaultdict(dict)
        self._stamped: dict[ServiceKey, dict[ObjectName, str]] = defaultdict(dict)

    def may(self, key: ServiceKey, name: ObjectName, meant: KubeObject, now: float, said: str) -> bool:
        """Whether to write it now. `meant` is what it is to be: what is meant anew may be written at once. `said` is
        what of it was found changed, in words."""
        fight = self._of[key].get(name)
        if fight is None or fight.meant != meant:
            return True
        fight.said = said
        if now < fight.rests_until:
            return False
        fight.times = [at for at in fight.times if now - at < WITHIN_SECONDS]
        if len(fight.times) >= TIMES:
            fight.rests_until = now + REST_SECONDS
            fight.times.clear()
            kind, named = name
            about = fields(service=str(key), kind=kind, name=named, seconds=REST_SECONDS)
            log.warning("somebody else changes it back each time, resting", extra={**about, "reason": said})
            return False
        return True

    def wrote(self, key: ServiceKey, name: ObjectName, meant: KubeObject, now: float) -> None:
        """It was written, and the API server took it: what it refuses is nobody's fight."""
        fight = self._of[key].get(name)
        if fight is None or fight.meant != meant:
            self._of[key][name] = _Fight(meant, [now])
            return
        kind, named = name
        log.info(
            "undid what somebody changed", extra=fields(service=str(key), kind=kind, name=named, reason=fight.said)
        )
        fight.times.append(now)

    def rests(self, key: ServiceKey, now: float) -> float | None:
        """Seconds until something of it may be applied again; None where nothing rests."""
        waits = [fight.rests_until - now for fight in self._of.get(key, {}).values() if fight.rests_until > now]
        return min(waits, default=None)

    def stands(self, key: ServiceKey, name: ObjectName, but: tuple[str, ...] | None = None) -> None:
        """It is as it was written, `but` for the field at this path: a webhook has its own mind about that one."""
        if but is None:
            self._stamped[key].pop(name, None)
        else:
            self._stamped[key][name] = ".".join(but)

    def told(self, key: ServiceKey, found: Sequence[Verdict], now: float) -> tuple[list[Verdict], float | None]:
        """The verdicts with what UpToDate says of one that somebody fights about, or did in the last minute, or that a
        webhook writes otherwise; and the seconds after which a fight may be over."""
        told = {name: fight for name, fight in self._of.get(key, {}).items() if fight.told_until > now}
        if told:
            words = [f"{kind} {name}: {fight.said}" for (kind, name), fight in sorted(told.items())]
            message = f"changed back each time, and written {TIMES} times a minute at most: {'; '.join(words)}"
            changed = Verdict("UpToDate", False, "ChangedBack", message)
            others = [each for each in found if each.type != "UpToDate"]
            return [changed, *others], max(fight.told_until for fight in told.values()) - now
        stamped = "".join(
            f"; {kind} {name}: a webhook wrote {path} otherwise than Hearth"
            for (kind, name), path in sorted(self._stamped[key].items())
        )
        return [
            replace(each, message=each.message + stamped) if each.type == "UpToDate" else each for each in found
        ], None

    def forget(self, key: ServiceKey) -> None:
        """The LLMService is gone."""
        self._of.pop(key, None)
        self._stamped.pop(key, None)


def other(found: KubeObject, wanted: KubeObject, ours: Collection[str]) -> str:
    """What is changed back, and by which field manager: the one that wrote it last and is none of `ours`. An admission
    webhook has no name of its own, but that of whose request it changes; a second Hearth has ours."""
    path = differs(found, wanted)
    if path is None:
        return ""
    owned = [f"f:{name}" for name in path]
    times = {
        text(entry, "manager"): text(entry, "time")
        for entry in mappings(metadata(found), "managedFields")
        if text(entry, "manager") not in ours and mapping(entry, "fieldsV1", *owned[:-1]).get(owned[-1]) is not None
    }
    by = max(times, key=lambda name: times[name], default="a webhook or a second Hearth")
    return f"{'.'.join(path)} is not what Hearth applied but what {by} wrote"
