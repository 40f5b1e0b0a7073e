"""The directory: which LLMServices there are, how a request names one, and where its ready replicas are.

Pure state, fed with objects as the API server has them.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from hearth.activator.keyring import KeySource
from hearth.activator.paths import RESERVED
from hearth.api.key import ServiceKey
from hearth.api.labels import LLMSERVICE_LABEL
from hearth.api.llmservice import LLMService, Progress
from hearth.api.manifest import ManifestError, read_llmservice
from hearth.api.names import engine_service
from hearth.api.reasons import told_to_clients
from hearth.api.status import LLMServiceStatus
from hearth.coldstart import Took
from hearth.kube.endpoints import Endpoint, endpoints, listed
from hearth.kube.objects import KubeObject, is_leaving, labels_of, mapping, owners_of
from hearth.logs import fields

log = logging.getLogger(__name__)

_SOME_MODEL: Final = {"model": {"source": {"uri": "hf://some/model"}}, "runtime": {"name": "some"}}
"""What an LLMService must have, in place of what can't be read."""
_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


@dataclass(frozen=True, slots=True)
class Policy:
    """How an LLMService wants its requests treated. Durations in seconds."""

    mode: Literal["keepalive", "reject"]
    heartbeat_interval: float
    whitespace_after: float
    progress: Progress
    activation_timeout: float
    max_queue: int
    concurrency: int
    prefix_affinity: bool
    listed: bool
    first_byte_timeout: float = 0.0
    """0: none."""
    idle_timeout: float = 0.0
    """0: none."""
    cold_starts_per_hour: int | None = None
    keys: KeySource | None = None
    """Where its own API keys are."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One LLMService: its policy, what its status says, and the addresses (host:port) of its ready replicas."""

    key: ServiceKey
    policy: Policy
    created: str = ""
    phase: str = "Pending"
    cold_start_phase: str | None = None
    cold_start_percent: int | None = None
    cold_start_history: Sequence[Took] = ()
    trouble: str | None = None
    """Why no replica comes unless somebody acts, in words for clients."""
    ready: frozenset[str] = frozenset()
    starting: frozenset[str] = frozenset()
    """Replicas that are neither ready nor leaving."""
    readiness_path: str = ""
    """What an engine answers when it is ready; "" where that can't be asked for."""
    paths: frozenset[str] = frozenset()
    """What its runtime serves beside the paths that every engine may have."""

    @property
    def name(self) -> str:
        """NAMESPACE/NAME."""
        return str(self.key)


def policy_of(service: LLMService) -> Policy:
    """The part of an LLMService's spec that the activator acts on."""
    endpoint, scaling = service.spec.endpoint, service.spec.scaling
    cold = endpoint.cold_start
    keys = endpoint.authentication.secret_ref if endpoint.authentication is not None else None
    return Policy(
        mode=cold.mode,
        heartbeat_interval=cold.heartbeat_interval.total_seconds(),
        whitespace_after=cold.whitespace_after.total_seconds(),
        progress=cold.progress,
        activation_timeout=scaling.activation_timeout.total_seconds(),
        max_queue=endpoint.max_queue,
        concurrency=endpoint.concurrency,
        prefix_affinity=endpoint.balancing == "prefix",
        listed=endpoint.open_ai_compatible,
        first_byte_timeout=endpoint.timeouts.first_byte.total_seconds(),
        idle_timeout=endpoint.timeouts.idle.total_seconds(),
        cold_starts_per_hour=cold.max_per_hour,
        keys=KeySource(service.metadata.namespace, keys.name, keys.entry) if keys is not None else None,
    )


def _partly(item: dict[str, Any]) -> LLMService | None:
    """An LLMService of which only what is about its requests is read; None where that can't be, either: who may ask is
    among it."""
    spec = mapping(item, "spec")
    asked = {name: spec[name] for name in ("endpoint", "scaling") if name in spec}
    try:
        return read_llmservice({**item, "spec": {**_SOME_MODEL, **asked}})
    except ManifestError:
        return None


class Directory:
    """`on_change(key, entry)` is called with the new entry, or None where the LLMService is gone."""

    def __init__(self, on_change: Callable[[ServiceKey, Entry | None], None]) -> None:
        self._on_change = on_change
        self._entries: dict[ServiceKey, Entry] = {}
        self._by_name: dict[str, set[ServiceKey]] = defaultdict(set)
        self._oldest: dict[str, Entry] = {}  # of those that are listed, who has a name by itself
        self._more_paths: Counter[str] = Counter()  # what runtimes add, by the number of LLMServices that have it
        self._answered: dict[ServiceKey, frozenset[str]] = {}  # who starts, and is ready in its own words
        self._slices: dict[tuple[str, str], tuple[ServiceKey, tuple[Endpoint, ...]]] = {}

    def __iter__(self) -> Iterator[Entry]:
        """The entries, sorted by namespace and name."""
        return iter(sorted(self._entries.values(), key=lambda entry: entry.key))

    def get(self, key: tuple[str, str]) -> Entry | None:
        return self._entries.get(ServiceKey(*key))

    def put_service(self, at: tuple[str, str], item: dict[str, Any] | None) -> None:
        """Take an LLMService as it is now; None: it is gone, and one that is being deleted is as good as that. One that
        can't be read is kept as it was; of one that was never read, what is about its requests is: it may have replicas
        that were started before it became so."""
        key = ServiceKey(*at)
        if item is None or is_leaving(item):
            self._answered.pop(key, None)
            if (gone := self._entries.pop(key, None)) is not None:
                self._more_paths -= Counter(gone.paths)
                self._by_name[key[1]].discard(key)
                self._note_oldest(key, None)
                self._on_change(key, None)
            return
        try:
            service = read_llmservice(item)
        except ManifestError as error:
            log.error("LLMService cannot be read", extra=fields(service="/".join(key), reason=str(error)))
            if key in self._entries or (partly := _partly(item)) is None:
                return
            service = partly
        status = service.status or LLMServiceStatus()
        ready, starting = self._replicas(key)
        entry = Entry(
            key,
            policy_of(service),
            created=item["metadata"].get("creationTimestamp") or "",
            phase=status.phase,
            cold_start_phase=status.cold_start.phase if status.cold_start else None,
            cold_start_percent=status.cold_start.percent if status.cold_start else None,
            cold_start_history=status.cold_start_history or (),
            trouble=told_to_clients(condition.model_dump() for condition in status.conditions),
            ready=ready,
            starting=starting,
            readiness_path=status.readiness_path or "",
            paths=frozenset(status.engine_paths or ()),
        )
        self._by_name[key[1]].add(key)
        self._set(entry)

    def put_slice(self, slice_key: tuple[str, str], item: dict[str, Any] | None) -> None:
        """Take an EndpointSlice of engines as it is now; None: it is gone."""
        old = self._slices.pop(slice_key, None)
        if item is not None and (name := _engines_of(item)):
            self._slices[slice_key] = (ServiceKey(slice_key[0], name), endpoints(item))
        new = self._slices.get(slice_key)
        for key in {owner for owner, _ in filter(None, (old, new))}:
            self._look_again(key)

    def put_answered(self, key: ServiceKey, address: str) -> None:
        """Take that a replica which starts has answered its readiness probe: it is ready, for as long as it is listed
        as starting; then what it is listed as counts."""
        if key in self._entries:
            self._answered[key] = self._answered.get(key, frozenset()) | {address}
            self._look_again(key)

    def _look_again(self, key: ServiceKey) -> None:
        entry = self._entries.get(key)
        if entry is None:
            return
        ready, starting = self._replicas(key)
        if (ready, starting) != (entry.ready, entry.starting):
            self._set(replace(entry, ready=ready, starting=starting))

    def by_host(self, host: str) -> Entry | None:
        """The LLMService whose Service a Host field names in full: NAME.NAMESPACE.svc or longer."""
        labels = _labels(host)
        return self._entries.get(ServiceKey(labels[1], labels[0])) if len(labels) > 2 and labels[2] == "svc" else None

    def by_short_host(self, host: str) -> Entry | None:
        """The LLMService that a Host field may mean: NAME.NAMESPACE, or the NAME of one in a single namespace (from a
        client there). Other names look alike, `localhost` and `api.example`: so this counts only where nothing else
        says whose a request is."""
        labels = _labels(host)
        if len(labels) == 2:
            return self._entries.get(ServiceKey(labels[1], labels[0]))
        if len(labels) == 1 and len(keys := self._by_name.get(labels[0], ())) == 1:
            return self._entries[next(iter(keys))]
        return None

    def by_path(self, path: str) -> tuple[Entry, str] | None:
        """The LLMService of a path /NAMESPACE/NAME/…, and what is left of the path. The API's own paths come first."""
        parts = path.split("/", 3)
        if (
            len(parts) == 4
            and parts[1] not in RESERVED
            and (entry := self._entries.get(ServiceKey(parts[1], parts[2])))
        ):
            return entry, f"/{parts[3]}"
        return None

    def by_model(self, model: str) -> Entry | None:
        """The LLMService that `model` names, as NAME or NAMESPACE/NAME; a NAME alone is the oldest one's."""
        entry = self._oldest.get(model)
        if entry is None and "/" in model:
            namespace, _, name = model.partition("/")
            entry = self._entries.get(ServiceKey(namespace, name))
        return entry if entry is not None and entry.policy.listed else None

    def model_id(self, entry: Entry) -> str:
        """What a client writes as `model`: the name, or namespace/name where an older LLMService has the name."""
        return entry.key[1] if self._oldest.get(entry.key[1]) is entry else "/".join(entry.key)

    def serves(self, path: str) -> bool:
        """Whether any LLMService's runtime adds this path."""
        return path in self._more_paths

    def _set(self, entry: Entry) -> None:
        before = self._entries.get(entry.key)
        if before is None or before.paths != entry.paths:
            self._more_paths += Counter(entry.paths)
            self._more_paths -= Counter(before.paths if before is not None else ())
        self._entries[entry.key] = entry
        self._note_oldest(entry.key, entry)
        self._on_change(entry.key, entry)

    def _note_oldest(self, key: ServiceKey, entry: Entry | None) -> None:
        """Who came first keeps a name: what somebody makes elsewhere takes nobody's clients away."""
        name = key[1]
        oldest = self._oldest.get(name)
        named = entry if entry is not None and entry.policy.listed else None
        if oldest is not None and oldest.key == key and (named is None or named.created > oldest.created):
            others = [self._entries[other] for other in self._by_name[name]]
            first = min((other for other in others if other.policy.listed), key=_age, default=None)
            if first is None:
                del self._oldest[name]
            else:
                self._oldest[name] = first
        elif named is not None and (oldest is None or oldest.key == key or _age(named) < _age(oldest)):
            self._oldest[name] = named

    def _replicas(self, key: ServiceKey) -> tuple[frozenset[str], frozenset[str]]:
        """The `ready` and the `starting` of an entry."""
        found = listed(each for owner, each in self._slices.values() if owner == key)
        ready = frozenset(address for address, listing in found.items() if listing == "ready")
        starting = frozenset(address for address, listing in found.items() if listing == "unready")
        answered = self._answered.pop(key, frozenset()) & starting
        if answered:
            self._answered[key] = answered
        return ready | answered, starting - answered


def _age(entry: Entry) -> tuple[str, ServiceKey]:
    return entry.created, entry.key


def _engines_of(item: KubeObject) -> str:
    """The LLMService whose engines are in a slice: one that the endpoint slice controller made for the Service of its
    engines. A slice that somebody writes himself may lead anywhere, with the headers of our clients. "" of such a one.

    https://kubernetes.io/docs/concepts/services-networking/endpoint-slices/#management
    """
    labels = labels_of(item)
    name = labels.get(LLMSERVICE_LABEL, "")
    made_for = [
        owner.get("name") for owner in owners_of(item) if owner.get("controller") and owner.get("kind") == "Service"
    ]
    if labels.get(_MANAGED_BY) != "endpointslice-controller.k8s.io" or made_for != [engine_service(name)]:
        return ""
    return name


def _labels(host: str) -> list[str]:
    return host.split(":", maxsplit=1)[0].lower().rstrip(".").split(".")
