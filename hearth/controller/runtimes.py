"""The InferenceRuntimes that there are: which of them can be read, and each one's status, which says so.

An InferenceRuntime is read once, when it changes. One that can't be read hides no other, and its condition Accepted has
the words; LLMServices that it serves say them too.
"""

import contextlib
import logging
from collections.abc import Mapping
from datetime import UTC, datetime

from hearth.api.inferenceruntime import InferenceRuntime
from hearth.api.manifest import ManifestError, read_runtime
from hearth.controller.choosing import Unreadable
from hearth.controller.ownership import MANAGER
from hearth.controller.status import cut
from hearth.faults import contained
from hearth.kube.client import KubeClient
from hearth.kube.errors import KubeError, NotFound
from hearth.kube.kinds import INFERENCE_RUNTIME
from hearth.kube.objects import KubeObject, ObjectKey, condition, metadata, number, text, uid_of, written
from hearth.kube.workqueue import WorkQueue
from hearth.logs import fields

log = logging.getLogger(__name__)


class Runtimes:
    """`readable` and `unreadable`, by name."""

    def __init__(self, kube: KubeClient, items: Mapping[ObjectKey, KubeObject]) -> None:
        self._kube = kube
        self._items = items
        self._queue: WorkQueue[str] = WorkQueue()
        self.readable: dict[str, InferenceRuntime] = {}
        self.unreadable: dict[str, Unreadable] = {}

    def sorted(self) -> list[InferenceRuntime]:
        """Those that can be read, by name."""
        return [runtime for _, runtime in sorted(self.readable.items())]

    def put(self, name: str, item: KubeObject | None) -> None:
        """Take one as it is now; None: it is gone."""
        self.readable.pop(name, None)
        self.unreadable.pop(name, None)
        if item is None:
            return
        try:
            self.readable[name] = read_runtime(item)
        except ManifestError as error:
            self.unreadable[name] = Unreadable(text(item, "spec", "vendor"), error.in_a_line)
            log.warning("InferenceRuntime cannot be read", extra=fields(runtime=name, reason=error.in_a_line))
        self._queue.add(name)

    async def run(self) -> None:
        """Write statuses until cancelled."""
        while True:
            name = await self._queue.take()
            failed = True
            try:
                with contained("reconcile", runtime=name):
                    try:
                        await self._tell(name)
                        failed = False
                    except KubeError as error:
                        log.warning("InferenceRuntime not told", extra=fields(runtime=name, reason=str(error)))
            finally:
                self._queue.done(name, failed=failed)

    async def _tell(self, name: str) -> None:
        item = self._items.get(ObjectKey("", name))
        if item is None:
            return
        status = runtime_status(item, self._why_not(name), datetime.now(UTC), stalled=name in self.unreadable)
        if status is None:
            return
        document = {**INFERENCE_RUNTIME.names, "metadata": {"name": name, "uid": uid_of(item)}, "status": status}
        with contextlib.suppress(NotFound):  # gone by now
            await self._kube.apply_object(INFERENCE_RUNTIME.path("", name, "status"), document, MANAGER)

    def _why_not(self, name: str) -> str | None:
        """What keeps LLMServices from being served by it; None where nothing does."""
        if (found := self.unreadable.get(name)) is not None:
            return found.why
        runtime = self.readable.get(name)
        return (runtime.spec.container.image_wanted or None) if runtime is not None else None


def runtime_status(item: KubeObject, why_not: str | None, now: datetime, *, stalled: bool) -> KubeObject | None:
    """The status that an InferenceRuntime should have; None where it has it. `why_not`: what is wrong with it.
    `stalled`: it is of no use to anybody before somebody changes it, and whoever waits for it (kstatus) need not."""
    was, generation = condition(item, "Accepted"), number(metadata(item), "generation")
    status, reason, message = "True", "Accepted", "LLMServices can be served by it"
    if why_not is not None:
        status, reason, message = "False", "RuntimeInvalid", cut(why_not)
    wanted = {"status": status, "reason": reason, "message": message, "observedGeneration": generation}
    had_stalled = bool(condition(item, "Stalled"))
    if all(was.get(field) == value for field, value in wanted.items()) and had_stalled == stalled:
        return None
    since = text(was, "lastTransitionTime") if was.get("status") == status else ""
    made = {"type": "Accepted", "lastTransitionTime": since or written(now), **wanted}
    return {
        "observedGeneration": generation,
        "conditions": [made, {**made, "type": "Stalled", "status": "True"}] if stalled else [made],
    }
