"""Who scales which Deployment: every ScaledObject and HPA of the cluster, by what it targets. Pure state.

Two scalers of one Deployment fight over its replicas. KEDA's admission refuses a second ScaledObject, where its webhook
is installed; nothing refuses an HPA.
"""

from collections import defaultdict

from hearth.api.key import ServiceKey
from hearth.controller.scaledobject import hpa_name, kedas
from hearth.kube.kinds import HPA, SCALED_OBJECT
from hearth.kube.objects import KubeObject, ObjectKey, mapping, owners_of, text, uid_of


class Scalers:
    """An index of those that scale a Deployment, or bear the name of an HPA of KEDA's."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, ObjectKey], set[ServiceKey]] = {}
        self._objects: dict[ServiceKey, dict[tuple[str, str], KubeObject]] = defaultdict(dict)

    def put(self, kind: str, key: ObjectKey, item: KubeObject | None) -> set[ServiceKey]:
        """Take one as it is now, None: it is gone. Returns the names of LLMServices that it may matter to."""
        before = self._places.pop((kind, key), set())
        for service in before:
            del self._objects[service][kind, key.name]
            if not self._objects[service]:
                del self._objects[service]
        names = _names(kind, key.name, item) if item is not None else set()
        about = {ServiceKey(key.namespace, name) for name in names}
        if item is not None and about:
            self._places[kind, key] = about
            for service in about:
                self._objects[service][kind, key.name] = item
        return before | about

    def others(self, service: ServiceKey, scaled_object: str) -> list[str]:
        """Those beside ours, as kind and name; `scaled_object` is the uid of ours. An HPA that KEDA made does not
        count, its ScaledObject does."""
        return [
            f"{kind} {service.namespace}/{name}"
            for (kind, name), item in sorted(self._objects.get(service, {}).items())
            if not (_of_keda(item, service) if kind == HPA.name else uid_of(item) == scaled_object)
        ]


def _names(kind: str, name: str, item: KubeObject) -> set[str]:
    """Names of Deployments that it is about."""
    target = mapping(item, "spec", "scaleTargetRef")
    group = text(target, "apiVersion").partition("/")[0] or "apps"
    found = {text(target, "name")} if (text(target, "kind") or "Deployment", group) == ("Deployment", "apps") else set()
    prefix = hpa_name(ServiceKey("", ""))
    if kind == HPA.name and name.startswith(prefix):
        found.add(name.removeprefix(prefix))
    return found - {""}


def _of_keda(hpa: KubeObject, service: ServiceKey) -> bool:
    made_of = any(owner.get("kind") == SCALED_OBJECT.name for owner in owners_of(hpa))
    named_ours = text(hpa, "metadata", "name") == hpa_name(service)
    return kedas(hpa, service) if named_ours else made_of
