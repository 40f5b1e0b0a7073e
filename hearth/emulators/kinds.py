"""The kinds that the local API server knows, and what the real one does with each of them.

A table, no code that acts: paths, subresources, which of them count generations, which fields a field selector may
name, and which lists are maps by a key. What is not in the table does not exist, as in a cluster without its CRD.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

KubeObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. `scale` is the path of the replicas that the scale subresource writes, where there is one; `custom`
    says that the kind comes from a CRD; the fields of `immutable` stay as they were created."""

    resource: str
    name: str
    api_version: str
    namespaced: bool = True
    status: bool = True
    generation: bool = True
    scale: tuple[str, ...] | None = None
    custom: bool = False
    graceful: bool = False
    unconditional_update: bool = True
    field_labels: frozenset[str] = frozenset()
    immutable: tuple[tuple[str, ...], ...] = ()

    @property
    def group(self) -> str:
        """ "" for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def qualified(self) -> str:
        """What errors call it: llmservices.serving.hearth.dev, or pods."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Where the API server has the collection, or one object of it."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        where = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{where}/{self.resource}{f'/{name}' if name else ''}"


_EVENT_FIELDS = frozenset(
    {
        *(f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        *("reason", "reportingComponent", "source", "type"),
    }
)
_POD_FIELDS = frozenset(
    {"spec.nodeName", "spec.schedulerName", "spec.serviceAccountName", "status.phase", "status.podIP"}
)

HEARTH, KEDA = "serving.hearth.dev/v1alpha1", "keda.sh/v1alpha1"
RBAC = "rbac.authorization.k8s.io/v1"
EVENTS_V1 = "events.k8s.io/v1"
"""The second name of Events: the same objects, with fields called otherwise."""

KINDS = (
    Kind("namespaces", "Namespace", "v1", namespaced=False, generation=False),
    Kind("nodes", "Node", "v1", namespaced=False, generation=False),
    Kind("pods", "Pod", "v1", graceful=True, field_labels=_POD_FIELDS),
    Kind("services", "Service", "v1", generation=False),
    Kind("secrets", "Secret", "v1", status=False, generation=False),
    Kind(
        *("persistentvolumeclaims", "PersistentVolumeClaim", "v1"),
        generation=False,
        immutable=(("spec", "accessModes"), ("spec", "storageClassName")),
    ),
    Kind("events", "Event", "v1", status=False, generation=False, field_labels=_EVENT_FIELDS),
    Kind("deployments", "Deployment", "apps/v1", scale=("spec", "replicas"), immutable=(("spec", "selector"),)),
    Kind("jobs", "Job", "batch/v1", immutable=(("spec", "template"), ("spec", "selector"))),
    Kind("networkpolicies", "NetworkPolicy", "networking.k8s.io/v1", status=False),
    Kind("roles", "Role", RBAC, status=False, generation=False),
    Kind("rolebindings", "RoleBinding", RBAC, status=False, generation=False, immutable=(("roleRef",),)),
    Kind("leases", "Lease", "coordination.k8s.io/v1", status=False, generation=False, unconditional_update=False),
    Kind("horizontalpodautoscalers", "HorizontalPodAutoscaler", "autoscaling/v2", generation=False),
    Kind("endpointslices", "EndpointSlice", "discovery.k8s.io/v1", status=False),
    Kind(
        *("llmservices", "LLMService", HEARTH),
        scale=("spec", "scaling", "min"),
        custom=True,
        unconditional_update=False,
    ),
    Kind(
        *("inferenceruntimes", "InferenceRuntime", HEARTH),
        namespaced=False,
        custom=True,
        unconditional_update=False,
    ),
    Kind(
        *("clustertriggerauthentications", "ClusterTriggerAuthentication", KEDA),
        namespaced=False,
        custom=True,
        unconditional_update=False,
    ),
    Kind("scaledobjects", "ScaledObject", KEDA, custom=True, unconditional_update=False),
)


class KindTable:
    """Kinds by what a request or an object calls them."""

    def __init__(self, kinds: Iterable[Kind] = KINDS) -> None:
        self.kinds = tuple(kinds)
        self._by_resource = {kind.resource: kind for kind in self.kinds}
        self._by_kind = {(kind.api_version, kind.name): kind for kind in self.kinds}

    def served(self, api_version: str, resource: str) -> Kind | None:
        """The kind that a path names; None where there is none."""
        kind = self._by_resource.get(resource)
        if kind is not None and api_version in {kind.api_version, EVENTS_V1 if resource == "events" else None}:
            return kind
        return None

    def of(self, item: KubeObject) -> Kind:
        """The kind of an object that says its apiVersion and kind. Raises KeyError."""
        return self._by_kind[item["apiVersion"], item["kind"]]

    def named(self, resource: str) -> Kind:
        """The kind of a resource such as "pods". Raises KeyError."""
        return self._by_resource[resource]
