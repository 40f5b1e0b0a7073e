"""The kinds of objects that Hearth reads or writes, and their paths at an API server. Pure.

https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hearth.group import API_VERSION
from hearth.kube.objects import KubeObject, name_of, namespace_of


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind; `plural` is its name in paths."""

    name: str
    api_version: str
    plural: str

    @property
    def api(self) -> str:
        """The path of its API."""
        return f"/{'apis' if '/' in self.api_version else 'api'}/{self.api_version}"

    @property
    def everywhere(self) -> str:
        """The collection of all namespaces, or of the cluster."""
        return f"{self.api}/{self.plural}"

    def within(self, namespace: str) -> str:
        """The collection of one namespace."""
        return f"{self.api}/namespaces/{namespace}/{self.plural}"

    def paths(self, namespaces: Sequence[str]) -> list[str]:
        """The collections of these namespaces; that of all where none is given."""
        return [self.within(namespace) for namespace in namespaces] or [self.everywhere]

    def path(self, namespace: str, name: str, subresource: str = "") -> str:
        """One object; `namespace` is "" for one of the cluster."""
        collection = self.within(namespace) if namespace else self.everywhere
        return "/".join(filter(None, (collection, name, subresource)))

    @property
    def names(self) -> KubeObject:
        """apiVersion and kind, as an object has them."""
        return {"apiVersion": self.api_version, "kind": self.name}


LLMSERVICE = Kind("LLMService", API_VERSION, "llmservices")
INFERENCE_RUNTIME = Kind("InferenceRuntime", API_VERSION, "inferenceruntimes")
DEPLOYMENT = Kind("Deployment", "apps/v1", "deployments")
SERVICE = Kind("Service", "v1", "services")
CLAIM = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
JOB = Kind("Job", "batch/v1", "jobs")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
SCALED_OBJECT = Kind("ScaledObject", "keda.sh/v1alpha1", "scaledobjects")
SECRET = Kind("Secret", "v1", "secrets")
ROLE = Kind("Role", "rbac.authorization.k8s.io/v1", "roles")
ROLE_BINDING = Kind("RoleBinding", "rbac.authorization.k8s.io/v1", "rolebindings")
NODE = Kind("Node", "v1", "nodes")
POD = Kind("Pod", "v1", "pods")
POD_EVENT = Kind("Event", "v1", "events")
EVENT = Kind("Event", "events.k8s.io/v1", "events")
ENDPOINT_SLICE = Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
HPA = Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
DEVICE_CLASS = Kind("DeviceClass", "resource.k8s.io/v1", "deviceclasses")
RESOURCE_SLICE = Kind("ResourceSlice", "resource.k8s.io/v1", "resourceslices")
RUNTIME_CLASS = Kind("RuntimeClass", "node.k8s.io/v1", "runtimeclasses")
API_SERVICE = Kind("APIService", "apiregistration.k8s.io/v1", "apiservices")
ACCESS_REVIEW = Kind("SubjectAccessReview", "authorization.k8s.io/v1", "subjectaccessreviews")

RENDERED = {kind.name: kind for kind in (DEPLOYMENT, SERVICE, CLAIM, JOB, NETWORK_POLICY, SCALED_OBJECT)}
"""What an LLMService becomes, by kind."""

EXTERNAL_METRICS = "/apis/external.metrics.k8s.io/v1beta1"


def external_metric(namespace: str, name: str) -> str:
    """The path of a metric as the HPA asks for it."""
    return f"{EXTERNAL_METRICS}/namespaces/{namespace}/{name}"


def path_of(item: KubeObject) -> str:
    """Where the API server has an object that an LLMService becomes."""
    return RENDERED[item["kind"]].path(namespace_of(item), name_of(item))
