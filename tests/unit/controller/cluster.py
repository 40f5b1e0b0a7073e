"""A cluster in memory, for one look of the controller after the other: what an API server does with what the controller
sends. It keeps objects, uids, versions and owners of fields as far as the rules of creating and applying need them, and
notes every write."""

import copy
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hearth.api.key import ServiceKey
from hearth.controller.belongings import Belongings
from hearth.controller.reconcile import Reconciler
from hearth.controller.runtimes import Runtimes
from hearth.controller.scalers import Scalers
from hearth.crd_translator import ClusterFacts
from hearth.fleet import Fleet
from hearth.kube.client import KubeClient, Listed
from hearth.kube.errors import AlreadyExists, Conflict, KubeError, NotFound, Refused, UnknownApi
from hearth.kube.kinds import LLMSERVICE, RENDERED, path_of
from hearth.kube.objects import KubeObject, ObjectKey, key_of, labels_of
from tests.builders import bundled_runtimes, llmservice_manifest

KEY = ServiceKey("ai", "qwen")
LABEL = "serving.hearth.dev/llmservice"


class FakeApi(KubeClient):
    """Objects by path. `writes` are (verb, path) of what was written, the statuses of LLMServices not among them."""

    def __init__(self) -> None:
        self.objects: dict[str, KubeObject] = {}
        self.writes: list[tuple[str, str]] = []
        self.statuses: dict[str, KubeObject] = {}
        self.applied_statuses = 0
        self.merges: list[KubeObject] = []
        self.events: list[KubeObject] = []
        self.logs: dict[str, str] = {}  # by path
        self.refused: dict[str, KubeError] = {}  # by path: what a dry run and an apply are answered
        self.unknown: set[str] = set()  # kinds that no API is there for
        self.blocked: set[str] = set()  # paths of what is not gone before what it owns is
        self._numbers = itertools.count(1)

    def put(self, item: KubeObject) -> KubeObject:
        """An object as somebody else makes it."""
        made = copy.deepcopy(item)
        number = str(next(self._numbers))
        made["metadata"] = {"uid": f"uid-{number}", **made["metadata"], "resourceVersion": number}
        self.objects[path_of(made)] = made
        return made

    async def get_object(self, path: str, label_selector: str = "") -> KubeObject | None:
        return copy.deepcopy(self.objects.get(path))

    async def get_text(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        if path not in self.logs:
            raise NotFound(f"404: {path}", 404)
        return self.logs[path]

    async def list_objects(self, path: str, label_selector: str = "", field_selector: str = "") -> Listed:
        return Listed([], "1")

    async def create_object(self, collection: str, item: KubeObject, manager: str = "") -> KubeObject:
        if item["kind"] == "Event":
            self.events.append(item)
            return item
        self._check_known(item)
        path = path_of(item)
        if path in self.objects:
            raise AlreadyExists(f"409: {path}", 409)
        self.writes.append(("create", path))
        metadata = {**item["metadata"], "managedFields": [{"manager": manager, "operation": "Update"}]}
        return copy.deepcopy(self.put({**item, "metadata": metadata}))

    async def apply_object(self, path: str, item: KubeObject, manager: str) -> KubeObject:
        if path.endswith("/status"):
            if path in self.refused:
                raise self.refused[path]
            self.applied_statuses += 1
            self.statuses[path] = item["status"]
            return item
        self._check_known(item)
        found = self.objects.get(path)
        metadata = item["metadata"]
        if found is None:
            raise (Conflict if "uid" in metadata else NotFound)(f"{path}", 409)
        if metadata.get("uid", found["metadata"]["uid"]) != found["metadata"]["uid"]:
            raise Refused("422: metadata.uid: field is immutable", 422)
        version = found["metadata"]["resourceVersion"]
        if metadata.get("resourceVersion", version) != version:
            raise Conflict(f"409: {path} has changed", 409)
        if path in self.refused:
            raise self.refused[path]
        self.writes.append(("apply", path))
        merged = copy.deepcopy(found)
        merged["spec"] |= copy.deepcopy(item["spec"])
        merged["metadata"] |= copy.deepcopy(metadata) | {"resourceVersion": version}
        entry = {"manager": manager, "operation": "Apply"}
        if entry not in merged["metadata"].setdefault("managedFields", []):
            merged["metadata"]["managedFields"].append(entry)
        if merged != found:  # an apply that changes nothing is no new version
            merged["metadata"]["resourceVersion"] = str(next(self._numbers))
        self.objects[path] = merged
        return copy.deepcopy(merged)

    async def try_object(self, path: str, item: KubeObject, manager: str) -> None:
        self._check_known(item)
        if path in self.refused:
            raise self.refused[path]

    async def merge_object(self, path: str, patch: KubeObject, manager: str) -> KubeObject:
        self.merges.append(patch)
        return patch

    async def delete_object(
        self, path: str, uid: str, grace_seconds: int | None = None, *, foreground: bool = False
    ) -> None:
        self.writes.append(("delete", path))
        if foreground and path in self.blocked:
            self.objects[path]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            del self.objects[path]

    def _check_known(self, item: KubeObject) -> None:
        if item["kind"] in self.unknown:
            raise UnknownApi("404: 404 page not found", 404)


class Cluster:
    """One LLMService ai/qwen and a controller that looks at it when it is told to. What it knows is what an informer
    would show it: objects with our label."""

    def __init__(self, *assignments: str) -> None:
        self.api = FakeApi()
        self.services: dict[ObjectKey, KubeObject] = {}
        self.runtimes = Runtimes(self.api, {})
        self.runtimes.readable = {runtime.metadata.name: runtime for runtime in bundled_runtimes()}
        self.scalers = Scalers()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.facts = ClusterFacts()
        self.belongings = Belongings()
        self.fleet = Fleet(lambda: 0.0)
        self._shown: set[tuple[str, ObjectKey]] = set()
        self.apply(*assignments)
        self.reconciler = Reconciler(
            self.api,
            self.services,
            self.belongings,
            self.scalers,
            self.runtimes,
            lambda: self.facts,
            "one",
            self.fleet,
            now=lambda: self.now,
        )

    def apply(self, *assignments: str, uid: str = "uid-service", **metadata: Any) -> None:
        """The LLMService as a user writes it."""
        item = llmservice_manifest("qwen", "ai", *assignments)
        item["metadata"] |= {"uid": uid, "generation": 1, "resourceVersion": "1", **metadata}
        status = self.services.get(ObjectKey(*KEY), {}).get("status", {})
        self.services[ObjectKey(*KEY)] = {**item, "status": status}

    def show(self) -> None:
        """Let the informers catch up."""
        now = {(item["kind"], key_of(item)): item for item in self.api.objects.values() if LABEL in labels_of(item)}
        for kind, key in self._shown - now.keys():
            self.belongings.put(kind, key, None)
        for (kind, key), item in now.items():
            self.belongings.put(kind, key, copy.deepcopy(item))
        self._shown = set(now)

    def keda_says(self, status: str = "True", reason: str = "ScaledObjectReady", message: str = "ready") -> None:
        """KEDA looks at the ScaledObject."""
        ready = {"type": "Ready", "status": status, "reason": reason, "message": message}
        names = {"externalMetricNames": ["s0-queueDepth"], "hpaName": "keda-hpa-qwen"}
        self.get("ScaledObject", "qwen")["status"] = {"conditions": [ready], **names}

    async def look(self) -> float | None:
        """One look, after which the informers have seen what it wrote."""
        self.show()
        again = await self.reconciler.reconcile(KEY)
        item = self.services.get(ObjectKey(*KEY))
        if item is not None and self.status:
            item["status"] = self.status
        self.show()
        return again

    async def settle(self) -> None:
        """Look until nothing is written any more."""
        for _ in range(5):
            before = len(self.api.writes)
            await self.look()
            if len(self.api.writes) == before:
                return
        raise AssertionError(f"it never settles: {self.api.writes[-10:]}")

    @property
    def status(self) -> KubeObject:
        return self.api.statuses.get(LLMSERVICE.path(*KEY, "status"), {})

    def reason(self, kind: str = "Ready") -> str:
        found = [condition for condition in self.status["conditions"] if condition["type"] == kind]
        return str(found[0]["reason"])

    def message(self, kind: str = "Ready") -> str:
        found = [condition for condition in self.status["conditions"] if condition["type"] == kind]
        return str(found[0]["message"])

    def names(self, kind: str) -> list[str]:
        """Of the objects of a kind."""
        return sorted(item["metadata"]["name"] for item in self.api.objects.values() if item["kind"] == kind)

    def get(self, kind: str, name: str) -> KubeObject:
        return self.api.objects[RENDERED[kind].path(KEY.namespace, name)]
