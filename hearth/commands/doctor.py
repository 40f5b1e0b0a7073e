"""`hearth doctor`: whether a cluster has what Hearth needs, and for each thing that it has not, what to do."""

from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from hearth.api.base import GROUP, VERSION
from hearth.commands.access import listed
from hearth.kube.client import KubeClient, KubeObject
from hearth.kube.errors import ApiUnavailable

ROLES = ("controller", "activator", "scaler")
OLDEST_KUBERNETES, OLDEST_KEDA = (1, 31), (2, 17)

# Of what each role does, the first thing that fails when its account has lost its rights.
_RIGHTS = {
    "controller": (
        ("patch", GROUP, "llmservices", "status"),
        ("patch", "apps", "deployments", ""),
        ("patch", "keda.sh", "scaledobjects", ""),
    ),
    "activator": (("list", GROUP, "llmservices", ""), ("watch", "discovery.k8s.io", "endpointslices", "")),
}


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found; `fix` is what to do where it is not well."""

    what: str
    well: bool
    found: str
    fix: str = ""

    def to_data(self) -> dict[str, Any]:
        return asdict(self)


async def examine(kube: KubeClient) -> list[Check]:
    """Every check, in the order in which to mend. Raises ApiUnavailable where the API server can't be reached."""
    made = [await _kubernetes(kube)]
    checks: list[Callable[[KubeClient], Coroutine[Any, Any, list[Check]]]] = [
        *(_keda, _external_metrics, _crds, _roles, _scalers, _rights, _accelerators, _services),
    ]
    for check in checks:
        try:
            made += await check(kube)
        except ApiUnavailable as error:
            if error.status is None:
                raise
            what = check.__name__.strip("_").replace("_", " ")
            made.append(
                Check(what, False, str(error), "use an account that may read this, such as the cluster's admin")
            )
    return made


def version_of(text: str) -> tuple[int, int] | None:
    """(major, minor) of v1.36.3 or 2.21.0; None for anything else."""
    parts = text.lstrip("v").split(".")
    try:
        return int(parts[0]), int(parts[1].rstrip("+"))
    except (ValueError, IndexError):
        return None


async def _kubernetes(kube: KubeClient) -> Check:
    found = (await kube.get_object("/version") or {}).get("gitVersion", "")
    version = version_of(found)
    well = version is not None and version >= OLDEST_KUBERNETES
    return Check("Kubernetes", well, found or "no version said", "upgrade to 1.31 or newer")


async def _keda(kube: KubeClient) -> list[Check]:
    install = "install KEDA: https://keda.sh/docs/latest/deploy/"
    if await kube.get_object("/apis/keda.sh/v1alpha1") is None:
        return [Check("KEDA", False, "the API server knows no ScaledObjects", install)]
    operators = [
        deployment
        for deployment in await listed(kube, "/apis/apps/v1/deployments")
        if deployment["metadata"]["name"] == "keda-operator"
    ]
    if not operators:
        return [Check("KEDA", True, "ScaledObjects are known; no Deployment keda-operator to tell its version")]
    (operator, *_) = operators
    image = operator["spec"]["template"]["spec"]["containers"][0].get("image", "")
    tag = image.rpartition(":")[2]
    version, ready = version_of(tag), (operator.get("status") or {}).get("readyReplicas", 0)
    if not ready:
        where = operator["metadata"]["namespace"]
        return [Check("KEDA", False, f"{tag}, no replica ready", f"kubectl describe deploy/keda-operator -n {where}")]
    well = version is None or version >= OLDEST_KEDA
    return [Check("KEDA", well, f"{tag}, {ready} ready", "upgrade KEDA to 2.17 or newer")]


async def _external_metrics(kube: KubeClient) -> list[Check]:
    service = await kube.get_object("/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io")
    if service is None:
        return [
            Check("external metrics", False, "no APIService", "KEDA's metrics server is not installed: install KEDA")
        ]
    available: KubeObject = next(
        (c for c in (service.get("status") or {}).get("conditions") or [] if c["type"] == "Available"), {}
    )
    backend = (service["spec"].get("service") or {}).get("namespace", "keda")
    return [
        Check(
            "external metrics",
            available.get("status") == "True",
            available.get("message") or "not available",
            f"the HPA can't ask KEDA: kubectl get pods -n {backend}; is another metrics adapter registered?",
        )
    ]


async def _crds(kube: KubeClient) -> list[Check]:
    known = await kube.get_object(f"/apis/{GROUP}/{VERSION}")
    names = {resource["name"] for resource in (known or {}).get("resources", [])}
    missing = sorted({"llmservices", "inferenceruntimes"} - names)
    found = "LLMService and InferenceRuntime" if not missing else f"no {', '.join(missing)}"
    return [Check("CRDs", not missing, found, "kubectl apply --server-side -f deploy/crds")]


async def _roles(kube: KubeClient) -> list[Check]:
    made = []
    for role in ROLES:
        selector = f"app.kubernetes.io/name=hearth-{role}"
        deployments = await listed(kube, "/apis/apps/v1/deployments", selector)
        if not deployments:
            made.append(Check(role, False, "no Deployment", "kubectl apply --server-side -k deploy/"))
            continue
        ready = sum((deployment.get("status") or {}).get("readyReplicas", 0) for deployment in deployments)
        wanted = sum(deployment["spec"].get("replicas", 1) for deployment in deployments)
        where = deployments[0]["metadata"]["namespace"]
        fix = f"kubectl describe pods -n {where} -l {selector}; kubectl logs -n {where} -l {selector}"
        made.append(Check(role, ready > 0, f"{ready} of {wanted} ready", fix))
    return made


async def _scalers(kube: KubeClient) -> list[Check]:
    """Asks each scaler, through the API server, as far as we may."""
    made = []
    for pod in await listed(kube, "/api/v1/pods", "app.kubernetes.io/name=hearth-scaler"):
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        try:
            said = await kube.get_text(f"/api/v1/namespaces/{namespace}/pods/{name}:8081/proxy/metrics")
        except ApiUnavailable as error:
            if error.status == 403:
                continue  # pods/proxy is more than many accounts have
            made.append(Check(f"scaler {name}", False, str(error), f"kubectl logs -n {namespace} {name}"))
            continue
        blind = "\nhearth_scaler_blind 1" in said
        found = "does not hear an activator" if blind else "hears the activators"
        made.append(Check(f"scaler {name}", not blind, found, "docs/runbooks/HearthDemandBlind.md"))
    return made


async def _rights(kube: KubeClient) -> list[Check]:
    made = []
    for role, rights in _RIGHTS.items():
        (namespace, account) = await _account(kube, role)
        if account is None:
            continue  # said by its Deployment's check
        lost = []
        for verb, group, resource, subresource in rights:
            attributes = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
            user = f"system:serviceaccount:{namespace}:{account}"
            review = {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": user, "resourceAttributes": attributes},
            }
            answer = await kube.create_object("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
            if not (answer.get("status") or {}).get("allowed"):
                lost.append(f"{verb} {resource}{f'/{subresource}' if subresource else ''}")
        found = "has its rights" if not lost else f"may not {', '.join(lost)}"
        made.append(Check(f"rights of {role}", not lost, found, "kubectl apply --server-side -k deploy/"))
    return made


async def _account(kube: KubeClient, role: str) -> tuple[str, str | None]:
    for deployment in await listed(kube, "/apis/apps/v1/deployments", f"app.kubernetes.io/name=hearth-{role}"):
        spec = deployment["spec"]["template"]["spec"]
        return deployment["metadata"]["namespace"], spec.get("serviceAccountName", "default")
    return "", None


async def _accelerators(kube: KubeClient) -> list[Check]:
    runtimes = await listed(kube, f"/apis/{GROUP}/{VERSION}/inferenceruntimes")
    nodes = await listed(kube, "/api/v1/nodes")
    return accelerator_checks(nodes, runtimes)


def accelerator_checks(nodes: list[KubeObject], runtimes: list[KubeObject]) -> list[Check]:
    """What can be allocated, and which runtimes it is for. Pure."""
    allocatable: dict[str, int] = {}
    for node in nodes:
        for name, count in ((node.get("status") or {}).get("allocatable") or {}).items():
            if "/" in name and str(count).isdigit():
                allocatable[name] = allocatable.get(name, 0) + int(count)
    there = {name: count for name, count in allocatable.items() if count and not name.startswith("hugepages")}
    said = ", ".join(f"{count} {name}" for name, count in sorted(there.items()))
    made = [
        Check("accelerators", bool(there), said or "no node can allocate any", "install your vendor's device plugin"),
    ]
    names = {item["metadata"]["name"]: _resource_of(item) for item in runtimes}
    fitting = sorted(name for name, resource in names.items() if resource is None or resource in there)
    idle = ", ".join(sorted(f"{name} (no {resource})" for name, resource in names.items() if name not in fitting))
    found = f"{', '.join(fitting) or 'none'} can be used" + (f"; not here: {idle}" if idle else "")
    made.append(Check("InferenceRuntimes", bool(fitting), found, "kubectl apply -f runtimes/VENDOR-ENGINE.yaml"))
    return made


def _resource_of(runtime: KubeObject) -> str | None:
    name: str | None = ((runtime.get("spec") or {}).get("accelerator") or {}).get("resourceName")
    return name


async def _services(kube: KubeClient) -> list[Check]:
    made = []
    for item in await listed(kube, f"/apis/{GROUP}/{VERSION}/llmservices"):
        namespace, name = item["metadata"]["namespace"], item["metadata"]["name"]
        status = item.get("status") or {}
        bad = [c for c in status.get("conditions") or [] if c["status"] == "False" and c["type"] != "Ready"]
        phase = status.get("phase", "Pending")
        found = phase if not bad else f"{phase}: {'; '.join(condition['reason'] for condition in bad)}"
        well = phase != "Degraded" and not bad
        made.append(Check(f"LLMService {namespace}/{name}", well, found, f"hearth status {name} -n {namespace}"))
    return made
